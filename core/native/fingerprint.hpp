// What a run may change of its process beside Python objects: taken down when the worker is clean, compared after every
// run in a few microseconds, put back where that is possible. python/fused/_worker/fingerprint.py does the rest and
// decides. One thread; no other thread may change the same things meanwhile.
#pragma once
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fused::native {

// Parts of the process; check() answers with the sum of those that differ.
enum ProcessPart : unsigned {
  kWorkingDirectory = 1u << 0,
  kUmask = 1u << 1,
  kEnvironment = 1u << 2,  // the C library's, which os.putenv and C code change
  kLocale = 1u << 3,
  kLimits = 1u << 4,        // setrlimit
  kScheduling = 1u << 5,    // nice, policy, affinity
  kSignals = 1u << 6,       // handlers and mask
  kTimers = 1u << 7,        // alarm, setitimer
  kThreads = 1u << 8,       // their number
  kDescriptors = 1u << 9,   // their number, or what the known ones are
  kScratch = 1u << 10,      // the worker's own folders hold more, or less, than when they were clean
  kChildren = 1u << 11,     // there are some
  kRandom = 1u << 12,       // watched memory differs
  kIdentity = 1u << 13,     // user and group ids
  kRounding = 1u << 14,     // floating point
  kConfinement = 1u << 15,  // capabilities, seccomp filters, and what else /proc/self/status tells of it
};

class ProcessState {
 public:
  // Descriptors of /proc/self/stat, /proc/self/status, /proc/self/task, /proc/self/fd and of the worker's own folders;
  // they stay the caller's. The first two may be -1 where there is no /proc: each thing is then asked for by itself.
  struct Files {
    int stat, status, task_folder, descriptor_folder;
    std::vector<int> own_folders;
  };
  explicit ProcessState(Files files);

  void watch_memory(std::uintptr_t address, std::size_t bytes);
  void take();  // what is now is clean
  unsigned check();
  // Puts back those of `parts` that can be; returns those that still differ.
  unsigned restore(unsigned parts);

 private:
  struct Action {
    void* handler;
    unsigned long flags;
    unsigned long mask;
    bool operator==(const Action&) const = default;
  };
  struct Descriptor {
    int number;
    dev_t device;
    ino_t inode;
    int flags;
  };
  struct Watched {
    const void* address;
    std::vector<unsigned char> bytes;
  };

  // Group, session, nice, threads, signal masks, policy of /proc/self/stat; all zero when it cannot be read.
  using Numbers = std::array<std::uint64_t, 9>;
  Numbers read_numbers() const;
  std::string read_status() const;
  unsigned check_numbers() const;  // what the stat file shows, each asked for by itself
  bool same_signal(int number) const;
  bool same_limits();
  void read_descriptors();
  bool same_descriptors() const;
  bool same_environment() const;
  bool same_affinity() const;
  bool own_folders_are_clean() const;
  long descriptor_count() const;

  Files files_;
  std::string working_directory_;
  Numbers numbers_{};
  std::string status_;
  std::vector<int> entries_;
  unsigned checks_ = 0;
  mode_t umask_ = 022;
  std::vector<char*> environment_;
  std::vector<std::string> environment_lines_;
  std::string locale_;
  std::array<rlimit, RLIM_NLIMITS> limits_{};
  int next_rare_limit_ = 0;
  int nice_ = 0;
  int policy_ = 0;
  cpu_set_t affinity_{};
  std::array<Action, NSIG> actions_{};
  sigset_t mask_{};
  nlink_t threads_ = 0;
  long descriptor_count_ = 0;
  std::vector<Descriptor> descriptors_;
  std::vector<Watched> watched_;
  std::array<uid_t, 3> uids_{};
  std::array<gid_t, 3> gids_{};
  int rounding_ = 0;
};

}  // namespace fused::native
