#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sandbox/fork_raw.hpp"
#include "sandbox/landlock.hpp"
#include "sandbox/machine.hpp"
#include "sandbox/private_root.hpp"
#include "sandbox/rights.hpp"
#include "sandbox/sandbox.hpp"
#include "sandbox/seccomp_filter.hpp"

namespace fused {
namespace {

constexpr int kProcessesPerNamespaceSince = 5014;  // RLIMIT_NPROC counts per user namespace
constexpr int kPidMaxPerNamespaceSince = 6014;

// Which steps this worker takes: what the machine allows, what the fork gave, what was left out.
struct Plan {
  Machine machine;
  Namespaces namespaces;
  bool landlock = false;
  bool scope = false;
  bool nproc = false;
  bool pid_max = false;
  bool nondumpable = false;
};

Plan make_plan(const SandboxSpec& spec, const Namespaces& forked_in) {
  Plan plan;
  plan.machine = machine_without(spec.without);
  plan.namespaces = plan.machine.namespaces;
  plan.namespaces.pid = forked_in.pid;
  plan.namespaces.ipc = plan.namespaces.ipc || forked_in.ipc;
  plan.landlock = plan.machine.landlock > 0;
  plan.scope = plan.machine.landlock >= kLandlockScopeSince && !has(spec.without, "landlock_scope");
  const bool processes = !has(spec.without, "process_limit");
  plan.nproc =
      processes && plan.namespaces.user && ::geteuid() != 0 && plan.machine.kernel >= kProcessesPerNamespaceSince;
  plan.pid_max = processes && plan.namespaces.pid && plan.machine.kernel >= kPidMaxPerNamespaceSince;
  // A server of an ordinary user could not read our memory figures any more, and inside a pid namespace or a landlock
  // domain nobody else can look anyway.
  plan.nondumpable = ::geteuid() == 0 || !(plan.namespaces.pid || plan.landlock);
  return plan;
}

void tell(SandboxReport& report, bool in_force, const char* step, std::string why) {
  if (in_force) {
    report.isolation.emplace_back(step);
  } else {
    report.skipped.push_back({step, std::move(why)});
  }
}

SandboxReport describe(const Plan& plan, const SandboxSpec& spec) {
  SandboxReport report;
  const auto& machine = plan.machine;
  const auto none = [&](const char* step, std::string why) {
    return has(spec.without, step) ? "left out on request" : why;
  };
  tell(report, plan.namespaces.user, "user_namespace", machine.why_user);
  tell(report, plan.namespaces.pid, "pid_namespace", machine.why_pid.empty() ? "not forked into one" : machine.why_pid);
  tell(report, plan.namespaces.ipc, "ipc_namespace", none("ipc_namespace", "needs a mount namespace beside it"));
  tell(report, plan.namespaces.mount, "mount_namespace", machine.why_mount);
  tell(report, plan.namespaces.mount, "private_root", machine.why_mount);
  tell(report, !spec.keep_descriptors.empty(), "descriptors", "keep_descriptors was not given");
  tell(report, true, "limits", "");
  tell(report, plan.nproc || plan.pid_max, "process_limit",
       none("process_limit", "the kernel would count the processes of the whole machine; the server's watch counts"));
  tell(report, !has(spec.without, "oom_first"), "oom_first", "left out on request");
  tell(report, true, "group", "");
  tell(report, plan.nondumpable, "nondumpable",
       "an ordinary user's server could not measure the worker's memory; namespaces and landlock hide it from others");
  tell(report, true, "no_new_privs", "");
  tell(report, true, "capabilities", "");
  tell(report, plan.landlock, "landlock", none("landlock", "this kernel has no landlock, or it is switched off"));
  tell(report, plan.scope, "landlock_scope",
       none("landlock_scope", "needs landlock ABI 6 (Linux 6.12); here is " + std::to_string(machine.landlock)));
  tell(report, !has(spec.without, "seccomp"), "seccomp", "left out on request");
  report.pid_namespace = plan.namespaces.pid;
  report.mount = plan.namespaces.mount ? "namespace" : mount_link_stands(spec.mount) ? "link" : "env";
  if (!spec.job.empty()) report.job = (plan.namespaces.mount ? job_folder_inside(spec) : spec.job).string();
  return report;
}

// A session of its own: no terminal, no Ctrl-C of the server's, and a group to be signalled as a whole.
Status own_group(bool pid_namespace) {
  if (::setsid() < 0 && ::setpgid(0, 0) != 0) return fail_errno("setsid", errno);
  // Without an init process, orphans must stay below us in the tree, where they are found.
  if (!pid_namespace && ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return fail_errno("prctl(PR_SET_CHILD_SUBREAPER)", errno);
  }
  return {};
}

Status enter_view(const SandboxSpec& spec, const Plan& plan) {
  if (const int error = enter_namespaces(plan.namespaces)) return fail_errno("user and mount namespaces", error);
  if (plan.namespaces.mount) {
    return enter_private_root(spec, plan.namespaces.pid, plan.pid_max ? plan.machine.kernel : 0);
  }
  if (::chdir(spec.scratch.c_str()) != 0) return fail_errno("chdir " + spec.scratch.string(), errno);
  return {};
}

Status give_up_rights(const SandboxSpec& spec, const Plan& plan) {
  FUSED_CHECK(set_limits(spec.limits, plan.nproc));
  FUSED_CHECK(forbid_new_privileges());
  FUSED_CHECK(drop_capabilities());
  if (plan.nondumpable) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (plan.landlock) {
    FUSED_CHECK(restrict_files(spec, plan.namespaces.mount, plan.machine.landlock, plan.scope));
  }
  if (has(spec.without, "seccomp")) return {};
  return load_seccomp({spec.network, !plan.namespaces.pid, !plan.namespaces.pid && !plan.scope, ::getpid()});
}

Result<SandboxReport> enter_none(const SandboxSpec& spec) {
  FUSED_CHECK(kill_first());
  FUSED_CHECK(own_group(false));
  FUSED_CHECK(set_limits(spec.limits, false));
  if (::chdir(spec.scratch.c_str()) != 0) return fail_errno("chdir " + spec.scratch.string(), errno);
  forked().own_folders = {spec.scratch};
  SandboxReport report;
  for (const auto step : kSandboxSteps) {
    const bool taken = step == "limits" || step == "oom_first" || step == "group" ||
                       (step == "descriptors" && !spec.keep_descriptors.empty());
    tell(report, taken, step.data(), "isolation is 'none'");
  }
  report.mount = mount_link_stands(spec.mount) ? "link" : "env";
  report.job = spec.job.string();
  return report;
}

}  // namespace

Result<pid_t> fork_worker(std::string_view isolation, const std::vector<std::string>& without) {
  if (isolation == "none") return fork_raw({});
  if (isolation != "auto") {
    return fail(ErrorKind::invalid_argument, "isolation is '" + std::string(isolation) + "'; it may be auto or none");
  }
  const auto machine = machine_without(without);
  return fork_raw(machine.namespaces.pid ? machine.namespaces : Namespaces{});
}

int worker_status(pid_t pid, int wait_status) { return fork_raw_status(pid, wait_status); }

Result<SandboxReport> enter_sandbox(const SandboxSpec& spec) {
  if (const int threads = thread_count(); threads != 1) {
    return fail(ErrorKind::internal, "the sandbox was entered with " + std::to_string(threads) +
                                         " threads; it must be the first thing after the fork");
  }
  if (!spec.keep_descriptors.empty()) FUSED_CHECK(close_others(spec.keep_descriptors));
  // Until the end our own /proc files must be ours; a zygote that is not dumpable passes them to root.
  const int dumpable = ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (spec.isolation == "none") {
    auto report = enter_none(spec);
    ::prctl(PR_SET_DUMPABLE, dumpable == 0 ? 0 : 1, 0, 0, 0);
    return report;
  }
  const auto plan = make_plan(spec, forked().namespaces);
  const auto report = describe(plan, spec);  // reads the host's file system, so before the view changes
  if (!has(spec.without, "oom_first")) FUSED_CHECK(kill_first());
  FUSED_CHECK(own_group(plan.namespaces.pid));
  FUSED_CHECK(enter_view(spec, plan));
  FUSED_CHECK(give_up_rights(spec, plan));
  forked().own_folders = {spec.scratch};
  if (plan.namespaces.mount) forked().own_folders.insert(forked().own_folders.end(), {"/tmp", "/dev/shm"});
  return report;
}

SandboxReport probe_sandbox() {
  SandboxSpec spec;
  spec.keep_descriptors = {0};
  const auto plan = make_plan(spec, this_machine().namespaces);
  return describe(plan, spec);
}

}  // namespace fused
