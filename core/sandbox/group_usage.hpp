// What a worker and everything below it use, read from outside (/proc), for the server's watch. No Python, no Arrow.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/settings.hpp"

namespace fused {

struct GroupUsage {
  std::int64_t memory_bytes = 0;   // see GroupWatch::sample
  bool memory_exact = false;       // proportional set size; false: the cheap upper estimate
  std::int64_t processes = 0;      // without the init process
  std::int64_t threads = 0;        // of all of them; what RunLimits::processes bounds
  std::int64_t scratch_bytes = 0;  // allocated on disk under the scratch folder
  std::int64_t scratch_files = 0;  // over the limit too where folders lie more than 64 deep
};

// Pids of `pid` and all below it; `pid` first. Empty when it is gone.
std::vector<pid_t> group_pids(pid_t pid);

// Ends `pid` and all below it by SIGKILL, from the top down and until none is left to be seen (at most 100 rounds).
// Returns how many processes were signalled. Does not reap.
int end_group(pid_t pid);

// One per worker that is being watched; keeps what makes the next sample cheap. Not shared between threads.
class GroupWatch {
 public:
  GroupWatch(pid_t pid, std::filesystem::path scratch, RunLimits limits);

  // memory_bytes: the sum of resident sets while that is under half of the limit (an upper estimate: pages shared with
  // the zygote are counted in full); beyond it the proportional set size of each process, with shared memory (memfd,
  // /dev/shm, mapped or not) counted once. The scratch folder is walked at most for a twentieth of the time that passes
  // and only until a limit is exceeded. Costs 20–60 µs while small.
  GroupUsage sample();

 private:
  std::int64_t proportional_bytes(const std::vector<pid_t>& pids);
  std::int64_t unmapped_shared_bytes(const std::vector<pid_t>& pids);
  void walk_scratch();

  pid_t pid_;
  std::filesystem::path scratch_;
  RunLimits limits_;
  GroupUsage last_;
  std::chrono::steady_clock::time_point next_walk_{};
  std::chrono::steady_clock::time_point next_shared_{};
  std::int64_t shared_bytes_ = 0;
};

}  // namespace fused
