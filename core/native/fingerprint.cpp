#include "native/fingerprint.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cfenv>
#include <clocale>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace fused::native {
namespace {

constexpr int kTimerKinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

std::string current_directory() {
  char path[PATH_MAX];
  return ::getcwd(path, sizeof path) ? path : "";
}

bool has_children() {
  siginfo_t info;
  while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0)
    if (errno != EINTR) return errno != ECHILD;
  return true;
}

// glibc's sigaction() hides two signals that it keeps for itself; these it does not need to.
bool is_own_signal(int number) { return number != SIGKILL && number != SIGSTOP && (number < 32 || number > 33); }

int nice_value() { return static_cast<int>(::syscall(SYS_getpriority, PRIO_PROCESS, 0)); }

}  // namespace

ProcessState::ProcessState(int task_folder, int descriptor_folder, int scratch_folder)
    : task_folder_(task_folder), descriptor_folder_(descriptor_folder), scratch_folder_(scratch_folder) {}

void ProcessState::watch_memory(std::uintptr_t address, std::size_t bytes) {
  const void* start = reinterpret_cast<const void*>(address);
  watched_.push_back({start, std::vector<unsigned char>(bytes)});
  std::memcpy(watched_.back().bytes.data(), start, bytes);
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
    struct sigaction action {};
    if (is_own_signal(number) && ::sigaction(number, nullptr, &action) == 0) {
      std::memcpy(&actions_[number].mask, &action.sa_mask, sizeof(unsigned long));
      actions_[number].handler = reinterpret_cast<void*>(action.sa_handler);
      actions_[number].flags = static_cast<unsigned long>(action.sa_flags);
    }
  }
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
  struct stat status {};
  threads_ = ::fstat(task_folder_, &status) == 0 ? status.st_nlink : 0;
  read_descriptors();
  descriptor_count_ = descriptor_count();
  for (auto& memory : watched_) std::memcpy(memory.bytes.data(), memory.address, memory.bytes.size());
  ::getresuid(&uids_[0], &uids_[1], &uids_[2]);
  ::getresgid(&gids_[0], &gids_[1], &gids_[2]);
  rounding_ = std::fegetround();
}

void ProcessState::read_descriptors() {
  descriptors_.clear();
  const int folder = ::dup(descriptor_folder_);
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
    struct stat status {};
    if (end == entry->d_name || number == folder || ::fstat(static_cast<int>(number), &status) != 0) continue;
    descriptors_.push_back({static_cast<int>(number), status.st_dev, status.st_ino, ::fcntl(static_cast<int>(number), F_GETFL)});
  }
  ::closedir(listing);
}

long ProcessState::descriptor_count() const {
  struct stat status {};
  if (::fstat(descriptor_folder_, &status) != 0) return -1;
  if (status.st_size > 0) return static_cast<long>(status.st_size);
  // Before Linux 6.2 the folder does not tell its size: count up to the highest known, and whether the next is free.
  long count = 0;
  const int limit = descriptors_.empty() ? 64 : descriptors_.back().number + 64;
  for (int number = 0; number < limit; ++number) count += ::fcntl(number, F_GETFD) >= 0;
  return count;
}

bool ProcessState::same_descriptors() const {
  for (const auto& known : descriptors_) {
    struct stat status {};
    if (::fstat(known.number, &status) != 0 || status.st_ino != known.inode || status.st_dev != known.device) return false;
    if (known.number < 4 && ::fcntl(known.number, F_GETFL) != known.flags) return false;
  }
  return descriptor_count() == descriptor_count_;
}

bool ProcessState::same_environment() const {
  std::size_t count = 0;
  for (char** line = environ; line && *line; ++line, ++count)
    if (count >= environment_.size() || environment_[count] != *line) return false;
  return count == environment_.size();
}

bool ProcessState::same_scheduling() const {
  cpu_set_t affinity;
  CPU_ZERO(&affinity);
  return nice_value() == nice_ && ::sched_getscheduler(0) == policy_ &&
         ::sched_getaffinity(0, sizeof affinity, &affinity) == 0 && CPU_EQUAL(&affinity, &affinity_);
}

bool ProcessState::scratch_is_empty() const {
  alignas(8) char entries[512];
  ::lseek(scratch_folder_, 0, SEEK_SET);
  struct Entry {
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
  };
  const long bytes = ::syscall(SYS_getdents64, scratch_folder_, entries, sizeof entries);
  if (bytes < 0) return false;
  for (long at = 0; at < bytes;) {
    const auto* entry = reinterpret_cast<const Entry*>(entries + at);
    if (std::strcmp(entry->name, ".") != 0 && std::strcmp(entry->name, "..") != 0) return false;
    at += entry->length;
  }
  struct stat status {};
  return ::fstat(scratch_folder_, &status) == 0 && status.st_nlink > 0;
}

unsigned ProcessState::check() {
  unsigned parts = 0;
  char path[PATH_MAX];
  if (!::getcwd(path, sizeof path) || working_directory_ != path) parts |= kWorkingDirectory;
  if (::umask(umask_) != umask_) parts |= kUmask;  // and put back by asking
  if (!same_environment()) parts |= kEnvironment;
  if (const char* locale = std::setlocale(LC_ALL, nullptr); !locale || locale_ != locale) parts |= kLocale;
  for (int kind = 0; kind < RLIM_NLIMITS; ++kind) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(kind), &limit);
    if (limit.rlim_cur != limits_[kind].rlim_cur || limit.rlim_max != limits_[kind].rlim_max) parts |= kLimits;
  }
  if (!same_scheduling()) parts |= kScheduling;
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (!is_own_signal(number) || ::sigaction(number, nullptr, &action) != 0) continue;
    Action now{reinterpret_cast<void*>(action.sa_handler), static_cast<unsigned long>(action.sa_flags), 0};
    std::memcpy(&now.mask, &action.sa_mask, sizeof now.mask);
    if (now != actions_[number]) parts |= kSignals;
  }
  sigset_t mask;
  ::sigemptyset(&mask);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  if (std::memcmp(&mask, &mask_, sizeof(unsigned long)) != 0) parts |= kSignals;
  for (const int kind : kTimerKinds) {
    itimerval timer{};
    if (::getitimer(static_cast<__itimer_which>(kind), &timer) == 0 && (timer.it_value.tv_sec || timer.it_value.tv_usec))
      parts |= kTimers;
  }
  struct stat status {};
  if (::fstat(task_folder_, &status) != 0 || status.st_nlink != threads_) parts |= kThreads;
  if (!same_descriptors()) parts |= kDescriptors;
  if (!scratch_is_empty()) parts |= kScratch;
  if (has_children()) parts |= kChildren;
  for (const auto& memory : watched_)
    if (std::memcmp(memory.bytes.data(), memory.address, memory.bytes.size()) != 0) parts |= kRandom;
  std::array<uid_t, 3> uids{};
  std::array<gid_t, 3> gids{};
  ::getresuid(&uids[0], &uids[1], &uids[2]);
  ::getresgid(&gids[0], &gids[1], &gids[2]);
  if (uids != uids_ || gids != gids_) parts |= kIdentity;
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
      struct sigaction action {};
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
  return check() & parts;
}

}  // namespace fused::native
