#include "sandbox/fork_raw.hpp"

#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/rseq.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "sandbox/raw_call.hpp"

namespace fused {
namespace {

constexpr std::size_t kInitStackBytes = 64 << 10;
constexpr std::size_t kGuardBytes = 4 << 10;
constexpr std::size_t kKernelSignalBytes = 8;

// What the parent shares with one init process: at the top of its stack's mapping.
struct InitProcess {
  std::atomic<int> forked{0};  // 1: the worker is there, or fork failed; the parent sleeps on it
  int fork_error = 0;
  pid_t worker = 0;  // inside
  pid_t pid = 0;     // of the init process, outside
  int worker_status = 0;
  bool ended = false;  // worker_status holds
  void* mapping = nullptr;
};

struct InitProcesses {
  std::vector<InitProcess*> all;
  void* resume[5] = {};  // where the worker goes on: __builtin_setjmp's buffer
  InitProcess* starting = nullptr;
};

InitProcesses& init_processes() {
  static InitProcesses processes;  // os.fork() has no object either: a pid must be enough to find the rest
  return processes;
}

InitProcess* make_init_process() {
  void* mapping = ::mmap(nullptr, kInitStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  ::mprotect(mapping, kGuardBytes, PROT_NONE);
  auto* top = static_cast<char*>(mapping) + kInitStackBytes + kGuardBytes - 256;
  static_assert(sizeof(InitProcess) <= 256);
  auto* process = new (top) InitProcess;
  process->mapping = mapping;
  return process;
}

void free_init_process(InitProcess* process) { ::munmap(process->mapping, kInitStackBytes + kGuardBytes); }

// From here on the init process shares memory with a running zygote: nothing but raw calls, no errno, no allocation.
[[noreturn]] void reap_until_worker_ends(InitProcess* process) {
  raw_call(SYS_close_range, 0, ~0U, 0);
  static constexpr char kName[] = "fused-init";
  raw_call(SYS_prctl, PR_SET_NAME, raw_address(kName));
  raw_call(SYS_setsid);  // a Ctrl-C meant for the server is not for its workers
  static constexpr char kRoot[] = "/";
  raw_call(SYS_chdir, raw_address(kRoot));
  std::uint64_t every_signal = ~0ULL;
  for (;;) {
    int status = 0;
    for (;;) {
      const long gone = raw_call(SYS_wait4, -1, raw_address(&status), WNOHANG | __WALL, 0);
      if (gone <= 0) break;
      if (gone != process->worker) continue;
      process->worker_status = status;
      process->ended = true;
      raw_call(SYS_exit_group, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    const long got = raw_call(SYS_rt_sigtimedwait, raw_address(&every_signal), 0, 0, kKernelSignalBytes);
    if (got > 0 && got != SIGCHLD) raw_call(SYS_kill, process->worker, got);
  }
}

[[noreturn]] void resume_worker() { __builtin_longjmp(init_processes().resume, 1); }

// The parent is asleep while this runs, so its thread's storage and locks are ours: glibc's fork() does all it does in
// an ordinary parent (handlers, malloc, thread id).
int init_main(void* argument) {
  auto* process = static_cast<InitProcess*>(argument);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const pid_t worker = ::fork();
  if (worker == 0) resume_worker();
  process->worker = worker;
  process->fork_error = worker < 0 ? errno : 0;
  process->forked.store(1);
  raw_call(SYS_futex, raw_address(&process->forked), FUTEX_WAKE_PRIVATE, 1);
  if (worker < 0) raw_call(SYS_exit_group, 1);
  reap_until_worker_ends(process);
}

// The kernel forgot the registration when the init process was cloned into the parent's memory.
void register_rseq() {
  if (__rseq_size == 0) return;
  auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  reinterpret_cast<struct rseq*>(area)->cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
  raw_call(SYS_rseq, raw_address(area), 32, 0, RSEQ_SIG);
}

// noinline: the frame that __builtin_longjmp comes back to must be this one. `old` is read in the worker's copy of it.
[[gnu::noinline]] pid_t clone_with_init(int flags, const sigset_t* old) {
  auto& processes = init_processes();
  if (__builtin_setjmp(processes.resume) != 0) return 0;
  auto* process = init_processes().starting;
  const int pid = ::clone(init_main, process, flags | CLONE_VM | SIGCHLD, process);
  if (pid < 0) return -errno;
  while (process->forked.load() == 0) {
    raw_call(SYS_futex, raw_address(&process->forked), FUTEX_WAIT_PRIVATE, 0, 0);
  }
  (void)old;
  return pid;
}

Result<pid_t> fork_with_init(const Namespaces& namespaces) {
  auto* process = make_init_process();
  if (process == nullptr) return fail_errno("mmap for the init process of a worker", errno);
  auto& processes = init_processes();
  processes.starting = process;
  sigset_t every;
  sigset_t old;
  ::sigfillset(&every);
  ::pthread_sigmask(SIG_SETMASK, &every, &old);
  const unsigned user = ::geteuid();
  const unsigned group = ::getegid();
  const pid_t pid = clone_with_init(namespaces.clone_flags(), &old);
  if (pid == 0) {
    register_rseq();
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    for (auto* other : init_processes().all) free_init_process(other);
    free_init_process(init_processes().starting);
    init_processes().all.clear();
    forked() = {true, namespaces, namespaces.user ? write_id_maps(user, group) : 0, {}};
    return 0;
  }
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) {
    free_init_process(process);
    return fail_errno("clone with namespaces", -pid);
  }
  if (process->fork_error != 0) {
    const int error = process->fork_error;
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    free_init_process(process);
    return fail_errno("fork in a pid namespace", error);
  }
  process->pid = pid;
  processes.all.push_back(process);
  return pid;
}

}  // namespace

Result<pid_t> fork_raw(const Namespaces& namespaces) {
  if (namespaces.pid) return fork_with_init(namespaces);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork", errno);
  if (pid > 0) return pid;
  for (auto* other : init_processes().all) free_init_process(other);
  init_processes().all.clear();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  forked() = {true, {}, 0, {}};
  return 0;
}

int fork_raw_status(pid_t pid, int wait_status) {
  auto& all = init_processes().all;
  const auto at = std::find_if(all.begin(), all.end(), [&](const InitProcess* one) { return one->pid == pid; });
  if (at == all.end()) return wait_status;
  // Ended by SIGKILL from outside, the init process had no time to see the worker's end.
  const int status = (*at)->ended && !WIFSIGNALED(wait_status) ? (*at)->worker_status : wait_status;
  free_init_process(*at);
  all.erase(at);
  return status;
}

int enter_namespaces(const Namespaces& wanted) {
  auto& state = forked();
  if (state.error != 0) return state.error;
  const auto& have = state.namespaces;
  const Namespaces more{wanted.user && !have.user, false, wanted.ipc && !have.ipc, wanted.mount && !have.mount};
  if (!more.any()) return 0;
  const unsigned user = ::geteuid();
  const unsigned group = ::getegid();
  if (::unshare(more.clone_flags()) != 0) return errno;
  state.namespaces = {have.user || more.user, have.pid, have.ipc || more.ipc, have.mount || more.mount};
  return more.user ? write_id_maps(user, group) : 0;
}

}  // namespace fused
