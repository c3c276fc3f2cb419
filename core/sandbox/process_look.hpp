// One process as the system shows it (/proc/<pid>/stat): is it the one that we mean, and does it go on.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace fused {

struct ProcessLook {
  char state = '?';           // R, S, D, T (stopped), t (traced), Z (ended), …
  std::uint64_t started = 0;  // in ticks since the boot: with the pid it names one process
  double cpu_seconds = 0;     // with the children that it has waited for
};
std::optional<ProcessLook> look_at(pid_t pid);  // nothing: it is gone

// The process that works: the first child of an init process that stands before it in a pid namespace, else `pid`.
pid_t working_process(pid_t pid);

}  // namespace fused
