#include "native/fingerprint.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cfenv>
#include <climits>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

namespace fused::native {
namespace {

constexpr int kCommonLimits[] = {RLIMIT_CPU,   RLIMIT_FSIZE,  RLIMIT_DATA,    RLIMIT_STACK, RLIMIT_CORE,
                                 RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS};
constexpr int kRareLimits[] = {RLIMIT_RSS,  RLIMIT_LOCKS,  RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE,
                               RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME};
const auto kDefaultHandler = reinterpret_cast<void*>(SIG_DFL);
const auto kIgnoreHandler = reinterpret_cast<void*>(SIG_IGN);
constexpr int kTimerKinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

std::string current_directory() {
  char path[PATH_MAX];
  return ::getcwd(path, sizeof path) ? path : "";
}

bool has_children() {
  siginfo_t info;
  int collects = 0;
  if (::prctl(PR_GET_CHILD_SUBREAPER, &collects, 0, 0, 0) != 0 || collects == 0) return true;  // orphans went elsewhere
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0)
    if (errno != EINTR) return errno != ECHILD;
  return true;
}

// glibc's sigaction() hides two signals that it keeps for itself; these it does not need to.
bool is_own_signal(int number) { return number != SIGKILL && number != SIGSTOP && (number < 32 || number > 33); }

// Entries of a folder, counted up to a few; -1 when the folder itself is gone.
int entry_count(int folder) {
  struct Entry {
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
  };
  alignas(8) char entries[512];
  ::lseek(folder, 0, SEEK_SET);
  const long bytes = ::syscall(SYS_getdents64, folder, entries, sizeof entries);
  int count = bytes > 0 ? 0 : -1;
  for (long at = 0; at < bytes; ++count) at += reinterpret_cast<const Entry*>(entries + at)->length;
  return count;
}

// Without SA_RESTORER, which glibc adds to every action that it sets and shows when it is asked.
unsigned long own_flags(const struct sigaction& action) {
  return static_cast<unsigned>(action.sa_flags) & ~0x04000000UL;
}

int nice_value() { return static_cast<int>(::syscall(SYS_getpriority, PRIO_PROCESS, 0)); }

}  // namespace

ProcessState::ProcessState(Files files) : files_(std::move(files)) {}

void ProcessState::watch_memory(std::uintptr_t address, std::size_t bytes) {
  const void* start = reinterpret_cast<const void*>(address);
  watched_.push_back({start, std::vector<unsigned char>(bytes)});
  std::memcpy(watched_.back().bytes.data(), start, bytes);
}

// One read costs less than asking for each of some forty things.
ProcessState::Numbers ProcessState::read_numbers() const {
  char text[1024];
  const ssize_t bytes = files_.stat < 0 ? -1 : ::pread(files_.stat, text, sizeof text - 1, 0);
  Numbers numbers{};
  if (bytes <= 0) return numbers;
  text[bytes] = 0;
  const char* at = std::strrchr(text, ')');  // the name before it may hold anything
  static constexpr std::array<int, 9> kFields{5, 6, 18, 19, 20, 32, 33, 34, 41};
  std::size_t next = 0;
  for (int field = 2; at && next < kFields.size(); ++field) {
    if (field == kFields[next]) numbers[next++] = std::strtoull(at, nullptr, 10);
    at = std::strchr(at + 1, ' ');
  }
  return next == kFields.size() ? numbers : Numbers{};
}

// The lines that stand for capabilities and filters. Empty when they cannot be had.
std::string ProcessState::read_status() const {
  char text[4096];
  const ssize_t bytes = files_.status < 0 ? -1 : ::pread(files_.status, text, sizeof text, 0);
  if (bytes <= 0) return {};
  const std::string_view all(text, static_cast<std::size_t>(bytes));
  const auto begin = all.find("\nCapInh:");
  const auto end = all.find("\nSpeculation_Store_Bypass:", begin == std::string_view::npos ? 0 : begin);
  return begin == std::string_view::npos || end == std::string_view::npos ? ""
                                                                          : std::string(all.substr(begin, end - begin));
}

void ProcessState::take() {
  working_directory_ = current_directory();
  umask_ = ::umask(umask_);
  ::umask(umask_);
  environment_.clear();
  environment_lines_.clear();
  for (char** line = environ; line && *line; ++line) {
    environment_.push_back(*line);
    environment_lines_.emplace_back(*line);
  }
  const char* locale = std::setlocale(LC_ALL, nullptr);
  locale_ = locale ? locale : "C";
  for (int kind = 0; kind < RLIM_NLIMITS; ++kind) ::getrlimit(static_cast<__rlimit_resource>(kind), &limits_[kind]);
  nice_ = nice_value();
  policy_ = ::sched_getscheduler(0);
  CPU_ZERO(&affinity_);
  ::sched_getaffinity(0, sizeof affinity_, &affinity_);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action{};
    if (is_own_signal(number) && ::sigaction(number, nullptr, &action) == 0) {
      std::memcpy(&actions_[number].mask, &action.sa_mask, sizeof(unsigned long));
      actions_[number].handler = reinterpret_cast<void*>(action.sa_handler);
      actions_[number].flags = own_flags(action);
    }
  }
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
  struct stat status{};
  threads_ = ::fstat(files_.task_folder, &status) == 0 ? status.st_nlink : 0;
  read_descriptors();
  descriptor_count_ = descriptor_count();
  for (auto& memory : watched_) std::memcpy(memory.bytes.data(), memory.address, memory.bytes.size());
  ::getresuid(&uids_[0], &uids_[1], &uids_[2]);
  ::getresgid(&gids_[0], &gids_[1], &gids_[2]);
  rounding_ = std::fegetround();
  entries_.clear();  // ".", "..", and mount points
  for (const int folder : files_.own_folders) entries_.push_back(entry_count(folder));
  numbers_ = read_numbers();
  status_ = read_status();
}

void ProcessState::read_descriptors() {
  descriptors_.clear();
  const int folder = ::dup(files_.descriptor_folder);
  if (folder < 0) return;
  ::lseek(folder, 0, SEEK_SET);
  DIR* listing = ::fdopendir(folder);
  if (!listing) {
    ::close(folder);
    return;
  }
  while (const dirent* entry = ::readdir(listing)) {
    char* end = nullptr;
    const long number = std::strtol(entry->d_name, &end, 10);
    struct stat status{};
    if (end == entry->d_name || number == folder || ::fstat(static_cast<int>(number), &status) != 0) continue;
    descriptors_.push_back(
        {static_cast<int>(number), status.st_dev, status.st_ino, ::fcntl(static_cast<int>(number), F_GETFL)});
  }
  ::closedir(listing);
  std::ranges::sort(descriptors_, {}, &Descriptor::number);
}

long ProcessState::descriptor_count() const {
  struct stat status{};
  if (::fstat(files_.descriptor_folder, &status) != 0) return -1;
  if (status.st_size > 0) return static_cast<long>(status.st_size);
  // Before Linux 6.2 the folder does not tell its size: count up to the highest known, and whether the next is free.
  long count = 0;
  const int limit = descriptors_.empty() ? 64 : descriptors_.back().number + 64;
  for (int number = 0; number < limit; ++number) count += ::fcntl(number, F_GETFD) >= 0;
  return count;
}

bool ProcessState::same_descriptors() const {
  for (const auto& known : descriptors_) {
    if (known.number >= 4) break;  // ours beyond the four that matter are few, and the count tells
    struct stat status{};
    if (::fstat(known.number, &status) != 0 || status.st_ino != known.inode || status.st_dev != known.device)
      return false;
    if (::fcntl(known.number, F_GETFL) != known.flags) return false;
  }
  return descriptor_count() == descriptor_count_;
}

bool ProcessState::same_environment() const {
  std::size_t count = 0;
  for (char** line = environ; line && *line; ++line, ++count)
    if (count >= environment_.size() || environment_[count] != *line) return false;
  return count == environment_.size();
}

bool ProcessState::same_affinity() const {
  cpu_set_t affinity;
  CPU_ZERO(&affinity);
  return ::sched_getaffinity(0, sizeof affinity, &affinity) == 0 && CPU_EQUAL(&affinity, &affinity_);
}

// Those that can hurt another run every time, of the rest one after the other.
bool ProcessState::same_limits() {
  const auto same = [this](int kind) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(kind), &limit);
    return limit.rlim_cur == limits_[kind].rlim_cur && limit.rlim_max == limits_[kind].rlim_max;
  };
  for (const int kind : kCommonLimits)
    if (!same(kind)) return false;
  next_rare_limit_ = (next_rare_limit_ + 1) % static_cast<int>(std::size(kRareLimits));
  return same(kRareLimits[next_rare_limit_]);
}

bool ProcessState::same_signal(int number) const {
  struct sigaction action{};
  if (!is_own_signal(number) || ::sigaction(number, nullptr, &action) != 0) return true;
  Action now{reinterpret_cast<void*>(action.sa_handler), own_flags(action), 0};
  std::memcpy(&now.mask, &action.sa_mask, sizeof now.mask);
  return now == actions_[number];
}

unsigned ProcessState::check_numbers() const {
  unsigned parts = 0;
  for (int number = 1; number < NSIG; ++number)
    if (!same_signal(number)) parts |= kSignals;
  sigset_t mask;
  ::sigemptyset(&mask);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  if (std::memcmp(&mask, &mask_, sizeof(unsigned long)) != 0) parts |= kSignals;
  struct stat status{};
  if (::fstat(files_.task_folder, &status) != 0 || status.st_nlink != threads_) parts |= kThreads;
  if (nice_value() != nice_ || ::sched_getscheduler(0) != policy_) parts |= kScheduling;
  if (parts == 0 && read_numbers() != numbers_) parts |= kIdentity;  // another session or group
  return parts;
}

bool ProcessState::own_folders_are_clean() const {
  for (std::size_t index = 0; index < files_.own_folders.size(); ++index)
    if (entry_count(files_.own_folders[index]) != entries_[index]) return false;
  return true;
}

unsigned ProcessState::check() {
  unsigned parts = 0;
  char path[PATH_MAX];
  if (!::getcwd(path, sizeof path) || working_directory_ != path) parts |= kWorkingDirectory;
  if (!same_environment()) parts |= kEnvironment;
  if (const char* locale = std::setlocale(LC_ALL, nullptr); !locale || locale_ != locale) parts |= kLocale;
  if (!same_limits()) parts |= kLimits;
  if (::umask(umask_) != umask_) parts |= kUmask;  // and put back by asking
  if (!same_affinity()) parts |= kScheduling;
  std::array<uid_t, 3> uids{};
  std::array<gid_t, 3> gids{};
  ::getresuid(&uids[0], &uids[1], &uids[2]);
  ::getresgid(&gids[0], &gids[1], &gids[2]);
  if (uids != uids_ || gids != gids_) parts |= kIdentity;
  if (numbers_ == Numbers{} || read_numbers() != numbers_) parts |= check_numbers();
  // A handler that is caught already may have been replaced by another, which the masks do not show; the real-time
  // signals are not in them: some each time (Python's own table is compared elsewhere). Confinement costs the most to
  // read and cannot be undone: now and then.
  for (int number = 1; number < 32; ++number)
    if (actions_[number].handler != kDefaultHandler && actions_[number].handler != kIgnoreHandler &&
        !same_signal(number))
      parts |= kSignals;
  for (unsigned step = 0; step < 4; ++step)
    if (!same_signal(34 + static_cast<int>((checks_ * 4 + step) % 31))) parts |= kSignals;
  if (++checks_ % 16 == 0 && read_status() != status_) parts |= kConfinement;
  for (const int kind : kTimerKinds) {
    itimerval timer{};
    if (::getitimer(static_cast<__itimer_which>(kind), &timer) == 0 &&
        (timer.it_value.tv_sec || timer.it_value.tv_usec))
      parts |= kTimers;
  }
  if (!same_descriptors()) parts |= kDescriptors;
  if (!own_folders_are_clean()) parts |= kScratch;
  if (has_children()) parts |= kChildren;
  for (const auto& memory : watched_)
    if (std::memcmp(memory.bytes.data(), memory.address, memory.bytes.size()) != 0) parts |= kRandom;
  if (std::fegetround() != rounding_) parts |= kRounding;
  return parts;
}

unsigned ProcessState::restore(unsigned parts) {
  if (parts & kWorkingDirectory) (void)!::chdir(working_directory_.c_str());
  if (parts & kUmask) ::umask(umask_);
  if (parts & kEnvironment) {
    ::clearenv();
    environment_.clear();
    for (auto& line : environment_lines_) {
      const auto equals = line.find('=');
      if (equals != std::string::npos) ::setenv(line.substr(0, equals).c_str(), line.c_str() + equals + 1, 1);
    }
    for (char** line = environ; line && *line; ++line) environment_.push_back(*line);
  }
  if (parts & kLocale) std::setlocale(LC_ALL, locale_.c_str());
  if (parts & kLimits)
    for (int kind = 0; kind < RLIM_NLIMITS; ++kind) ::setrlimit(static_cast<__rlimit_resource>(kind), &limits_[kind]);
  if (parts & kScheduling) {
    ::sched_setaffinity(0, sizeof affinity_, &affinity_);
    const sched_param none{};
    if (::sched_getscheduler(0) != policy_) ::sched_setscheduler(0, policy_, &none);
    if (nice_value() != nice_) ::setpriority(PRIO_PROCESS, 0, 20 - nice_);
  }
  if (parts & kSignals) {
    for (int number = 1; number < NSIG; ++number) {
      if (!is_own_signal(number)) continue;
      struct sigaction action{};
      action.sa_handler = reinterpret_cast<void (*)(int)>(actions_[number].handler);
      action.sa_flags = static_cast<int>(actions_[number].flags);
      std::memcpy(&action.sa_mask, &actions_[number].mask, sizeof(unsigned long));
      ::sigaction(number, &action, nullptr);
    }
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  if (parts & kTimers) {
    const itimerval none{};
    for (const int kind : kTimerKinds) ::setitimer(static_cast<__itimer_which>(kind), &none, nullptr);
  }
  if (parts & kRounding) std::fesetround(rounding_);
  unsigned left = check();
  for (int number = 34; number < NSIG; ++number)
    if (!same_signal(number)) left |= kSignals;
  return left & parts;
}

}  // namespace fused::native
