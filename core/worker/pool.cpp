#include "worker/pool.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <random>

namespace fused {
namespace asio = boost::asio;
namespace {

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr auto kBlankLook =
    std::chrono::milliseconds(500);              // a run that waits for a fork looks again so often, unasked
constexpr std::size_t kOverloadedPerWorker = 5;  // docs/decisions/0002-runs.md says why
constexpr auto kBlankWait = std::chrono::seconds(60);

std::string seconds_text(std::int64_t milliseconds) {
  std::string text = std::to_string(milliseconds / 1000);
  if (milliseconds % 1000) text += '.' + std::to_string(1000 + milliseconds % 1000).substr(1);
  return text;
}

std::uint64_t new_nonce() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

}  // namespace

Pool::Pool(asio::io_context& io, PoolOptions options)
    : io_(io),
      options_(std::move(options)),
      queue_(options_.queue_length, kOverloadedPerWorker * static_cast<std::size_t>(options_.workers)),
      zygote_(io, options_.zygote,
              {.ready = [this] { refill(); },
               .forked =
                   [this](int worker, pid_t pid) {
                     if (const SharedWorker found = find(worker)) found->forked(pid);
                   },
               .fork_failed =
                   [this](int worker, const std::string& message) {
                     spdlog::error("a worker could not be forked: {}", message);
                     if (const SharedWorker found = find(worker)) found->exited({worker, 0, 0, 0});
                   },
               .exited =
                   [this](const WorkerExit& exit) {
                     if (const SharedWorker found = find(exit.worker)) found->exited(exit);
                   },
               .lost =
                   [this](const std::string& why) {
                     // Its workers end with it, by their parent-death signal; those being forked never come.
                     spdlog::warn("{} and its workers with it", why);
                     for (const auto* all : {&workers_, &beside_})
                       for (const auto& [number, worker] : *all)
                         worker->kill(RunEnd::crashed,
                                      "the process that workers are forked from ended, and the function's with it");
                   },
               .unfit =
                   [this](const std::string& why) {
                     if (options_.unfit) options_.unfit(why);
                   }}),
      watch_([this](Excess excess) { asio::post(io_, [this, excess = std::move(excess)] { on_excess(excess); }); }),
      tick_(io),
      spare_timer_(io) {}

Pool::~Pool() { stop(); }

Status Pool::start() {
  FUSED_CHECK(zygote_.start());
  return {};
}

void Pool::stop() {
  if (std::exchange(stopping_, true)) return;
  tick_.cancel();
  spare_timer_.cancel();
  while (Waiting* waiting = queue_.pop(false)) waiting->turn.set(false);
  for (auto* waiter : blank_waiters_) waiter->cancel();
  for (const auto* all : {&workers_, &beside_})
    for (const auto& [number, worker] : *all) worker->kill(RunEnd::cancelled, "the server is stopping");
  zygote_.stop();
  cleaner_.join();
}

// A top-level run starts only while the processes that suspended parents hold leave room for their children.
bool Pool::may_start(bool nested) const {
  if (slots_used_ >= options_.workers) return false;
  const auto busy = std::count_if(workers_.begin(), workers_.end(),
                                  [](const auto& w) { return w.second->state() == WorkerState::busy; });
  return nested || busy < static_cast<std::ptrdiff_t>(options_.workers) * (options_.recursion_max + 1);
}

asio::awaitable<Result<RunReply>> Pool::run(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher) {
  ticket.pool_ = this;
  if (stopping_) co_return fail(ErrorKind::unavailable, "the server is stopping");
  if (order.beside) co_return co_await run_beside(order, ticket, watcher);
  if (!may_start(order.nested) || (!order.nested && queue_.length() > 0)) {
    if (!order.nested && !queue_.admits(order.caller, std::chrono::steady_clock::now())) {
      ++refused_;
      co_return fail(ErrorKind::too_many_requests,
                     std::to_string(queue_.length()) + " runs are waiting already; try again in a second");
    }
    Waiting waiting{order.caller, order.nested, {}};
    ticket.waiting_ = &waiting;
    queue_.push(waiting);
    const bool go = co_await waiting.turn.wait();  // give_slot has counted the slot
    ticket.waiting_ = nullptr;
    if (!go && !ticket.cancelled_) co_return fail(ErrorKind::unavailable, "the server is stopping");
    if (!go) co_return RunReply{.end = ticket.cancelled_->first, .message = ticket.cancelled_->second};
  } else {
    ++slots_used_;
  }
  ticket.has_slot_ = true;
  auto taken = co_await take_worker(order, ticket);
  const SharedWorker worker = taken ? *taken : nullptr;
  RunReply reply;
  if (worker) {
    ticket.worker_ = worker;
    if (order.fresh) throw_away_.insert(worker->number());
    const std::uint64_t number_of_run = next_run_++;
    Running& running = running_[worker->number()] = {
        number_of_run, std::chrono::steady_clock::now(), false, &watcher, options_.limits, {options_.limits, {}}};
    if (!std::exchange(ticking_, true)) asio::co_spawn(io_, look_after_runs(), asio::detached);
    reply = co_await worker->run(order, watcher, queue_.length() > 0);
    if (running.watched) reply.peak_memory_bytes = std::max(reply.peak_memory_bytes, watch_.end(worker->number()));
    reply.limits = running.own.limits;
    reply.limits_note = running.own.note;
    running_.erase(worker->number());
    if (ticket.beside_) co_await end_moved(worker);
    ticket.worker_.reset();
  } else if (ticket.cancelled_) {
    reply = {.end = ticket.cancelled_->first, .message = ticket.cancelled_->second};
  }
  if (std::exchange(ticket.has_slot_, false)) {
    // The slot is free when the worker is: the next run of its owner shall find it warm, not fork another.
    if (worker && worker->state() == WorkerState::cleaning)
      slot_of_cleaning_.insert(worker->number());
    else
      --slots_used_;
  }
  give_slot();
  if (!taken && !ticket.cancelled_) co_return std::unexpected(taken.error());
  co_return reply;
}

Pool::SharedWorker Pool::pick(const std::string& key, bool fresh) {
  SharedWorker blank;
  for (const auto& [number, worker] : workers_) {
    if (!fresh && worker->state() == WorkerState::idle && worker->key() == key) return worker;
    if (!blank && worker->state() == WorkerState::blank) blank = worker;
  }
  return blank;
}

asio::awaitable<Result<Pool::SharedWorker>> Pool::take_worker(const RunOrder& order, RunTicket& ticket) {
  const auto deadline = std::chrono::steady_clock::now() + kBlankWait;
  for (;;) {
    if (ticket.cancelled_ || stopping_) co_return fail(ErrorKind::unavailable, "the server is stopping");
    if (const SharedWorker worker = pick(order.worker_key, order.fresh)) {
      worker->set_key(order.worker_key);
      worker->set_state(WorkerState::busy);
      refill();
      co_return worker;
    }
    // Somebody else's warm worker makes room for a new one.
    for (const auto& [number, worker] : workers_)
      if (worker->state() == WorkerState::idle) {
        replace(worker);
        break;
      }
    asio::steady_timer blank(io_, kBlankLook);
    blank_waiters_.push_back(&blank);
    ticket.blank_ = &blank;
    refill();
    boost::system::error_code ignored;
    co_await blank.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    std::erase(blank_waiters_, &blank);
    ticket.blank_ = nullptr;
    if (std::chrono::steady_clock::now() > deadline)
      co_return fail(ErrorKind::unavailable, "no worker could be started within 60 s; see the server's log");
  }
}

void Pool::give_slot() {
  while (!stopping_) {
    const bool any = may_start(false);
    if (!any && !(queue_.has_nested() && may_start(true))) return;
    Waiting* next = queue_.pop(!any);
    if (!next) return;
    ++slots_used_;
    next->turn.set(true);
  }
}

void Pool::refill() {
  if (stopping_ || !zygote_.is_ready()) return;
  int coming = 0;
  int warm = 0;
  for (const auto& [number, worker] : workers_) {
    if (worker->state() == WorkerState::starting || worker->state() == WorkerState::blank)
      ++coming;
    else if (worker->state() != WorkerState::dead)
      ++warm;
  }
  const int wanted = std::max({1, 1 + static_cast<int>(blank_waiters_.size()), options_.workers - warm});
  for (; coming < wanted; ++coming) fork_one();
}

void Pool::fork_one() {
  const int number = next_number_++;
  WorkerEvents events{.ready =
                          [this, number] {
                            const bool first = std::exchange(isolation_, workers_.at(number)->report()).empty();
                            if (first && options_.first_report) options_.first_report(isolation_);
                            wake_waiter();
                          },
                      .clean = [this, number](const std::string& why) { on_clean(number, why); },
                      .dead = [this, number] { on_dead(number); },
                      .limits = [this, number](const boost::json::object& asked) { on_limits(number, asked); }};
  const auto worker = fork(number, options_.sandbox, options_.limits.result_bytes, std::move(events));
  if (!worker) {
    spdlog::error("{}", worker.error().message);
    return;
  }
  workers_.emplace(number, *worker);
}

Result<Pool::SharedWorker> Pool::fork(int number, boost::json::object sandbox, std::int64_t result_bytes,
                                      WorkerEvents events, bool late) {
  const std::uint64_t nonce = new_nonce();
  auto worker = std::make_shared<WorkerProcess>(io_, number, nonce, result_bytes, std::move(events));
  const WorkerProcess::Ends ends = FUSED_TRY(worker->open());
  sandbox["scratch"] = scratch_of(number).string();
  std::error_code made;
  std::filesystem::create_directory(scratch_of(number), made);
  FUSED_CHECK(zygote_.fork_worker(number, nonce, sandbox, late, ends.socket, ends.out, ends.err));
  ++forked_;
  return worker;
}

Pool::SharedWorker Pool::find(int number) const {
  for (const auto* all : {&workers_, &beside_})
    if (const auto found = all->find(number); found != all->end()) return found->second;
  return nullptr;
}

void Pool::on_clean(int number, const std::string& why) {
  const auto found = workers_.find(number);
  if (found == workers_.end()) return;
  const SharedWorker worker = found->second;
  worker->set_state(WorkerState::idle);
  const auto idle = std::count_if(workers_.begin(), workers_.end(),
                                  [](const auto& w) { return w.second->state() == WorkerState::idle; });
  const bool thrown = throw_away_.erase(number) > 0;
  if (slot_of_cleaning_.erase(number)) --slots_used_;
  if (!why.empty()) spdlog::info("worker {} is replaced after {} runs: {}", number, worker->runs(), why);
  if (!why.empty() || thrown || worker->runs() >= options_.worker_runs_max || idle > options_.workers) {
    replace(worker);
  } else {
    wake_waiter();  // a run that waits for a fork is better served by a warm worker that is free now
  }
  give_slot();
}

void Pool::wake_waiter() {
  if (blank_waiters_.empty()) return;
  auto* waiter = blank_waiters_.front();
  blank_waiters_.erase(blank_waiters_.begin());
  waiter->cancel();
}

void Pool::replace(const SharedWorker& worker) {
  worker->set_state(WorkerState::cleaning);
  worker->kill(RunEnd::cancelled, "replaced");
  refill();
}

// A function may have left a hundred thousand files; the event loop does not wait for them.
void Pool::clean_up(int number) {
  asio::post(cleaner_, [scratch = scratch_of(number)] {
    std::error_code ignored;
    std::filesystem::remove_all(scratch, ignored);
  });
}

void Pool::on_dead(int number) {
  clean_up(number);
  const auto found = workers_.find(number);
  if (found == workers_.end()) {
    beside_.erase(number);  // its run had left the slots
    return;
  }
  const bool unborn = found->second->report().empty();
  workers_.erase(found);
  throw_away_.erase(number);
  if (slot_of_cleaning_.erase(number)) --slots_used_;
  give_slot();
  ++lost_;
  if (stopping_) return;
  if (!unborn) return refill();
  // A worker that dies before it is ready would be forked again at full speed for ever.
  asio::co_spawn(
      io_,
      [this]() -> asio::awaitable<void> {
        asio::steady_timer pause(io_, std::chrono::milliseconds(250));
        co_await pause.async_wait(asio::use_awaitable);
        refill();
      },
      asio::detached);
}

// While anything runs: what has run for a tick is watched, what has run for too long is ended. Short runs cost nothing.
asio::awaitable<void> Pool::look_after_runs() {
  while (!stopping_ && !running_.empty()) {
    tick_.expires_after(kTick);
    boost::system::error_code error;
    co_await tick_.async_wait(asio::redirect_error(asio::use_awaitable, error));
    const auto now = std::chrono::steady_clock::now();
    for (auto& [number, running] : running_) {
      const SharedWorker found = find(number);
      if (!found) continue;
      if (!running.watched && now - running.since >= kTick) {
        running.watched = true;
        watch_.begin(number, running.run, found->pid(), scratch_of(number), running.own.limits, running.shared);
      }
      const SteadyTime since = std::max(running.since, running.watcher->counts_since());
      if (running.deciding || now - since < std::chrono::milliseconds(running.own.limits.wall_ms)) continue;
      running.deciding = running.watcher->wall_reached(running.own.limits);
      if (running.deciding) continue;
      running.watcher->ending();
      found->end_run(RunEnd::timeout,
                     "the function ran longer than its limit of " + seconds_text(running.own.limits.wall_ms) + " s");
    }
  }
  ticking_ = false;
}

void Pool::on_excess(const Excess& excess) {
  const auto running = running_.find(excess.worker);
  const SharedWorker worker = find(excess.worker);
  if (running == running_.end() || !worker || running->second.run != excess.run) return;
  running->second.watcher->ending();
  worker->end_run(excess.end, excess.message);
}

void Pool::on_limits(int number, const boost::json::object& asked) {
  const auto found = running_.find(number);
  if (found == running_.end()) return;
  Running& running = found->second;
  running.own = own_limits(running.of_server, asked, running.is_promoted);
  if (running.watched) watch_.lower(number, running.own.limits);
  running.watcher->limited(running.own.limits);
  running.watcher->asked(asked);
}

asio::awaitable<Result<std::string>> Pool::describe(std::string header, std::string worker_key) {
  while (describing_ >= options_.workers && !stopping_) {
    asio::steady_timer turn(io_, std::chrono::seconds(1));
    describe_waiters_.push_back(&turn);
    boost::system::error_code ignored;
    co_await turn.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    std::erase(describe_waiters_, &turn);
  }
  if (stopping_) co_return fail(ErrorKind::unavailable, "the server is stopping");
  struct Turn {
    Pool& pool;
    explicit Turn(Pool& p) : pool(p) { ++pool.describing_; }
    Turn(const Turn&) = delete;
    ~Turn() {
      --pool.describing_;
      if (!pool.describe_waiters_.empty()) pool.describe_waiters_.front()->cancel();
    }
  } turn(*this);
  RunTicket ticket;
  ticket.pool_ = this;
  RunOrder order;
  order.worker_key = std::move(worker_key);
  auto worker = co_await take_worker(order, ticket);
  if (!worker) co_return std::unexpected(worker.error());
  auto frame = co_await (*worker)->describe(std::move(header));
  if ((*worker)->state() != WorkerState::dead) (*worker)->set_state(WorkerState::idle);
  wake_waiter();
  give_slot();
  if (!frame) co_return std::unexpected(frame.error());
  co_return std::move(frame->header);
}

PoolFigures Pool::figures() const {
  PoolFigures figures{.workers = options_.workers,
                      .alive = static_cast<int>(workers_.size()),
                      .beside = static_cast<int>(beside_.size()) - (spare_ ? 1 : 0),
                      .spare_pid = spare_ ? spare_->worker->pid() : 0,
                      .spares = spare_ ? 1 : 0,
                      .spare_bytes = spare_bytes(),
                      .queued = queue_.length(),
                      .forked = forked_,
                      .lost = lost_,
                      .refused = refused_,
                      .isolation = isolation_};
  for (const auto& [number, worker] : workers_) {
    figures.busy += worker->state() == WorkerState::busy || worker->state() == WorkerState::cleaning;
    figures.blank += worker->state() == WorkerState::blank;
  }
  return figures;
}

void RunTicket::cancel(RunEnd why, std::string message) {
  if (cancelled_) return;
  cancelled_ = {why, message};
  if (on_cancel) std::exchange(on_cancel, nullptr)();
  if (held_) return;
  if (waiting_) {
    pool_->queue_.remove(*waiting_);
    waiting_->turn.set(false);
  } else if (worker_) {
    worker_->kill(why, std::move(message));
  } else if (blank_) {
    blank_->cancel();
  }
}

void RunTicket::begin_nested() {
  if (nested_++ > 0 || !std::exchange(has_slot_, false)) return;
  --pool_->slots_used_;
  pool_->give_slot();
}

void RunTicket::end_nested() {
  if (--nested_ > 0 || has_slot_ || beside_ || !worker_) return;
  has_slot_ = true;  // may go over the number of slots for a moment: the parent cannot be asked to wait
  ++pool_->slots_used_;
}

}  // namespace fused
