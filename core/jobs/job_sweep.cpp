// Of JobService: its start, what earlier lives of the server have left.
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>

#include "jobs/job_service.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr std::size_t kRowsAtOnce = 1'000;              // looked for, while the state thread does nothing else
constexpr std::size_t kSweptMax = 10'000;               // of one start; the next takes the others
constexpr auto kPause = std::chrono::milliseconds(20);  // many files removed in one go slow some file systems down

}  // namespace

Status JobService::start() {
  std::promise<Status> begun;
  state_.post([this, &begun] {
    begun.set_value(scheduler_.begin());
    const auto shared = files_.jobs_with_shared();
    if (!shared) spdlog::warn("what tasks of ended jobs have shared is not removed: {}", shared.error().message);
    for (const std::string& id : shared.value_or(std::vector<std::string>()))
      if (!scheduler_.view(id)) launcher_.remove_shared(id);
    after_work();
  });
  FUSED_CHECK(begun.get_future().get());
  asio::co_spawn(io_, sweep(), asio::detached);
  return {};
}

// What `folders` gives, with those jobs only that have no row.
asio::awaitable<Result<JobFiles::Found>> JobService::find_unnamed() {
  auto list = [this] { return files_.folders(); };
  auto found = co_await files_thread_.run(std::move(list));
  if (!found) co_return found;
  std::vector<std::string> unnamed;
  for (std::size_t at = 0; at < found->jobs.size() && unnamed.size() < kSweptMax && !stopped_; at += kRowsAtOnce) {
    const auto first = found->jobs.begin() + static_cast<std::ptrdiff_t>(at);
    const auto count = std::min(kRowsAtOnce, found->jobs.size() - at);
    auto look = [this, ids = std::vector<std::string>(first, first + static_cast<std::ptrdiff_t>(count))] {
      return store_.without_row(ids);
    };
    const auto unknown = co_await state_.run(std::move(look));
    if (!unknown) co_return std::unexpected(unknown.error());
    unnamed.insert(unnamed.end(), unknown->begin(), unknown->end());
  }
  found->jobs = std::move(unnamed);
  co_return found;
}

asio::awaitable<void> JobService::sweep() {
  auto found = co_await find_unnamed();
  if (!found) spdlog::warn("files of jobs that are gone are not swept: {}", found.error().message);
  const std::int64_t since = people_.owner_of_server().created_at;
  std::size_t swept = 0, left_alone = 0;
  asio::steady_timer pause(io_);
  for (std::size_t at = 0; found && at < found->jobs.size() && !stopped_; ++at) {
    // A schedule asks for the job of an earlier life by the same id: then its files are new.
    auto put_aside = [this, id = found->jobs[at], &days = found->days, since]() -> Result<std::string> {
      return made_->contains(id) ? Result<std::string>() : files_.put_aside(id, days, since);
    };
    const auto name = co_await files_thread_.run(std::move(put_aside));
    if (!name) files_.tell(found->jobs[at], std::unexpected(name.error()));
    if (name && name->empty()) ++left_alone;
    if (!name || name->empty()) continue;
    ++swept;
    found->aside.push_back(*name);
  }
  files_thread_.post([this] { made_.reset(); });
  if (left_alone > 0)
    spdlog::warn("files of {} jobs below jobs/ are of another state database, or submitted again; left alone",
                 left_alone);
  if (!found || found->aside.empty()) co_return;
  spdlog::info("files of {} jobs that are not in the state database are removed ({} left by an earlier sweep)", swept,
               found->aside.size() - swept);
  for (const std::string& name : found->aside) {
    if (stopped_) co_return;  // the next life goes on
    launcher_.remove_aside(name);
    pause.expires_after(kPause);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

// A retry that had to make every part anew leaves those of the job before it.
void JobService::drop_parts(const JobSpec& job) {
  const std::string parts = read_options(job.options_json).parts;
  if (parts.empty()) return;
  state_.post([this, parts, id = job.id, organisation = job.organisation, user = job.user_id] {
    if (!store_.needs_parts(organisation, user, parts).value_or(true)) launcher_.remove_parts(id, parts);
  });
}

}  // namespace fused
