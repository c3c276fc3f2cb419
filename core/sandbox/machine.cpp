#include "sandbox/machine.hpp"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sandbox/fork_raw.hpp"
#include "sandbox/private_root.hpp"

namespace fused {
namespace {

int write_text(const char* path, std::string_view text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  const ssize_t written = ::write(file, text.data(), text.size());
  const int error = written == static_cast<ssize_t>(text.size()) ? 0 : errno;
  ::close(file);
  return error;
}

// Tries one set in a child that does what a worker would do; the message of the failure, or nothing.
std::string try_namespaces(const Namespaces& wanted) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::string("pipe2: ") + std::strerror(errno);
  const auto child = [&] {
    std::string problem;
    if (const int error = enter_namespaces(wanted)) problem = std::string("namespaces: ") + std::strerror(error);
    if (problem.empty() && wanted.mount) {
      if (auto tried = try_private_root(wanted.pid); !tried) problem = tried.error().message;
    }
    if (!problem.empty() && ::write(ends[1], problem.data(), problem.size()) < 0) ::_exit(2);
    ::_exit(problem.empty() ? 0 : 1);
  };
  std::string problem;
  auto pid = fork_raw(wanted);
  if (!pid) {
    problem = pid.error().message;
  } else if (*pid == 0) {
    child();
  } else {
    ::close(ends[1]);
    ends[1] = -1;
    char text[512];
    for (ssize_t got = 0; (got = ::read(ends[0], text, sizeof text)) > 0;) problem.append(text, got);
    int status = 0;
    while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
    }
    status = fork_raw_status(*pid, status);
    if (status != 0 && problem.empty()) problem = "the trial child ended with status " + std::to_string(status);
  }
  ::close(ends[0]);
  if (ends[1] >= 0) ::close(ends[1]);
  return problem;
}

int kernel_version() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return 0;
  return major * 1000 + minor;
}

}  // namespace

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

int Namespaces::clone_flags() const {
  return (user ? CLONE_NEWUSER : 0) | (pid ? CLONE_NEWPID : 0) | (ipc ? CLONE_NEWIPC : 0) | (mount ? CLONE_NEWNS : 0);
}

int write_id_maps(unsigned user, unsigned group) {
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0,
          0);  // a zygote that is not dumpable passes that on, and our own /proc files to root
  const auto map = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  const int denied = write_text("/proc/self/setgroups", "deny");
  if (denied != 0 && denied != ENOENT) return denied;
  if (const int error = write_text("/proc/self/uid_map", map(user))) return error;
  return write_text("/proc/self/gid_map", map(group));
}

Forked& forked() {
  static Forked state;  // one process is forked once; Python has no object to keep it in
  return state;
}

Machine probe_machine(const std::vector<std::string>& without) {
  Machine machine;
  machine.kernel = kernel_version();
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  machine.landlock = abi > 0 && !has(without, "landlock") ? static_cast<int>(abi) : 0;

  const auto refused = [&](const char* name) { return has(without, name) ? "left out on request" : ""; };
  machine.why_user = refused("user_namespace");
  machine.why_pid = refused("pid_namespace");
  machine.why_mount = has(without, "private_root") ? "left out on request" : refused("mount_namespace");
  const bool root = ::geteuid() == 0;
  // A pid namespace needs its own /proc, so it is only tried together with a mount namespace.
  const Namespaces sets[] = {
      {true, true, true, true}, {false, true, true, true}, {true, false, true, true}, {false, false, true, true}};
  for (const auto& set : sets) {
    if (!machine.why_mount.empty() && !has(without, "mount_namespace") && !has(without, "private_root")) {
      machine.why_mount.clear();  // a weaker set may still have it
    }
    if (has(without, "mount_namespace") || has(without, "private_root")) break;
    if (set.user && has(without, "user_namespace")) continue;
    if (set.pid && has(without, "pid_namespace")) continue;
    if (!set.user && !root) continue;
    const auto problem = try_namespaces(set);
    if (problem.empty()) {
      machine.namespaces = set;
      if (set.ipc && has(without, "ipc_namespace")) machine.namespaces.ipc = false;
      break;
    }
    if (set.user && machine.why_user.empty()) machine.why_user = problem;
    if (set.pid && machine.why_pid.empty()) machine.why_pid = problem;
    machine.why_mount = problem;
  }
  if (machine.namespaces.user) machine.why_user.clear();
  if (machine.namespaces.pid) machine.why_pid.clear();
  if (machine.namespaces.mount) machine.why_mount.clear();
  if (!machine.namespaces.pid && machine.why_pid.empty()) machine.why_pid = "it needs a mount namespace for its /proc";
  if (!machine.namespaces.user && machine.why_user.empty()) machine.why_user = "of no use without a mount namespace";
  return machine;
}

const Machine& this_machine() {
  static const Machine machine = probe_machine({});  // what the kernel allows does not change while we live
  return machine;
}

Machine machine_without(const std::vector<std::string>& without) {
  return without.empty() ? this_machine() : probe_machine(without);
}

}  // namespace fused
