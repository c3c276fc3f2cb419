// Of JobService: a job comes. Its files are on disk before its row is, and its row before anybody is told.
#include <sys/statvfs.h>

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>

#include "base/ids.hpp"
#include "base/text.hpp"
#include "jobs/job_output.hpp"
#include "jobs/job_service.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kOnceLook = std::chrono::milliseconds(20);

}  // namespace

Result<JobService::Checked> JobService::check(json::object config, const User& owner) const {
  Checked checked;
  checked.config = FUSED_TRY(check_job_config(std::move(config)));
  checked.content = FUSED_TRY(content_of(checked.config, owner));
  checked.text = json::serialize(checked.config.source) + '\n';
  return checked;
}

Result<JobSpec> JobService::plan(const JobConfig& config, const Actor& actor, JobOptions options) const {
  const InstanceType type = FUSED_TRY(find_instance_type(options.instance_type));
  options.instance_type = std::string(type.name);
  struct statvfs disk{};
  ::statvfs(data_.path().c_str(), &disk);
  const Machine machine{options_.machine.cores, options_.machine.memory_bytes,
                        static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize)};
  JobLimits limits = FUSED_TRY(limits_on(machine, type, options.disk_size_gb, options_.strict_instances));
  options.disk_bytes = std::max<std::int64_t>(limits.disk_bytes, 1 << 20);
  options.notes = std::move(limits.cuts);
  if (!options.region.empty())
    options.notes.push_back("region '" + printable(options.region) + "' is noted; the job runs on this server");
  if (!options.image_name.empty())
    options.notes.push_back("image_name '" + printable(options.image_name) +
                            "' is noted; the job runs in this server's environment");
  const auto is_mail = [](const json::value& hook) { return hook.at("kind") == "email"; };
  if (options.send_status_email && std::ranges::none_of(options.hooks, is_mail))
    options.notes.push_back("send_status_email is noted; this server has no mail server (FUSED_SMTP_URL)");
  if (options.cache_max_age)
    options.notes.push_back("cache_max_age is noted; jobs are run, never answered from the result cache");
  options.parts = parts_folder_of(config);
  if (!options.parts.empty()) options.notes.push_back(parts_note(options.parts, data_));
  JobSpec job;
  job.id = new_uuid();
  job.organisation = actor.organisation;
  job.user_id = actor.user_id;
  job.name = config.name;
  job.instance_type = options.instance_type;
  job.priority = options.priority;
  job.steps = config.plan();
  const TaskShare share = task_share(limits, job.steps);
  job.task_share = share.share;
  if (options.promoted_memory_bytes > 0) job.task_share.memory_bytes = options.promoted_memory_bytes;
  if (options_.task_memory_max > 0 && job.task_share.memory_bytes > options_.task_memory_max) {
    job.task_share.memory_bytes = options_.task_memory_max;
    options.notes.push_back("a task has at most " + std::to_string(options_.task_memory_max >> 20) +
                            " MiB of memory, which is what the largest node of the cluster has for it");
  }
  job.parallel_max = share.parallel_max;
  job.retries.function_max = options.max_retry;
  job.run_max = std::chrono::hours(limits.hours);
  job.submitted_at = clock_.now();
  job.options_json = options_json(options);
  return job;
}

asio::awaitable<Result<ShownJob>> JobService::submit(Actor actor, JobWish wish) {
  if (actor.kind == ActorKind::run) {
    if (!actor.share_token_id.empty())
      co_return fail(ErrorKind::forbidden, "a run that a share token began may not submit jobs");
    wish.options.submitted_by_run = actor.run_id;
    wish.options.recursion = std::max(wish.options.recursion, actor.recursion + 1);
  }
  if (wish.options.recursion > options_.recursion_max)
    co_return fail(ErrorKind::unprocessable, "functions and jobs submit each other " +
                                                 std::to_string(wish.options.recursion) + " deep; the limit is " +
                                                 std::to_string(options_.recursion_max));
  if (!wish.options.request_sha256.empty()) co_return co_await keep_once(std::move(actor), std::move(wish));
  co_return co_await keep(std::move(actor), std::move(wish));
}

asio::awaitable<Result<JobSpec>> JobService::prepare(Actor actor, JobWish wish) {
  const auto owner = people_.user(actor.user_id);
  if (!owner) co_return fail(ErrorKind::forbidden, "only a user submits jobs");
  if (!wish.id.empty()) {
    auto look = [this, id = wish.id] { return store_.find(id); };
    const auto there = co_await state_.run(std::move(look));
    if (!there) co_return std::unexpected(there.error());
    if (*there) co_return fail(ErrorKind::conflict, "there is a job with the id " + wish.id + " already");
  }
  auto write = [this, owner = *owner, actor, wish = std::move(wish)]() mutable -> Result<JobSpec> {
    Checked checked = FUSED_TRY(check(std::move(wish.config), owner));
    JobSpec job = FUSED_TRY(plan(checked.config, actor, wish.options));
    if (!wish.id.empty()) job.id = wish.id;
    job.config_path = JobFiles::config_path(job.organisation, job.id, job.submitted_at);
    if (made_) made_->insert(job.id);
    FUSED_CHECK(files_.make_folder(job.id));
    FUSED_CHECK(files_.write_config(job.config_path, checked.text));
    launcher_.contents.keep(job.id, std::move(checked.content));
    return job;
  };
  co_return co_await files_thread_.run(std::move(write));
}

asio::awaitable<Result<AttemptStart>> JobService::adopt(JobSpec job) {
  auto work = [this, job = std::move(job)] { return scheduler_.adopt(job); };
  co_return co_await on_state(std::move(work));
}

void JobService::forget(const JobSpec& job) {
  files_thread_.post([this, id = job.id, path = job.config_path] {
    launcher_.contents.forget(id);
    files_.tell(id, files_.remove(id, path));
  });
}

asio::awaitable<Result<ShownJob>> JobService::keep(Actor actor, JobWish wish) {
  auto planned = co_await prepare(std::move(actor), std::move(wish));
  if (!planned) co_return std::unexpected(planned.error());
  auto add = [this, job = *planned]() -> Result<JobRow> {
    FUSED_CHECK(scheduler_.submit(job));
    // From here on the job is there: a look at it that fails may not undo it.
    if (auto row = store_.find(job.id); row && *row) return **std::move(row);
    JobRow row{.spec = job};
    for (const StepPlan& step : job.steps) row.total_tasks += step.tasks;
    return row;
  };
  auto added = co_await on_state(std::move(add));
  if (!added) {
    // A conflict is another job of this id, whose files these are.
    if (added.error().kind != ErrorKind::conflict) forget(*planned);
    co_return std::unexpected(added.error());
  }
  ++figures_.submitted;
  if (on_config) on_config(planned->config_path);
  co_return co_await show(*std::move(added));
}

// Whose answer got lost asks again, also while the first is still on its way.
asio::awaitable<Result<ShownJob>> JobService::keep_once(Actor actor, JobWish wish) {
  const std::string id = wish.id, sha256 = wish.options.request_sha256;
  asio::steady_timer pause(io_);
  while (keeping_once_.contains(id)) {
    pause.expires_after(kOnceLook);
    co_await pause.async_wait(asio::use_awaitable);
  }
  keeping_once_.insert(id);
  auto kept = co_await keep(std::move(actor), std::move(wish));
  keeping_once_.erase(id);
  if (kept || kept.error().kind != ErrorKind::conflict) co_return kept;
  auto look = [this, id] { return store_.find(id); };
  auto row = co_await state_.run(std::move(look));
  if (!row) co_return std::unexpected(row.error());
  if (!*row) co_return kept;
  if (read_options((*row)->spec.options_json).request_sha256 != sha256)
    co_return fail(ErrorKind::unprocessable,
                   "the Idempotency-Key of this request was another request's, which became job " + id +
                       "; a key is for one request and its repetitions");
  co_return co_await show(**std::move(row));
}

}  // namespace fused
