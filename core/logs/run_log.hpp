// The log of every run. `append` is called before the reply and costs one write to the journal; the folder
// DIR/mount/fused-system/logs/{date}/{hhmm}/{e-mail}/{request id}/ with the seed's four files is made behind it by a
// thread, within a second, whole. A run that was answered has its folder also after kill -9: what the journal still
// holds is read first at the next start. Nothing is fsynced, so a power cut may lose the last second.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.hpp"
#include "base/result.hpp"
#include "logs/folder.hpp"
#include "logs/journal.hpp"
#include "logs/retention.hpp"
#include "logs/run_record.hpp"

namespace fused {

struct RunLogOptions {
  std::filesystem::path mount;    // DIR/mount
  std::filesystem::path journal;  // DIR/journal
  RetentionOptions retention;
  SharedFileOptions shared;
  std::int64_t segment_bytes = 4 << 20;
  std::int64_t journal_bytes_max = 1LL << 30;  // a record beyond it is lost, and counted
  // Records that wait for their folder. Beyond either, each append waits up to `block_max` for room: callers are
  // slowed, and since the journal holds the records, none is dropped. Not while the disk refuses folders.
  std::uint64_t backlog_records_max = 20'000;
  std::uint64_t backlog_bytes_max = 64 << 20;
  std::chrono::milliseconds block_max{10};
  std::chrono::milliseconds gather{20};  // how long the thread lets records gather: fewer wake-ups beside busy workers
  std::chrono::milliseconds retry_after{1'000};  // a folder that cannot be made is tried again as long as it takes
  std::chrono::seconds close_max{30};            // what is not done by then waits in the journal for the next start
};

struct RunLogMetrics {
  std::uint64_t backlog_records = 0;  // without those of an earlier server
  std::uint64_t backlog_bytes = 0;
  bool replaying = false;     // records of an earlier server are still being read
  double seconds_behind = 0;  // age of the oldest record without folder; 0 when there is none
  std::uint64_t appended = 0;
  std::uint64_t folders_written = 0;   // made anew or from an old one
  std::uint64_t folders_recycled = 0;  // of them made from an old one
  std::uint64_t folders_removed = 0;
  std::uint64_t replayed = 0;  // records of an earlier server that have their folder now
  std::uint64_t waits = 0;     // appends that were slowed
  double wait_seconds = 0;
  std::uint64_t errors = 0;            // failed tries to make a folder
  std::uint64_t folders_given_up = 0;  // runs whose folder cannot be made, however often tried
  std::uint64_t records_lost = 0;      // appends that failed: no journal record, no folder
  std::uint64_t journal_damaged = 0;   // unreadable parts, the torn end that a killed server leaves among them
  std::uint64_t journal_bytes = 0;
  FolderUse used;  // by run folders
  std::int64_t bytes_max = 0, inodes_max = 0;
  double folder_cpu_seconds = 0;  // of the thread
};

class RunLog {
 public:
  // Says the bound on the server's log. Fails when the folders cannot be made or the journal cannot be read. `clock`
  // outlives the log.
  static Result<std::unique_ptr<RunLog>> open(RunLogOptions options, const Clock& clock);
  ~RunLog();  // close()

  // One caller thread. An error means that this run has no log; it is counted and said on the server's log, so the
  // caller replies as ever.
  Status append(const RunRecord& record);
  // The folder as functions see it, e.g. for the reply's log_dir. Where another run of the same minute and e-mail had
  // the same request id, the folder got ".2", ".3", … behind it.
  static std::string folder_of(const RunRecord& record);

  // Waits until everything appended so far has its folder; false when it takes longer.
  bool wait_until_written(std::chrono::milliseconds at_most);
  // Drains, saves, ends the thread. Called once more it does nothing.
  void close();

  RunLogMetrics metrics() const;  // any thread
  std::string bound() const { return bound_; }

 private:
  RunLog(RunLogOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {}
  void work();
  bool wait_for_work();
  bool make_folders();
  bool make_folder(const JournalEntry& entry);
  void finish(const JournalEntry& entry, const WrittenFolder* written, bool recycled);
  void tidy(bool save_now);
  bool pause(std::chrono::milliseconds duration);
  void complain(const Error& error);
  std::uint64_t backlog_records() const {
    return metrics_.appended > records_done_ ? metrics_.appended - records_done_ : 0;
  }
  std::uint64_t backlog_bytes() const { return bytes_appended_ > bytes_done_ ? bytes_appended_ - bytes_done_ : 0; }
  // While folders cannot be made at all, waiting would slow every caller for nothing: the journal's bound counts then.
  bool has_room() const {
    return failing_ ||
           (backlog_records() < options_.backlog_records_max && backlog_bytes() < options_.backlog_bytes_max);
  }
  void wait_for_room(std::unique_lock<std::mutex>& lock);

  RunLogOptions options_;
  const Clock& clock_;
  std::string bound_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<LogTree> tree_;
  std::unique_ptr<FolderWriter> folders_;
  std::unique_ptr<Retention> retention_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable work_, room_, written_;
  bool stop_ = false, hurry_ = false, idle_ = false, drained_ = false;
  bool waits_for_room_ = false, failing_ = false;
  RunLogMetrics metrics_;  // without the backlog:
  // The thread may be done with a record before `append` has counted it, so that either side only adds.
  std::uint64_t records_done_ = 0, bytes_appended_ = 0, bytes_done_ = 0;
  WallTime oldest_{};  // when the record at hand was appended
  std::chrono::steady_clock::time_point stop_by_{};

  SteadyTime complained_{}, saved_{};  // the folder thread's
  SteadyTime append_complained_{};     // the appending thread's
  std::thread thread_;
};

}  // namespace fused
