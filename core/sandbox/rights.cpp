#include "sandbox/rights.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace fused {
namespace {

// Allocators reserve address space in writable blocks of up to this size before they use any of it.
constexpr std::int64_t kReservedBytes = 1LL << 30;

Status limit(const char* name, __rlimit_resource which, std::int64_t wanted) {
  rlimit now{};
  if (::getrlimit(which, &now) != 0) return fail_errno(std::string("getrlimit ") + name, errno);
  auto value = static_cast<rlim_t>(std::max<std::int64_t>(wanted, 0));
  if (now.rlim_max != RLIM_INFINITY) value = std::min(value, now.rlim_max);
  const rlimit both{value, value};
  if (::setrlimit(which, &both) != 0) {
    return fail_errno(std::string("setrlimit ") + name + " to " + std::to_string(value), errno);
  }
  return {};
}

std::int64_t private_bytes() {
  long pages[6] = {};
  FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  const int read =
      std::fscanf(file, "%ld %ld %ld %ld %ld %ld", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]);
  std::fclose(file);
  return read == 6 ? pages[5] * ::sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

Status forbid_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("prctl(PR_SET_NO_NEW_PRIVS)", errno);
  return {};
}

Status drop_capabilities() {
  // Refused without CAP_SETPCAP, and then of no account: without it there is nothing to keep either.
  constexpr unsigned long kLocked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                    SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                    SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  ::prctl(PR_SET_SECUREBITS, kLocked, 0, 0, 0);
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (::syscall(SYS_capset, &header, none) != 0) return fail_errno("capset", errno);
  return {};
}

Status kill_first() {
  const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return fail_errno("open /proc/self/oom_score_adj", errno);
  const bool written = ::write(file, "1000", 4) == 4;
  const int error = errno;
  ::close(file);
  if (!written) return fail_errno("write /proc/self/oom_score_adj", error);
  return {};
}

Status set_limits(const RunLimits& limits, bool count_processes) {
  FUSED_CHECK(limit("NOFILE", RLIMIT_NOFILE, limits.descriptors));
  FUSED_CHECK(limit("CORE", RLIMIT_CORE, 0));
  // A result leaves in a memfd, which counts as a file.
  FUSED_CHECK(limit("FSIZE", RLIMIT_FSIZE, std::max(limits.disk_written_bytes, limits.result_bytes)));
  FUSED_CHECK(limit("DATA", RLIMIT_DATA, limits.memory_bytes + private_bytes() + kReservedBytes));
  if (count_processes) FUSED_CHECK(limit("NPROC", RLIMIT_NPROC, limits.processes + 1));  // and the init process
  return {};
}

Status close_others(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 3;
  for (const int one : keep) {
    if (one < static_cast<int>(from)) continue;
    const auto at = static_cast<unsigned>(one);
    if (at > from && ::close_range(from, at - 1, 0) != 0) return fail_errno("close_range", errno);
    from = at + 1;
  }
  if (::close_range(from, ~0U, 0) != 0) return fail_errno("close_range", errno);
  return {};
}

int thread_count() {
  struct stat about{};
  return ::stat("/proc/self/task", &about) == 0 ? static_cast<int>(about.st_nlink) - 2 : 0;
}

}  // namespace fused
