// Of Pool: a run that leaves the slots of requests while it goes on (docs/decisions/0012, B).
#include <boost/asio/use_awaitable.hpp>

#include "sandbox/process_look.hpp"
#include "worker/pool.hpp"

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr auto kGoneLook = std::chrono::milliseconds(10);

}  // namespace

void Pool::move_beside(RunTicket& ticket, std::int64_t wall_ms) {
  const SharedWorker worker = ticket.worker_;
  if (std::exchange(ticket.has_slot_, false)) --slots_used_;
  ticket.beside_ = true;
  throw_away_.erase(worker->number());
  workers_.erase(worker->number());
  beside_.emplace(worker->number(), worker);
  if (const auto running = running_.find(worker->number()); running != running_.end()) {
    running->second.own.limits.wall_ms = wall_ms;
    running->second.deciding = false;
  }
  refill();
  give_slot();
}

// It served one owner's request and then a job: it is not used again. Nothing of it is left when this is over.
asio::awaitable<void> Pool::end_moved(SharedWorker worker) {
  const pid_t pid = worker->pid();
  const auto before = pid > 1 ? look_at(pid) : std::nullopt;
  worker->kill(RunEnd::cancelled, "its run has ended");
  const auto is_there = [&] {
    if (beside_.contains(worker->number())) return true;
    const auto now = before ? look_at(pid) : std::nullopt;
    return now && now->started == before->started && now->state != 'Z';
  };
  while (!stopping_ && is_there()) {
    asio::steady_timer pause(io_, kGoneLook);
    co_await pause.async_wait(asio::use_awaitable);
  }
}

void RunTicket::leave_slot(std::int64_t wall_ms) {
  held_ = false;
  cancelled_.reset();  // who left meanwhile had asked for a job
  if (worker_) pool_->move_beside(*this, wall_ms);
}

void RunTicket::time_out(std::string message) {
  held_ = false;
  if (!worker_) return;  // it has ended meanwhile
  if (cancelled_)
    worker_->kill(cancelled_->first, cancelled_->second);
  else
    worker_->end_run(RunEnd::timeout, std::move(message));
}

}  // namespace fused
