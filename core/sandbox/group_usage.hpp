// What a worker and everything below it use, read from outside (/proc), for the server's watch. No Python, no Arrow.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <unordered_map>
#include <vector>

#include "base/settings.hpp"

namespace fused {

struct GroupUsage {
  std::int64_t memory_bytes = 0;   // see GroupWatch::sample
  bool memory_exact = false;       // proportional set size; false: the cheap upper estimate
  std::int64_t processes = 0;      // without the init process
  std::int64_t threads = 0;        // of all of them; what RunLimits::processes bounds
  std::int64_t scratch_bytes = 0;  // allocated on disk under the scratch folder, and by deleted files that are open
  std::int64_t scratch_files = 0;  // over the limit too where folders lie more than 64 deep
  std::int64_t written_bytes = 0;  // to any disk since the first sample, see GroupWatch::sample
};

// Pids of `pid` and all below it; `pid` first. Empty when it is gone.
std::vector<pid_t> group_pids(pid_t pid);

// Ends `pid` and all below it by SIGKILL, from the top down and until none is left to be seen (at most 100 rounds).
// Returns how many processes were signalled. Does not reap.
int end_group(pid_t pid);

// One per worker that is being watched; keeps what makes the next sample cheap. Not shared between threads.
class GroupWatch {
 public:
  // `shared`: of a task of a job, the folder that its job's tasks share; it counts with scratch. "": none.
  GroupWatch(pid_t pid, std::filesystem::path scratch, RunLimits limits, std::filesystem::path shared = {});

  // memory_bytes: the sum of resident sets while that is under half of the limit (an upper estimate: pages shared with
  // the zygote are counted in full); beyond it the proportional set size of each process, with shared memory (memfd,
  // /dev/shm, mapped or not) counted once. The scratch folder is walked at most for a twentieth of the time that passes
  // and only until a limit is exceeded. Costs 20–60 µs while small.
  // written_bytes: pages of disk files that the group made dirty, whether or not the file is still there, also by
  // processes that have ended in between (0 on kernels without CONFIG_TASK_IO_ACCOUNTING). Not in it: blocks that are
  // only reserved (fallocate), which scratch_bytes has.
  GroupUsage sample();

 private:
  std::int64_t proportional_bytes(const std::vector<pid_t>& pids);
  std::int64_t unmapped_shared_bytes(const std::vector<pid_t>& pids);
  void walk_scratch();
  std::int64_t written_bytes(const std::vector<pid_t>& pids);

  pid_t pid_;
  std::filesystem::path scratch_;
  std::filesystem::path shared_;
  RunLimits limits_;
  GroupUsage last_;
  std::chrono::steady_clock::time_point next_walk_{};
  std::chrono::steady_clock::time_point next_shared_{};
  std::int64_t shared_bytes_ = 0;
  std::int64_t deleted_bytes_ = 0;  // of open files that have no name any more
  std::int64_t walked_bytes_ = 0;
  std::unordered_map<pid_t, std::int64_t> written_of_;  // at the last sample
  std::int64_t ended_before_ = 0;                       // of processes that ended before it, not handed on yet
  std::int64_t written_ = 0;                            // since the first sample
  bool has_looked_ = false;
};

}  // namespace fused
