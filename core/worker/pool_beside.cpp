// Of Pool: runs of jobs, each in a worker of its own beside the slots. While jobs come, the next task's worker is
// forked ahead and waits outside its sandbox, with nothing of anybody's in it: limits and folder are those of the task.
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sandbox/group_usage.hpp"
#include "sandbox/process_look.hpp"
#include "worker/limits_json.hpp"
#include "worker/pool.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kGoneLook = std::chrono::milliseconds(10);
constexpr auto kSpareYoung = std::chrono::seconds(1);  // it still takes memory: what the last one held is told
constexpr auto kSpareIdle = std::chrono::minutes(10);  // without a task, after which no spare worker is kept

}  // namespace

Result<Pool::BesideWorker> Pool::fork_beside(std::int64_t result_bytes) {
  const int number = next_number_++;
  const auto told = std::make_shared<Beside>();
  WorkerEvents events{.ready = [told] { told->ready.set(true); },
                      .clean = [](const std::string&) {},  // it is ended, not used again
                      .dead =
                          [this, number, told] {
                            clean_up(number);
                            beside_.erase(number);
                            if (spare_ && spare_->worker->number() == number) spare_.reset();
                            told->ready.set(false);
                            told->gone.set(true);
                          },
                      .limits = [this, number](const json::object& asked) { on_limits(number, asked); }};
  auto worker = FUSED_TRY(fork(number, options_.sandbox, result_bytes, std::move(events), true));
  beside_.emplace(number, worker);
  return BesideWorker{std::move(worker), told, result_bytes, std::chrono::steady_clock::now()};
}

Result<Pool::BesideWorker> Pool::take_beside(std::int64_t result_bytes) {
  const bool fits = spare_ && spare_->result_bytes == result_bytes && !spare_->worker->is_ending() &&
                    spare_->worker->state() == WorkerState::starting;
  if (!fits) return fork_beside(result_bytes);
  BesideWorker spare = *std::move(spare_);
  spare_.reset();
  return spare;
}

void Pool::keep_spare() {
  if (stopping_ || !zygote_.is_ready()) return;
  if (!spare_) {
    auto forked = fork_beside(options_.limits.result_bytes);
    if (!forked) return;  // the next task says why
    spare_ = *std::move(forked);
  }
  spare_timer_.expires_after(kSpareIdle);
  spare_timer_.async_wait([this](boost::system::error_code error) {
    if (!error && spare_) spare_->worker->kill(RunEnd::cancelled, "no task has come for a while");
  });
}

std::int64_t Pool::spare_bytes() const {
  if (!spare_) return 0;
  const int number = spare_->worker->number();
  const bool is_young = std::chrono::steady_clock::now() - spare_->since < kSpareYoung;
  if (number == spare_measured_ || is_young || spare_->worker->pid() <= 1) return spare_bytes_;
  RunLimits limits;
  limits.memory_bytes = 0;  // so that pages which it shares with the zygote are divided among them
  spare_measured_ = number;
  return spare_bytes_ = GroupWatch(spare_->worker->pid(), {}, limits).sample().memory_bytes;
}

asio::awaitable<Result<RunReply>> Pool::run_beside(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher) {
  const auto cancelled = [&ticket] {
    return RunReply{.end = ticket.cancelled_->first, .message = ticket.cancelled_->second};
  };
  if (ticket.cancelled_) co_return cancelled();
  auto taken = take_beside(order.beside->result_bytes);
  if (!taken) co_return std::unexpected(taken.error());
  const SharedWorker worker = taken->worker;
  const std::shared_ptr<Beside> told = taken->told;
  ticket.beside_ = true;
  ticket.worker_ = worker;
  json::object sandbox = options_.sandbox;
  sandbox["limits"] = limits_json(*order.beside);
  sandbox["scratch"] = scratch_of(worker->number()).string();
  if (!order.job_folder.empty()) sandbox["job"] = order.job_folder.string();
  worker->enter(sandbox);
  const bool ready = co_await told->ready.wait();
  RunReply reply{.end = RunEnd::crashed, .message = "the worker of the task ended before it could run it"};
  if (ticket.cancelled_) {
    reply = cancelled();
  } else if (ready && worker->state() == WorkerState::blank) {
    Running& running = running_[worker->number()] = {.run = next_run_++,
                                                     .since = std::chrono::steady_clock::now(),
                                                     .watcher = &watcher,
                                                     .of_server = *order.beside,
                                                     .own = {*order.beside, {}},
                                                     .is_promoted = order.is_promoted,
                                                     .shared = order.job_folder};
    if (!std::exchange(ticking_, true)) asio::co_spawn(io_, look_after_runs(), asio::detached);
    asio::post(io_, [this] { keep_spare(); });  // the order goes first
    reply = co_await worker->run(order, watcher, false);
    if (running.watched) reply.peak_memory_bytes = std::max(reply.peak_memory_bytes, watch_.end(worker->number()));
    reply.limits = running.own.limits;
    reply.limits_note = running.own.note;
    running_.erase(worker->number());
  }
  const pid_t pid = worker->pid();
  const auto before = pid > 1 ? look_at(pid) : std::nullopt;
  worker->kill(RunEnd::cancelled, "its task has ended");
  co_await told->gone.wait();
  ticket.worker_.reset();
  // The zygote's word is lost with the zygote; then the process itself says when it is gone.
  while (before) {
    const auto now = look_at(pid);
    if (!now || now->started != before->started || now->state == 'Z') break;
    asio::steady_timer pause(io_, kGoneLook);
    co_await pause.async_wait(asio::use_awaitable);
  }
  co_return reply;
}

std::int64_t RunTicket::memory_bytes() const { return worker_ ? pool_->watch_.memory_now(worker_->number()) : 0; }

}  // namespace fused
