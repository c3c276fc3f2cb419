#include "worker/watch.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

#include "sandbox/group_usage.hpp"

namespace fused {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(50);

std::string figure(std::int64_t value, std::int64_t limit, std::string_view unit) {
  return std::to_string(value) + ' ' + std::string(unit) + ", over the limit of " + std::to_string(limit);
}

}  // namespace

struct Watch::Watched {
  int worker;
  std::uint64_t run;
  pid_t pid;
  std::filesystem::path scratch;
  std::filesystem::path shared;
  RunLimits limits;
  GroupWatch group;
  std::atomic<std::int64_t> peak_bytes = 0;  // written by the watch thread alone
  bool reported = false;
  std::atomic<std::int64_t> now_bytes = 0;
};

Watch::Watch(std::function<void(Excess)> report) : report_(std::move(report)), thread_([this] { look(); }) {}

Watch::~Watch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watch::begin(int worker, std::uint64_t run, pid_t pid, std::filesystem::path scratch, const RunLimits& limits,
                  std::filesystem::path shared) {
  const std::lock_guard lock(mutex_);
  const bool idle = watched_.empty();
  watched_[worker] =
      std::make_shared<Watched>(worker, run, pid, scratch, shared, limits, GroupWatch(pid, scratch, limits, shared));
  if (idle) wake_.notify_one();
}

void Watch::lower(int worker, const RunLimits& limits) {
  const std::lock_guard lock(mutex_);
  const auto found = watched_.find(worker);
  if (found == watched_.end()) return;
  // A new one: the watch thread may be reading the old one, without the lock.
  const Watched& old = *found->second;
  const std::int64_t peak = old.peak_bytes;
  found->second = std::make_shared<Watched>(worker, old.run, old.pid, old.scratch, old.shared, limits,
                                            GroupWatch(old.pid, old.scratch, limits, old.shared), peak);
}

std::int64_t Watch::end(int worker) {
  const std::lock_guard lock(mutex_);
  const auto found = watched_.find(worker);
  if (found == watched_.end()) return 0;
  const std::int64_t peak = found->second->peak_bytes;
  watched_.erase(found);
  return peak;
}

std::int64_t Watch::memory_now(int worker) {
  const std::lock_guard lock(mutex_);
  const auto found = watched_.find(worker);
  return found == watched_.end() ? 0 : found->second->now_bytes.load();
}

std::optional<Excess> Watch::judge(Watched& watched) const {
  const GroupUsage usage = watched.group.sample();
  watched.now_bytes = usage.memory_bytes;
  watched.peak_bytes = std::max(watched.peak_bytes.load(), usage.memory_bytes);
  const RunLimits& limits = watched.limits;
  Excess excess{watched.worker, watched.run, RunEnd::limit_exceeded, {}, usage.memory_bytes};
  if (usage.memory_bytes > limits.memory_bytes) {
    excess.end = RunEnd::out_of_memory;
    excess.message = "the function used " + figure(usage.memory_bytes, limits.memory_bytes, "bytes of memory");
  } else if (usage.threads > limits.processes) {
    excess.message = "the function had " + figure(usage.threads, limits.processes, "processes and threads");
  } else if (usage.written_bytes > limits.disk_written_bytes) {
    excess.message = "the function wrote " + figure(usage.written_bytes, limits.disk_written_bytes, "bytes to disk");
  } else if (usage.scratch_bytes > limits.disk_written_bytes) {
    excess.message = "the function held " +
                     figure(usage.scratch_bytes, limits.disk_written_bytes,
                            watched.shared.empty() ? "bytes of scratch" : "bytes in scratch and its job's folder");
  } else if (usage.scratch_files > limits.files_made) {
    excess.message = "the function has " +
                     figure(usage.scratch_files, limits.files_made,
                            watched.shared.empty() ? "files in scratch" : "files in scratch and its job's folder");
  } else {
    return std::nullopt;
  }
  return excess;
}

void Watch::look() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (watched_.empty()) {
      wake_.wait(lock);
      continue;
    }
    std::vector<std::shared_ptr<Watched>> now;
    for (const auto& [worker, watched] : watched_)
      if (!watched->reported) now.push_back(watched);
    lock.unlock();  // /proc is read without holding up the server's thread
    for (const auto& watched : now)
      if (auto excess = judge(*watched)) {
        watched->reported = true;
        report_(std::move(*excess));
      }
    lock.lock();
    wake_.wait_for(lock, kInterval, [this] { return stop_; });
  }
}

}  // namespace fused
