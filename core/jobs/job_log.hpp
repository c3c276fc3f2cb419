// The lines of jobs: log.jsonl, one JSON object a line, {"timestamp": ms, "task", "stream", "message"}, in the order of
// their times. Called on the server's thread; written and read on the jobs' thread of files.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.hpp"
#include "logs/line_cutter.hpp"
#include "storage/state_thread.hpp"

namespace fused {

struct JobLogFigures {
  std::uint64_t lines = 0;
  std::uint64_t dropped = 0;  // over the limit of their job
};

class JobLogs {
 public:
  static constexpr std::int64_t kBytesMax = 32LL << 20;  // of the functions' lines of one job; the cut is said
  static constexpr std::size_t kLineBytesMax = LineCutter::kLineBytesMax;

  JobLogs(boost::asio::io_context& io, StateThread& files, const Clock& clock, std::filesystem::path jobs)
      : io_(io), files_(files), clock_(clock), jobs_(std::move(jobs)) {}

  // `stream`: stdout, stderr, or job: the server's own, which is never dropped. `task` -1: of the job.
  // `at_ms`: of a line that is older than the job; no line with a later time may have come before it.
  void add(const std::string& job_id, std::int64_t task, std::string_view stream, std::string_view message,
           std::optional<std::int64_t> at_ms = std::nullopt);
  // No more lines come; those who follow are told.
  void end(const std::string& job_id);

  struct Part {
    std::string lines;     // whole ones, each with its line feed
    std::int64_t end = 0;  // where the next begin
  };
  // From a place, or from the first line that is not older; at most about `bytes_max`.
  boost::asio::awaitable<Part> read(std::string job_id, std::int64_t from, std::size_t bytes_max);
  boost::asio::awaitable<std::int64_t> place_of(std::string job_id, std::int64_t since_ms);
  // Until there is something behind `from`, or `patience` is over, or a job has ended since `ends()` was `ends`.
  boost::asio::awaitable<void> wait(std::string job_id, std::int64_t from, std::uint64_t ends,
                                    std::chrono::milliseconds patience);
  std::uint64_t ends() const { return ends_; }
  // What was added before the call is in the file; not what comes meanwhile, which may never end.
  boost::asio::awaitable<void> flushed(std::string job_id);
  void wake_all();  // the server leaves

  const JobLogFigures& figures() const { return figures_; }

 private:
  struct Open {
    std::string pending;
    std::int64_t bytes = -1;    // of functions' lines so far; -1: not looked yet
    std::int64_t written = -1;  // size of the file; -1: not known
    std::uint64_t dropped = 0;
    std::uint64_t number = 0;  // of this Open: one that is gone had written all
    std::uint64_t writes = 0;  // that have ended
    bool flushing = false;
    bool ended = false;
    std::list<boost::asio::steady_timer*> waiters;
  };
  Open& open(const std::string& job_id);
  void flush(const std::string& job_id, Open& log);
  void wake(Open& log);
  std::filesystem::path file(const std::string& job_id) const { return jobs_ / job_id / "log.jsonl"; }

  boost::asio::io_context& io_;
  StateThread& files_;
  const Clock& clock_;
  std::filesystem::path jobs_;
  std::unordered_map<std::string, Open> open_;
  JobLogFigures figures_;
  std::uint64_t opens_ = 0;
  std::uint64_t ends_ = 0;    // jobs that ended
  std::int64_t last_ms_ = 0;  // the clock may jump back, lines stay in order
};

}  // namespace fused
