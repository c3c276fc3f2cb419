// One batch: calls that wait, groups of them that run, what they left (docs/decisions/0009-batches.md). One thread.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "batch/batch_results.hpp"
#include "batch/group.hpp"
#include "batch/kept_calls.hpp"
#include "logs/streams.hpp"
#include "run/cached_run.hpp"
#include "run/run_service.hpp"

namespace fused {

struct BatchWish {
  int max_workers = 32;
  int max_retry = 2;
  bool retries_failures = false;  // else only what the function is not to blame for
};

// What all batches of a server share.
struct BatchHost {
  boost::asio::io_context& io;
  RunService& runs;
  boost::asio::thread_pool& disk;
  std::filesystem::path folder;  // for results
  int workers = 2;               // of the pool
  CachedRuns* cached = nullptr;  // null: nothing is kept
};

struct BatchCounts {
  std::size_t taken = 0;  // calls that came
  std::size_t waiting = 0;
  std::size_t finished = 0;
  std::size_t by_status[6] = {};
};

class Batch : public std::enable_shared_from_this<Batch> {
 public:
  static constexpr std::size_t kArgumentBytesMax = 32 << 20;     // that wait or run
  static constexpr std::uint64_t kUnaskedBytesMax = 1ULL << 30;  // results that nobody has asked for: then it pauses
  static constexpr std::size_t kFirstErrorsKept = 5;

  Batch(BatchHost& host, RunRequest request, BatchWish wish);

  const std::string& id() const { return request_.run_id; }
  const RunRequest& request() const { return request_; }
  bool belongs_to(const Actor& actor) const;

  // Before the first piece: what calls have given before, where results are kept.
  void answer_from(std::optional<KeptBatch> kept);
  const std::optional<KeptBatch>& kept() const { return kept_; }
  const std::optional<KeptCalls>& kept_calls() const { return kept_calls_; }
  std::size_t answered() const { return answered_; }  // of the calls, by what is kept

  // A piece of calls. One that came before is acknowledged again. conflict, too_many_requests (there is no room now),
  // invalid_argument. What is kept is answered in slices, between which the loop goes round.
  boost::asio::awaitable<Status> take(std::shared_ptr<const ArgumentPiece> piece);
  std::int64_t room_bytes() const;

  struct Answer {
    Bytes bytes;  // a chunk; empty: nothing has ended meanwhile
    std::uint64_t cursor = 0;
  };
  // What ended after `after` chunks, waiting for it at most so long.
  boost::asio::awaitable<Result<Answer>> results(std::uint64_t after, std::chrono::milliseconds patience);

  // Nothing more begins from now on; calls that wait end in slices, as their results show.
  void cancel();
  void cancel(std::vector<std::uint32_t> calls);
  void close() { closed_ = true; }  // no more calls come
  void stop(std::string why);       // the server ends: nothing more begins, who waits is told

  // Every 20 ms while something happens: collects, takes back, tries again.
  void tick();
  bool is_busy() const { return !groups_.empty() || !later_.empty() || lanes_ > 0 || !ending_.empty(); }
  bool is_done() const { return counts_.finished == counts_.taken; }
  bool is_closed() const { return closed_; }
  bool is_over() const { return closed_ && is_done() && !is_busy(); }
  SteadyTime last_asked() const { return last_asked_; }
  bool is_asked() const { return !waiters_.empty(); }
  bool is_acknowledged() const { return results_->is_acknowledged(); }  // its owner has all that there is
  const BatchCounts& counts() const { return counts_; }
  std::vector<std::pair<std::uint32_t, std::uint32_t>> running() const;  // [first, number], the first few
  const std::string& trouble() const { return results_->trouble(); }
  std::function<void()> on_work;  // there is something to tick for

  // For its folder.
  BatchResults& results() { return *results_; }
  CapturedStream& out() { return out_; }
  const std::vector<std::string>& first_errors() const { return first_errors_; }
  std::int64_t peak_memory_bytes() const { return peak_memory_bytes_; }
  WallTime started() const { return started_; }
  double seconds() const { return std::chrono::duration<double>(last_end_ - begun_).count(); }
  std::uint64_t result_bytes() const { return result_bytes_; }

 private:
  enum class State : std::uint8_t { unknown, open, ended };
  static constexpr auto kGroupSeconds = 0.05;

  void pump();
  boost::asio::awaitable<void> lane();
  std::vector<CallRange> fill();
  void settle(Group& group, const Result<RunReply>& reply);
  void settle_unready(Group& group, const RunReply& reply);
  void lose(const CallRange& call, const Group& group, const RunReply& reply);
  void collect(Group& group);
  void return_calls(std::vector<CallRange> segments);
  // A call has ended. `is_blamed`: by a failure of its own code.
  void ended(const CallRange& call, CallStatus status, double started, double seconds, std::string_view record,
             bool is_blamed);
  Status check(const ArgumentPiece& piece) const;
  void wait(const CallRange& calls);
  bool answer(const CallRange& call);
  void cancel_waiting(const std::vector<std::uint32_t>* only);  // sorted; null: all
  // Calls that end without a process, each the same way.
  void end_all(std::deque<CallRange> calls, CallStatus status, std::string record);
  void end_slice();
  boost::asio::awaitable<void> end_rest();
  void note(std::uint32_t index, CallStatus status, std::string_view record);
  void wake();
  bool is_paused() const;

  BatchHost& host_;
  RunRequest request_;
  BatchWish wish_;
  std::shared_ptr<BatchResults> results_;
  std::deque<CallRange> waiting_;
  struct Ending {
    std::deque<CallRange> calls;
    CallStatus status{};
    double started = 0;
    std::string record;
  };
  std::deque<Ending> ending_;
  std::multimap<SteadyTime, CallRange> later_;
  std::unordered_map<std::uint32_t, std::uint16_t> tries_;  // of calls that failed before
  std::vector<State> states_;
  std::int64_t next_piece_ = 0;
  std::shared_ptr<std::size_t> held_bytes_ = std::make_shared<std::size_t>(0);
  std::list<std::shared_ptr<Group>> groups_;
  std::unordered_set<std::uint32_t> cancelled_calls_;  // of those that run
  int lanes_ = 0;
  int deaths_before_any_ = 0;  // groups in a row whose process ended before their first call
  int refusals_ = 0;
  double call_seconds_ = 0;  // of late; 0: not known
  BatchCounts counts_;
  std::list<boost::asio::steady_timer*> waiters_;
  SteadyTime last_asked_ = std::chrono::steady_clock::now();
  SteadyTime begun_ = last_asked_, last_end_ = last_asked_;
  WallTime started_ = std::chrono::system_clock::now();
  std::uint64_t woken_chunks_ = 0;
  std::uint64_t result_bytes_ = 0;
  std::optional<KeptBatch> kept_;
  std::optional<KeptCalls> kept_calls_;
  std::size_t answered_ = 0;
  std::int64_t peak_memory_bytes_ = 0;
  CapturedStream out_;
  std::vector<std::string> first_errors_;
  bool closed_ = false, cancelled_ = false;
  std::string stopped_;  // why
};

}  // namespace fused
