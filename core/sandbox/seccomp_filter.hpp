// The system calls that a worker and its children do without.
#pragma once
#include <linux/filter.h>

#include <vector>

#include "base/result.hpp"

namespace fused {

struct SeccompChoice {
  bool network = true;            // IPv4 and IPv6 sockets
  bool only_self = false;         // signals, priorities and limits of other processes are refused (no pid namespace)
  bool only_own_signals = false;  // of these, signals too (no landlock scope): children cannot be signalled one by one
  int self = 0;                   // pid, for only_self
};

// The program, for tests and for load_seccomp. A refused call fails with EPERM; clone3 and the calls of another
// architecture with ENOSYS, so that C libraries fall back; a refused socket family with EAFNOSUPPORT.
std::vector<sock_filter> seccomp_program(const SeccompChoice& choice);

// Needs no_new_privs. For all threads, and for all that they start, for ever.
Status load_seccomp(const SeccompChoice& choice);

}  // namespace fused
