// The batches of a server: opened, found again by their owners, ended when nothing is left of them or nobody asks.
#pragma once
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>

#include "batch/batch.hpp"
#include "batch/batch_figures.hpp"
#include "logs/run_log.hpp"
#include "storage/state_thread.hpp"

namespace fused {

struct BatchServiceOptions {
  std::filesystem::path data;         // DIR
  std::filesystem::path calls_table;  // the program that writes calls.parquet (fused-table)
  boost::json::object sandbox;        // of that program: core/sandbox/sandbox.hpp
  int workers = 2;
  std::chrono::seconds idle{300};  // without a question of its owner a batch is cancelled and closed
};

class BatchService {
 public:
  static constexpr std::size_t kOpenMax = 256;
  static constexpr std::size_t kOpenOfUserMax = 32;

  // `cached` may be null: nothing is kept.
  BatchService(boost::asio::io_context& io, RunService& runs, CachedRuns* cached, RunLog& log,
               BatchServiceOptions options);
  ~BatchService();

  // `request`: what each call is, without its own arguments. too_many_requests.
  boost::asio::awaitable<Result<std::shared_ptr<Batch>>> open(RunRequest request, BatchWish wish);
  // not_found for an id that is unknown, over, or somebody else's.
  Result<std::shared_ptr<Batch>> find(const std::string& id, const Actor& actor) const;
  // What a caller has sent as calls, checked; a large text, which `owner` keeps, is read beside the loop.
  using Piece = Result<std::shared_ptr<const ArgumentPiece>>;
  boost::asio::awaitable<Piece> read(std::shared_ptr<const void> owner, std::string_view text);
  // What takes long and needs nothing of a batch, beside the loop.
  template <class F>
  boost::asio::awaitable<std::invoke_result_t<F>> beside(F work) {
    return reader_.run(std::move(work));
  }
  // No more calls come: when the last has ended, its folder is made.
  void close(const std::shared_ptr<Batch>& batch);
  std::string log_dir(const Batch& batch) const;
  std::chrono::seconds idle() const { return options_.idle; }
  BatchFigures figures() const;

  // The server ends: nothing more begins, and whoever waits for results is told.
  void stop(const std::string& why);
  // After `stop`: until each batch has its record, a few seconds at most.
  boost::asio::awaitable<void> finish();

 private:
  struct Entry {
    std::shared_ptr<Batch> batch;
    bool is_ending = false;
    bool is_kept = false;  // its record is in the log
    SteadyTime kept_at{};
  };
  void look_after();
  boost::asio::awaitable<void> live();
  boost::asio::awaitable<void> end(std::shared_ptr<Batch> batch);
  boost::asio::awaitable<std::string> write_calls(std::shared_ptr<Batch> batch);
  boost::asio::awaitable<void> keep(std::shared_ptr<Batch> batch);
  boost::asio::awaitable<Bytes> pack(std::shared_ptr<Batch> batch, std::int64_t now_ms);
  RunRecord record_of(Batch& batch) const;

  boost::asio::io_context& io_;
  RunService& runs_;
  RunLog& log_;
  BatchServiceOptions options_;
  boost::asio::thread_pool disk_{1};
  boost::asio::thread_pool writer_{1};  // waits for the program that writes calls.parquet
  BatchHost host_;
  std::unordered_map<std::string, Entry> batches_;
  std::uint64_t opened_ = 0;
  std::uint64_t calls_ = 0;
  boost::asio::steady_timer tick_;
  bool living_ = false;
  bool stopping_ = false;
  std::string why_stopping_;
  std::atomic<bool> leaving_ = false;
  StateThread reader_;
};

}  // namespace fused
