#include "storage/failing_sync.hpp"

#include <dlfcn.h>

#include <atomic>
#include <cerrno>

namespace {

std::atomic<int> seen = 0;
std::atomic<int> failing = 0;
std::atomic<int> failing_errno = 0;

int sync_or_fail(const char* name, int descriptor) {
  if (++seen == failing) {
    errno = failing_errno;
    return -1;
  }
  using Sync = int (*)(int);
  return reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, name))(descriptor);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int fsync(int descriptor) { return sync_or_fail("fsync", descriptor); }
extern "C" __attribute__((visibility("default"))) int fdatasync(int descriptor) {
  return sync_or_fail("fdatasync", descriptor);
}

namespace fused {

void fail_sync_at(int nth, int error_number) {
  seen = 0;
  failing_errno = error_number;
  failing = nth;
}
void let_syncs_pass() { fail_sync_at(0, 0); }
int syncs_seen() { return seen; }

}  // namespace fused
