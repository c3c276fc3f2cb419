// Privileges and per-process limits that a worker gives up for good.
#pragma once
#include "sandbox/sandbox.hpp"

namespace fused {

// No execve gains anything from here on (set-user-id files, file capabilities).
Status forbid_new_privileges();
// All sets empty, the bounding set too: uid 0 is then a user like others that owns what root owns.
Status drop_capabilities();
// The kernel kills workers first when memory is short.
Status kill_first();
// Open files, cores, file size, private memory (RLIMIT_DATA; never RLIMIT_AS, which counts mere reservations), and the
// number of processes where `count_processes` says that the kernel counts it for this worker alone.
Status set_limits(const RunLimits& limits, bool count_processes);
// Closes what is not in `keep` nor 0, 1, 2.
Status close_others(std::vector<int> keep);
int thread_count();

}  // namespace fused
