// The workers of a server: who runs next and where. A warm worker serves one (organisation, owner of the code) and is
// replaced, never handed over. A run that waits for a run it started gives up its slot. One thread.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/settings.hpp"
#include "worker/own_limits.hpp"
#include "worker/queue.hpp"
#include "worker/watch.hpp"
#include "worker/worker_process.hpp"
#include "worker/zygote.hpp"

namespace fused {

struct PoolOptions {
  int workers = 2;
  std::size_t queue_length = 96;
  int worker_runs_max = 10'000;
  int recursion_max = 5;
  RunLimits limits;
  boost::json::object sandbox;    // of the zygote's fork message, without scratch
  std::filesystem::path scratch;  // DIR/scratch; one folder a worker below it
  ZygoteOptions zygote;
  std::function<void(const boost::json::object&)> first_report;  // what the first worker says of its sandbox
  std::function<void(const std::string& why)> unfit;             // no worker will ever come
};

struct PoolFigures {
  int workers = 0;  // slots
  int alive = 0;
  int busy = 0;
  int blank = 0;
  int beside = 0;  // of jobs, beside the slots
  pid_t spare_pid = 0;
  int spares = 0;                // forked for the next task of a job
  std::int64_t spare_bytes = 0;  // memory of its own that it holds, about
  std::size_t queued = 0;
  std::uint64_t forked = 0;
  std::uint64_t lost = 0;
  std::uint64_t refused = 0;
  boost::json::object isolation;  // what the newest worker reported
};

// The handle of one run while it lasts: to cancel it, and to give its slot away while it waits for nested runs.
class RunTicket {
 public:
  void cancel(RunEnd why, std::string message);  // drops a queued run, ends a running one; once
  void begin_nested();
  void end_nested();
  bool is_cancelled() const { return cancelled_.has_value(); }
  // While it is decided whether a run that has reached its wall limit goes on as a job nothing else ends it. Then:
  void hold() { held_ = true; }
  void leave_slot(std::int64_t wall_ms);  // it goes on beside the slots of requests, with this limit
  void time_out(std::string message);     // it ends
  std::function<void()> on_cancel;        // of one that waits for somebody else's run
  // The process that runs it, to be looked at from outside; 0 while there is none.
  pid_t pid() const { return worker_ && worker_->pid() > 1 ? worker_->pid() : 0; }
  std::int64_t memory_bytes() const;  // of all its processes, at the last look of the watch

 private:
  friend class Pool;
  class Pool* pool_ = nullptr;
  Waiting* waiting_ = nullptr;
  boost::asio::steady_timer* blank_ = nullptr;  // while it waits for a fork
  std::shared_ptr<WorkerProcess> worker_;
  std::optional<std::pair<RunEnd, std::string>> cancelled_;
  int nested_ = 0;
  bool has_slot_ = false;
  bool beside_ = false;  // needs no slot
  bool held_ = false;    // it is not ended now
};

class Pool {
 public:
  Pool(boost::asio::io_context& io, PoolOptions options);
  ~Pool();

  Status start();
  // Queues, runs and ends one order. too_many_requests when the queue is full; unavailable while draining.
  boost::asio::awaitable<Result<RunReply>> run(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher);
  // Asks a worker what functions a text holds. `header`: of the describe frame. As many at once as there are slots,
  // beside them: it is short, and a run may wait for it.
  boost::asio::awaitable<Result<std::string>> describe(std::string header, std::string worker_key);
  PoolFigures figures() const;
  void stop();

 private:
  friend class RunTicket;
  using SharedWorker = std::shared_ptr<WorkerProcess>;

  // Of a run beside the slots.
  struct Beside {
    Completion<bool> ready;  // false: it ended before
    Completion<bool> gone;
  };
  // Forked, and not in its sandbox yet: it enters when a task comes, with that task's limits and folder.
  struct BesideWorker {
    SharedWorker worker;
    std::shared_ptr<Beside> told;
    std::int64_t result_bytes = 0;
    SteadyTime since{};
  };
  boost::asio::awaitable<Result<RunReply>> run_beside(const RunOrder& order, RunTicket& ticket, RunWatcher& watcher);
  Result<BesideWorker> fork_beside(std::int64_t result_bytes);
  Result<BesideWorker> take_beside(std::int64_t result_bytes);
  void keep_spare();
  std::int64_t spare_bytes() const;
  Result<SharedWorker> fork(int number, boost::json::object sandbox, std::int64_t result_bytes, WorkerEvents events,
                            bool late = false);
  void clean_up(int number);
  SharedWorker find(int number) const;  // null where there is none

  bool may_start(bool nested) const;
  boost::asio::awaitable<Result<SharedWorker>> take_worker(const RunOrder& order, RunTicket& ticket);
  SharedWorker pick(const std::string& key, bool fresh);
  void give_slot();  // a slot is free: wake the next
  void wake_waiter();
  void refill();
  void fork_one();
  void on_dead(int number);
  void on_clean(int number, const std::string& replace);
  void replace(const SharedWorker& worker);
  boost::asio::awaitable<void> look_after_runs();
  void on_excess(const Excess& excess);
  void on_limits(int number, const boost::json::object& asked);
  void move_beside(RunTicket& ticket, std::int64_t wall_ms);
  boost::asio::awaitable<void> end_moved(SharedWorker worker);
  std::filesystem::path scratch_of(int worker) const { return options_.scratch / std::to_string(worker); }

  boost::asio::io_context& io_;
  PoolOptions options_;
  RunQueue queue_;
  Zygote zygote_;
  Watch watch_;
  boost::asio::steady_timer tick_;
  boost::asio::thread_pool cleaner_{1};  // removes the scratch of workers that ended
  std::unordered_map<int, SharedWorker> workers_;
  std::vector<boost::asio::steady_timer*> blank_waiters_;
  int describing_ = 0;
  std::vector<boost::asio::steady_timer*> describe_waiters_;
  struct Running {
    std::uint64_t run = 0;
    SteadyTime since{};
    bool watched = false;
    RunWatcher* watcher = nullptr;
    RunLimits of_server;
    OwnLimits own;
    bool deciding = false;              // it has reached its wall limit and may go on
    bool is_promoted = false;           // see RunOrder
    std::filesystem::path shared = {};  // the folder of the job that it is a task of
  };
  std::unordered_map<int, Running> running_;      // by worker number
  std::unordered_map<int, SharedWorker> beside_;  // those of jobs: not in workers_, for nobody else
  std::optional<BesideWorker> spare_;             // one of beside_, while jobs come
  boost::asio::steady_timer spare_timer_;
  mutable std::int64_t spare_bytes_ = 0;      // as measured once for each
  mutable int spare_measured_ = 0;            // its number
  std::unordered_set<int> throw_away_;        // fresh runs: replaced after it
  std::unordered_set<int> slot_of_cleaning_;  // workers whose run is over and whose slot is not free yet
  int slots_used_ = 0;
  int next_number_ = 1;
  std::uint64_t next_run_ = 1;
  std::uint64_t forked_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t refused_ = 0;
  boost::json::object isolation_;
  bool ticking_ = false;
  bool stopping_ = false;
};

}  // namespace fused
