#include "sandbox/group_usage.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace fused {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kEndRounds = 100;
constexpr useconds_t kRoundPause_us = 1000;
constexpr int kShareOfTime = 20;  // a dear measurement may take a twentieth of the time
constexpr std::size_t kPidsMax = 8192;
constexpr std::int64_t kBlockBytes = 512;
constexpr int kDepthMax = 64;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

std::string process_path(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

// The whole of a small /proc file; empty when it is gone or closed to us.
std::string read_small(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(file, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(file);
  return text;
}

template <class Use>
void each_number(const std::string& folder_path, Use use) {
  const Folder folder(::opendir(folder_path.c_str()));
  if (!folder) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    char* end = nullptr;
    const long number = std::strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0') use(number);
  }
}

void append_numbers(const std::string& text, std::vector<pid_t>& out) {
  const char* at = text.c_str();
  for (char* end = nullptr;; at = end) {
    const long number = std::strtol(at, &end, 10);
    if (end == at) return;
    out.push_back(static_cast<pid_t>(number));
  }
}

struct Stat {
  char state = 0;
  pid_t parent = 0;
  std::int64_t threads = 0;
  std::int64_t resident_pages = 0;
};

// Fields of /proc/<pid>/stat, counted from behind the name, which may hold anything.
bool read_stat(pid_t pid, Stat& out) {
  const auto text = read_small(process_path(pid, "stat"));
  const auto close = text.rfind(')');
  if (close == std::string::npos) return false;
  long long threads = 0;
  long long resident = 0;
  int parent = 0;
  constexpr const char* kFields =
      " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lld %*d %*u %*u %lld";
  const int read = std::sscanf(text.c_str() + close + 1, kFields, &out.state, &parent, &threads, &resident);
  out.parent = parent;
  out.threads = threads;
  out.resident_pages = resident;
  return read == 4;
}

// Kernels without CONFIG_PROC_CHILDREN: everything by its parent.
std::vector<pid_t> group_by_parents(pid_t root) {
  std::unordered_multimap<pid_t, pid_t> children;
  each_number("/proc", [&](long pid) {
    Stat stat;
    if (read_stat(static_cast<pid_t>(pid), stat)) children.emplace(stat.parent, static_cast<pid_t>(pid));
  });
  std::vector<pid_t> found{root};
  for (std::size_t at = 0; at < found.size() && found.size() < kPidsMax; ++at) {
    const auto [begin, end] = children.equal_range(found[at]);
    for (auto one = begin; one != end; ++one) found.push_back(one->second);
  }
  return found;
}

bool kernel_lists_children() {
  static const bool lists = ::access("/proc/thread-self/children", R_OK) == 0;  // a property of the kernel
  return lists;
}

// The init process runs in the zygote's memory, which is not the worker's. Told by its number inside (the last one of
// NSpid, of two or more), which nobody can choose.
bool is_init(pid_t pid) {
  const auto status = read_small(process_path(pid, "status"));
  const auto at = status.find("\nNSpid:");
  if (at == std::string::npos) return false;
  const auto line = status.substr(at + 7, status.find('\n', at + 7) - at - 7);
  std::vector<pid_t> numbers;
  append_numbers(line, numbers);
  return numbers.size() > 1 && numbers.back() == 1;
}

std::int64_t field_bytes(const std::string& text, const char* name) {
  const auto at = text.find(name);
  return at == std::string::npos ? 0 : std::strtoll(text.c_str() + at + std::strlen(name), nullptr, 10) * 1024;
}

struct Walk {
  std::int64_t bytes = 0;
  std::int64_t files = 0;
  std::int64_t bytes_max = 0;
  std::int64_t files_max = 0;
  bool over() const { return bytes > bytes_max || files > files_max; }
};

// What lies in a tmpfs that the worker has for itself; 0 for one that it shares with us, and for a disk.
std::int64_t own_tmpfs_bytes(pid_t pid, const char* folder) {
  const auto theirs = process_path(pid, "root") + folder;
  struct stat seen{};
  struct stat ours{};
  struct statfs about{};
  if (::stat(theirs.c_str(), &seen) != 0 || ::statfs(theirs.c_str(), &about) != 0) return 0;
  if (about.f_type != TMPFS_MAGIC) return 0;
  if (::stat(folder, &ours) == 0 && ours.st_dev == seen.st_dev) return 0;
  return static_cast<std::int64_t>(about.f_blocks - about.f_bfree) * static_cast<std::int64_t>(about.f_bsize);
}

bool lies_in_memory(const std::string& file) {  // what is counted with the tmpfs it lies on
  struct statfs about{};
  return ::statfs(file.c_str(), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

// Without following links; a folder that vanishes while it is read is skipped. A tree deeper than kDepthMax counts as
// too many files: every level holds one of the server's descriptors.
void walk(int folder_descriptor, Walk& sum, int depth) {
  const Folder folder(::fdopendir(folder_descriptor));
  if (!folder) {
    ::close(folder_descriptor);
    return;
  }
  while (const dirent* entry = ::readdir(folder.get())) {
    if (sum.over()) return;
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    struct stat about{};
    if (::fstatat(::dirfd(folder.get()), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
    ++sum.files;
    sum.bytes += about.st_blocks * kBlockBytes;
    if (!S_ISDIR(about.st_mode)) continue;
    if (depth >= kDepthMax) {
      sum.files = sum.files_max + 1;
      return;
    }
    const int inner = ::openat(::dirfd(folder.get()), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner >= 0) walk(inner, sum, depth + 1);
  }
}

}  // namespace

std::vector<pid_t> group_pids(pid_t root) {
  Stat stat;
  if (!read_stat(root, stat)) return {};
  if (!kernel_lists_children()) return group_by_parents(root);
  std::vector<pid_t> found{root};
  for (std::size_t at = 0; at < found.size() && found.size() < kPidsMax; ++at) {
    const auto pid = found[at];
    each_number(process_path(pid, "task"), [&](long thread) {
      append_numbers(read_small(process_path(pid, "task/") + std::to_string(thread) + "/children"), found);
    });
  }
  return found;
}

int end_group(pid_t root) {
  std::set<pid_t> ended;
  for (int round = 0; round < kEndRounds; ++round) {
    int alive = 0;
    for (const auto pid : group_pids(root)) {
      Stat stat;
      if (!read_stat(pid, stat) || stat.state == 'Z' || stat.state == 'X') continue;
      ++alive;
      if (::kill(pid, SIGKILL) == 0) ended.insert(pid);
    }
    if (alive == 0) break;
    if (round > 0) ::usleep(kRoundPause_us);
  }
  return static_cast<int>(ended.size());
}

GroupWatch::GroupWatch(pid_t pid, std::filesystem::path scratch, RunLimits limits, std::filesystem::path shared)
    : pid_(pid), scratch_(std::move(scratch)), shared_(std::move(shared)), limits_(limits) {}

GroupUsage GroupWatch::sample() {
  auto pids = group_pids(pid_);
  last_.written_bytes = written_bytes(pids);
  if (!pids.empty() && is_init(pids.front())) pids.erase(pids.begin());
  static const std::int64_t page_bytes = ::sysconf(_SC_PAGESIZE);
  std::int64_t resident = 0;
  last_.threads = 0;
  last_.processes = static_cast<std::int64_t>(pids.size());
  for (const auto pid : pids) {
    Stat stat;
    if (!read_stat(pid, stat)) continue;
    last_.threads += stat.threads;
    resident += stat.resident_pages * page_bytes;
  }
  if (Clock::now() >= next_shared_) shared_bytes_ = unmapped_shared_bytes(pids);
  last_.memory_exact = resident + shared_bytes_ > limits_.memory_bytes / 2;
  last_.memory_bytes = last_.memory_exact ? proportional_bytes(pids) : resident + shared_bytes_;
  if (Clock::now() >= next_walk_) walk_scratch();
  last_.scratch_bytes = walked_bytes_ + deleted_bytes_;
  return last_;
}

// Counts of processes only grow, and one that was waited for hands its count on to the one that waited: what has ended
// since the last look may come again as growth of another, in this look or (read before it was waited for) in the next.
// What does not come again was written by a process for which nobody waited, and stays counted.
std::int64_t GroupWatch::written_bytes(const std::vector<pid_t>& pids) {
  std::unordered_map<pid_t, std::int64_t> counts;
  std::int64_t grown = 0;
  std::int64_t begun = 0;
  for (const auto pid : pids) {
    const auto text = read_small(process_path(pid, "io"));
    const auto at = text.find("\nwrite_bytes: ");
    const auto before = written_of_.find(pid);
    const bool is_known = before != written_of_.end();
    const std::int64_t count = at != std::string::npos ? std::strtoll(text.c_str() + at + 14, nullptr, 10)
                               : is_known              ? before->second
                                                       : 0;
    counts[pid] = count;
    if (is_known)
      grown += std::max<std::int64_t>(0, count - before->second);
    else
      begun += count;
  }
  std::int64_t ended = 0;
  for (const auto& [pid, count] : written_of_)
    if (!counts.contains(pid)) ended += count;
  written_of_ = std::move(counts);
  if (!std::exchange(has_looked_, true)) return 0;  // what was there before the run
  const std::int64_t handed_on = std::min(grown, ended + ended_before_);
  ended_before_ = std::min(ended, ended + ended_before_ - handed_on);
  written_ += grown + begun - handed_on;
  return written_;
}

std::int64_t GroupWatch::proportional_bytes(const std::vector<pid_t>& pids) {
  std::int64_t anonymous = 0;
  std::int64_t files = 0;
  std::int64_t shared = 0;
  for (const auto pid : pids) {
    const auto rollup = read_small(process_path(pid, "smaps_rollup"));
    if (rollup.empty()) {  // closed to us: all it has in memory, an upper bound
      Stat stat;
      if (read_stat(pid, stat)) anonymous += stat.resident_pages * ::sysconf(_SC_PAGESIZE);
      continue;
    }
    anonymous += field_bytes(rollup, "Pss_Anon:");
    files += field_bytes(rollup, "Pss_File:");
    shared += field_bytes(rollup, "Pss_Shmem:");
  }
  return anonymous + files + std::max(shared, shared_bytes_);
}

// Files in memory that need not be mapped anywhere: memfds, each once, and the worker's own /dev/shm. On the way: what
// deleted files still hold on a disk.
std::int64_t GroupWatch::unmapped_shared_bytes(const std::vector<pid_t>& pids) {
  const auto begin = Clock::now();
  std::int64_t bytes = 0;
  std::int64_t deleted = 0;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const auto pid : pids) {
    const auto folder = process_path(pid, "fd/");
    each_number(folder, [&](long descriptor) {
      const auto link = folder + std::to_string(descriptor);
      char target[PATH_MAX];
      const ssize_t length = ::readlink(link.c_str(), target, sizeof target);
      struct stat about{};
      if (length < 7 || target[0] != '/') return;
      const bool is_memfd = std::memcmp(target, "/memfd:", 7) == 0;
      const bool has_no_name = std::string_view(target, static_cast<std::size_t>(length)).ends_with(" (deleted)");
      if (!is_memfd && !has_no_name) return;
      if (::stat(link.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return;
      if (!is_memfd && (about.st_nlink != 0 || lies_in_memory(link))) return;
      if (seen.insert({about.st_dev, about.st_ino}).second)
        (is_memfd ? bytes : deleted) += about.st_blocks * kBlockBytes;
    });
  }
  deleted_bytes_ = deleted;
  if (!pids.empty()) bytes += own_tmpfs_bytes(pids.front(), "/dev/shm") + own_tmpfs_bytes(pids.front(), "/tmp");
  const auto end = Clock::now();
  next_shared_ = end + (end - begin) * kShareOfTime;
  return bytes;
}

void GroupWatch::walk_scratch() {
  const auto begin = Clock::now();
  Walk sum{0, 0, limits_.disk_written_bytes, limits_.files_made};
  for (const auto* path : {&scratch_, &shared_}) {
    if (path->empty()) continue;
    const int folder = ::open(path->c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder >= 0) walk(folder, sum, 0);
  }
  walked_bytes_ = sum.bytes;
  last_.scratch_files = sum.files;
  const auto end = Clock::now();
  next_walk_ = end + (end - begin) * kShareOfTime;
}

}  // namespace fused
