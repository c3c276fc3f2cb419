// For tests: makes the n-th fsync or fdatasync of this process fail, as a dying disk does, or wait, as a slow one does.
// The test program's own functions stand in front of libc's, for our calls and for SQLite's alike.
#pragma once
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace fused {

struct SyncFault {
  std::atomic<int> seen = 0;
  std::atomic<int> failing = 0;
  std::atomic<int> error_number = 0;
  std::atomic<int> wait_ms = 0;  // of the next one

  int sync_or_fail(const char* name, int descriptor) {
    if (const int ms = wait_ms.exchange(0); ms > 0) ::usleep(static_cast<unsigned>(ms) * 1'000);
    if (++seen == failing) {
      errno = error_number;
      return -1;
    }
    using Sync = int (*)(int);
    return reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, name))(descriptor);
  }
};
inline SyncFault sync_fault;

inline void fail_sync_at(int nth, int error_number) {  // 1: the next one; later ones succeed again
  sync_fault.seen = 0;
  sync_fault.error_number = error_number;
  sync_fault.failing = nth;
}
inline void let_syncs_pass() { fail_sync_at(0, 0); }
inline int syncs_seen() { return sync_fault.seen; }  // since the last call of either

}  // namespace fused

extern "C" __attribute__((weak, visibility("default"))) int fsync(int descriptor) {
  return fused::sync_fault.sync_or_fail("fsync", descriptor);
}
extern "C" __attribute__((weak, visibility("default"))) int fdatasync(int descriptor) {
  return fused::sync_fault.sync_or_fail("fdatasync", descriptor);
}
