// Of Pool: runs of jobs, each in a worker of its own beside the slots.
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sandbox/process_look.hpp"
#include "worker/pool.hpp"

namespace fused {
namespace asio = boost::asio;
namespace json = boost::json;
namespace {

constexpr auto kGoneLook = std::chrono::milliseconds(10);

json::object with_limits(json::object sandbox, const RunLimits& l) {
  sandbox["limits"] = {{"wall_ms", l.wall_ms},
                       {"memory_bytes", l.memory_bytes},
                       {"stream_bytes", l.stream_bytes},
                       {"result_bytes", l.result_bytes},
                       {"processes", l.processes},
                       {"descriptors", l.descriptors},
                       {"disk_written_bytes", l.disk_written_bytes},
                       {"files_made", l.files_made}};
  return sandbox;
}

}  // namespace

Result<Pool::SharedWorker> Pool::fork_beside(const RunLimits& limits, const std::shared_ptr<Beside>& told) {
  const int number = next_number_++;
  WorkerEvents events{.ready = [told] { told->ready.set(true); },
                      .clean = [](const std::string&) {},  // it is ended, not used again
                      .dead =
                          [this, number, told] {
                            clean_up(number);
                            beside_.erase(number);
                            told->ready.set(false);
                            told->gone.set(true);
                          },
                      .limits = [this, number](const json::object& asked) { on_limits(number, asked); }};
  auto worker = FUSED_TRY(fork(number, with_limits(options_.sandbox, limits), limits.result_bytes, std::move(events)));
  beside_.emplace(number, worker);
  return worker;
}

asio::awaitable<Result<RunReply>> Pool::run_beside(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher) {
  const auto cancelled = [&ticket] {
    return RunReply{.end = ticket.cancelled_->first, .message = ticket.cancelled_->second};
  };
  if (ticket.cancelled_) co_return cancelled();
  const auto told = std::make_shared<Beside>();
  auto forked = fork_beside(*order.beside, told);
  if (!forked) co_return std::unexpected(forked.error());
  const SharedWorker worker = *std::move(forked);
  ticket.beside_ = true;
  ticket.worker_ = worker;
  const bool ready = co_await told->ready.wait();
  RunReply reply{.end = RunEnd::crashed, .message = "the worker of the task ended before it could run it"};
  if (ticket.cancelled_) {
    reply = cancelled();
  } else if (ready && worker->state() == WorkerState::blank) {
    Running& running = running_[worker->number()] = {
        next_run_++, std::chrono::steady_clock::now(), false, &watcher, *order.beside, {*order.beside, {}}};
    if (!std::exchange(ticking_, true)) asio::co_spawn(io_, look_after_runs(), asio::detached);
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
