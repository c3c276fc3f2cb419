// The sandbox of a worker. Two calls, both made by Python through fused._native (core/native/sandbox_module.cpp):
//
//   zygote   pid = fork_worker("auto")     like os.fork(); where the machine allows it, the child starts in user, pid,
//                                          mount and ipc namespaces of its own
//   child    enter_sandbox(spec)           before the first frame is read; there is no way back
//
// Whoever starts workers must know:
//  - With a pid namespace, fork_worker's pid is that of a small init process (ours, pid 1 inside), and the worker is
//    pid 2 inside. SIGKILL to that pid ends the worker and everything it ever started, whatever session or group it is
//    in. Other signals are passed on to the worker. Hand the status that waitpid gave for it to worker_status().
//  - Without one, the worker is a "child subreaper": whatever it started stays below it in the process tree, and
//    end_group() (sandbox/group_usage.hpp) ends the tree from outside.
//  - The init process dies with the zygote (PR_SET_PDEATHSIG), and so does a worker forked plainly.
//  - A step that the machine refuses (found out once, in a throw-away child) is left out and named in the report. A
//    step that ought to work and fails is an error: the child must then exit without running anything.
//  - The zygote must have one thread at fork_worker: handlers of pthread_atfork are not run.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/settings.hpp"

namespace fused {

struct SandboxSpec {
  std::string isolation = "auto";  // auto | none (limits only)
  std::filesystem::path data;      // DIR: hidden, whole
  std::filesystem::path mount;     // DIR/mount: /mount inside, read and write
  std::filesystem::path scratch;   // DIR/scratch/<n>, exists: at its own path, and /tmp (when
                                   // DIR lies in /tmp itself, /tmp is a tmpfs, counted as memory)
  std::filesystem::path job;       // of a task of a job: the folder of its job's tasks, exists; "": none
  std::vector<std::filesystem::path> python_paths;  // read and execute: environment, base prefix, package
  bool network = true;                              // may open IPv4 and IPv6 sockets
  RunLimits limits;
  std::vector<std::string> without;   // steps to leave out as if the machine refused them (for tests)
  std::vector<int> keep_descriptors;  // when not empty: all others above 2 are closed
};

// {"isolation","data","mount","scratch","job","python_paths","network","limits":{"wall_ms",…},"without",
// "keep_descriptors"}.
// A missing or relative path, an unknown key or a wrong type is refused by name.
Result<SandboxSpec> parse_sandbox_spec(std::string_view json);

struct SkippedStep {
  std::string step;
  std::string why;
};

struct SandboxReport {
  std::vector<std::string> isolation;  // steps in force, of kSandboxSteps
  std::vector<SkippedStep> skipped;
  std::string mount = "env";  // namespace | link | env: how /mount is to be had
  bool pid_namespace = false;
  std::string job;  // where the job's folder is seen: kJobFolder with a private root, else its own path; "": none
};
std::string to_json(const SandboxReport& report);

// Where a task sees its job's folder in a private root, unless the data folder or Python lies there itself.
inline constexpr std::string_view kJobFolder = "/data";

// Every step there is, in the order in which they are taken. docs/reference/isolation.md says what each stops.
inline constexpr std::string_view kSandboxSteps[] = {
    "user_namespace", "pid_namespace", "ipc_namespace",  "mount_namespace", "private_root", "descriptors",
    "limits",         "process_limit", "oom_first",      "group",           "nondumpable",  "no_new_privs",
    "capabilities",   "landlock",      "landlock_scope", "seccomp"};

// 0 in the child, the host's pid of the worker (or of its init process) in the parent. `without` as in the spec.
// The caller must surround it with PyOS_BeforeFork and PyOS_AfterFork_*.
Result<pid_t> fork_worker(std::string_view isolation, const std::vector<std::string>& without = {});

// The worker's own wait status, given the one that waitpid returned for fork_worker's pid (they differ when an init
// process stands between and the worker ended by a signal). Call once per worker.
int worker_status(pid_t pid, int wait_status);

// Run in a child of fork_worker (or of a plain fork) that has one thread.
Result<SandboxReport> enter_sandbox(const SandboxSpec& spec);

// Ends every process that this worker started and that is still there, and reaps them; returns how many there were, or
// -1 when the sandbox in force forbids to signal them (no pid namespace and no landlock_scope): replace the worker.
int end_children();

// Empties what the last run could leave files in: scratch, and with a private root /tmp and /dev/shm (else these belong
// to the whole machine). Mount points and what cannot be removed stay; returns how many such are left, or -1 before
// enter_sandbox.
int empty_own_folders();

// Server side: where workers cannot have a mount namespace, makes the link /mount → `mount` if it may, or finds it
// already there. An error says why not, and the functions have FUSED_MOUNT only.
Status prepare_mount_link(const std::filesystem::path& mount, const std::filesystem::path& link = "/mount");

// Whether `link` is a link to `mount`.
bool mount_link_stands(const std::filesystem::path& mount, const std::filesystem::path& link = "/mount");

// What this machine allows, without entering anything: for the start line and /health before the first worker is up.
// Forks throw-away children; single-threaded callers only.
SandboxReport probe_sandbox();

}  // namespace fused
