// fork() into namespaces of one's own, with an init process where there is a pid namespace.
#pragma once
#include <sys/types.h>

#include "sandbox/machine.hpp"

namespace fused {

// Like fork(). Without a pid namespace a plain fork: the child then calls enter_namespaces for the rest. With one:
// makes an init process (pid 1 inside; a thread of the caller's memory that runs nothing but fork_raw.cpp's loop, so it
// costs 64 KiB and no copy of the page tables), which forks the worker by glibc's fork() and then reaps. Returns the
// init process's pid in the parent.
Result<pid_t> fork_raw(const Namespaces& namespaces);

// The worker's wait status for what waitpid said of the init process; frees what was kept for it.
int fork_raw_status(pid_t pid, int wait_status);

// In the child: unshares what fork_raw did not, and maps the ids. 0 or an errno.
int enter_namespaces(const Namespaces& namespaces);

}  // namespace fused
