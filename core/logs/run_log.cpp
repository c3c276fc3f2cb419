#include "logs/run_log.hpp"

#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>

#include "logs/run_path.hpp"

namespace fused {
namespace {

using std::chrono::milliseconds;
constexpr auto kTidyEvery = milliseconds(100);
constexpr auto kIdleTidyEvery = milliseconds(5'000);  // nothing to remove: the thread sleeps
constexpr auto kSaveEvery = std::chrono::seconds(10);
constexpr auto kComplainEvery = std::chrono::seconds(10);
constexpr int kTidyAfterFolders = 500;  // so that a steady stream of runs does not keep old folders alive

double thread_cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

}  // namespace

Result<std::unique_ptr<RunLog>> RunLog::open(RunLogOptions options, const Clock& clock) {
  auto log = std::unique_ptr<RunLog>(new RunLog(std::move(options), clock));
  const RunLogOptions& chosen = log->options_;
  log->journal_ = FUSED_TRY(Journal::open({chosen.journal, chosen.segment_bytes, chosen.journal_bytes_max}));
  log->tree_ = FUSED_TRY(LogTree::open(chosen.mount, chosen.journal));
  log->folders_ = std::make_unique<FolderWriter>(*log->tree_, chosen.shared);
  log->retention_ = FUSED_TRY(Retention::open(*log->tree_, chosen.journal / "usage.json", chosen.retention, clock));
  log->journal_->number_above(log->retention_->counted().segment);
  log->bound_ = log->retention_->bound();
  spdlog::info("run logs in {}: {}", log->tree_->logs_path().string(), log->bound_);
  log->saved_ = clock.steady();
  log->metrics_.used = log->retention_->used();
  log->metrics_.bytes_max = log->retention_->bytes_max();
  log->metrics_.inodes_max = log->retention_->inodes_max();
  log->metrics_.replaying = log->journal_->counts().replay_segments > 0;
  log->thread_ = std::thread([raw = log.get()] { raw->work(); });
  return log;
}

RunLog::~RunLog() { close(); }

std::string RunLog::folder_of(const RunRecord& record) { return RunPath::of(record).as_seen_by_functions(); }

void RunLog::wait_for_room(std::unique_lock<std::mutex>& lock) {
  if (has_room() || stop_) return;
  const auto begin = std::chrono::steady_clock::now();
  hurry_ = true;
  work_.notify_one();
  waits_for_room_ = true;
  room_.wait_for(lock, options_.block_max, [this] { return has_room(); });
  waits_for_room_ = false;
  ++metrics_.waits;
  metrics_.wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Status RunLog::append(const RunRecord& record) {
  {
    std::unique_lock lock(mutex_);
    wait_for_room(lock);
  }
  const WallTime now = clock_.now();
  const auto bytes = journal_->append(record, now);
  std::unique_lock lock(mutex_);
  if (!bytes) {
    ++metrics_.records_lost;
    const std::uint64_t lost = metrics_.records_lost;
    lock.unlock();
    if (clock_.steady() - append_complained_ >= kComplainEvery || lost == 1) {
      append_complained_ = clock_.steady();
      spdlog::error("a run's log is lost ({} so far): {}", lost, bytes.error().message);
    }
    return std::unexpected(bytes.error());
  }
  if (backlog_records() == 0) oldest_ = now;
  ++metrics_.appended;
  bytes_appended_ += *bytes;
  drained_ = false;
  if (!idle_) return {};
  idle_ = false;
  lock.unlock();
  work_.notify_one();
  return {};
}

bool RunLog::wait_until_written(milliseconds at_most) {
  std::unique_lock lock(mutex_);
  hurry_ = true;
  work_.notify_one();
  return written_.wait_for(lock, at_most, [this] { return drained_; });
}

void RunLog::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    stop_by_ = std::chrono::steady_clock::now() + options_.close_max;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

RunLogMetrics RunLog::metrics() const {
  const auto journal = journal_->counts();
  const std::lock_guard lock(mutex_);
  RunLogMetrics metrics = metrics_;
  metrics.backlog_records = backlog_records();
  metrics.backlog_bytes = backlog_bytes();
  metrics.journal_damaged = journal.damaged;
  metrics.journal_bytes = journal.bytes_on_disk;
  if (!drained_ && (metrics.backlog_records > 0 || metrics.replaying) && oldest_ != WallTime{})
    metrics.seconds_behind = std::max(0.0, std::chrono::duration<double>(clock_.now() - oldest_).count());
  return metrics;
}

// ── the folder thread ──

void RunLog::work() {
  for (;;) {
    if (!make_folders()) break;
    tidy(false);
    if (!wait_for_work()) break;
  }
  tidy(true);
}

// Lets records gather for a moment. False when the log is being closed and nothing is left.
bool RunLog::wait_for_work() {
  std::unique_lock lock(mutex_);
  if (backlog_records() == 0) {
    if (stop_) return false;
    idle_ = true;
    work_.wait_for(lock, retention_->has_to_remove() ? kTidyEvery : kIdleTidyEvery,
                   [this] { return stop_ || hurry_ || backlog_records() > 0; });
    idle_ = false;
  }
  if (!stop_ && !hurry_ && backlog_records() > 0)
    work_.wait_for(lock, options_.gather, [this] { return stop_ || hurry_; });
  hurry_ = false;
  return true;
}

// All that is in the journal. False when the log is being closed and its time is up.
bool RunLog::make_folders() {
  int until_tidy = kTidyAfterFolders;
  while (const auto entry = journal_->next()) {
    if (!make_folder(*entry)) return false;
    if (--until_tidy > 0) continue;
    tidy(false);
    until_tidy = kTidyAfterFolders;
  }
  const std::lock_guard lock(mutex_);
  metrics_.replaying = false;
  metrics_.folder_cpu_seconds = thread_cpu_seconds();
  drained_ = backlog_records() == 0;
  written_.notify_all();
  return true;
}

bool RunLog::make_folder(const JournalEntry& entry) {
  {
    const std::lock_guard lock(mutex_);
    oldest_ = entry.run.appended;
    if (stop_ && std::chrono::steady_clock::now() > stop_by_) return false;
  }
  for (int attempt = 0;; ++attempt) {
    auto reuse = attempt == 0 ? retention_->reusable() : retention_->oldest();
    const bool recycled = reuse && reuse->reusable;
    auto written = folders_->write(entry.run, entry.code.get(), std::move(reuse), entry.replayed);
    if (written) {
      finish(entry, &*written, recycled && !written->already_there);
      return true;
    }
    complain(written.error());
    if (written.error().kind == ErrorKind::invalid_argument && attempt > 0) {
      finish(entry, nullptr, false);
      return true;
    }
    // The first failure is tried again at once: with an old folder's room, or with folders opened anew.
    if (auto opened = folders_->reopen(); !opened) complain(opened.error());
    if (attempt > 0 && !pause(options_.retry_after)) return false;
  }
}

void RunLog::finish(const JournalEntry& entry, const WrittenFolder* written, bool recycled) {
  if (written) retention_->add(written->path.date, written->use, entry.end, written->already_there);
  const std::lock_guard lock(mutex_);
  failing_ = false;
  if (!written) {
    ++metrics_.folders_given_up;
  } else if (!written->already_there) {
    ++metrics_.folders_written;
    metrics_.folders_recycled += recycled ? 1 : 0;
  }
  if (entry.replayed) {
    ++metrics_.replayed;
    return;
  }
  ++records_done_;
  bytes_done_ += entry.bytes;
  metrics_.used = retention_->used();
  if (waits_for_room_ && has_room()) room_.notify_one();
}

void RunLog::tidy(bool save_now) {
  const std::uint64_t removed = retention_->tidy();
  {
    const std::lock_guard lock(mutex_);
    metrics_.folders_removed += removed;
    metrics_.used = retention_->used();
    metrics_.bytes_max = retention_->bytes_max();
    metrics_.inodes_max = retention_->inodes_max();
    metrics_.folder_cpu_seconds = thread_cpu_seconds();
  }
  const SteadyTime now = clock_.steady();
  if (!save_now && !journal_->has_read_segments() && now - saved_ < kSaveEvery) return;
  saved_ = now;
  if (auto saved = retention_->save(journal_->read_up_to()); !saved) {
    complain(saved.error());
    if (saved.error().kind != ErrorKind::storage_full)
      return;  // a full disk needs the room of the segments more than counts
  }
  journal_->delete_read(save_now);
}

// Sleeps; false when the log is being closed meanwhile.
bool RunLog::pause(milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !work_.wait_for(lock, duration, [this] { return stop_; });
}

void RunLog::complain(const Error& error) {
  std::unique_lock lock(mutex_);
  const std::uint64_t errors = ++metrics_.errors;
  failing_ = true;
  lock.unlock();
  if (clock_.steady() - complained_ < kComplainEvery && errors > 1) return;
  complained_ = clock_.steady();
  spdlog::error("a run's log folder cannot be made and is tried again ({} failures so far): {}", errors, error.message);
}

}  // namespace fused
