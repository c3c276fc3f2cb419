#include "sandbox/seccomp_filter.hpp"

#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace fused {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the sandbox knows x86-64 and arm64"
#endif
constexpr std::uint32_t kX32Bit = 0x40000000;

// Same on every architecture since the numbers were unified; Debian 12's headers lack the newest.
constexpr int kOpenTreeAttr = 467;

constexpr std::uint32_t kNamespaceFlags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr std::uint32_t kTiocsti = 0x5412;    // types into a terminal
constexpr std::uint32_t kTioclinux = 0x541c;  // the same by the console's selection

// Calls nobody who only computes needs, each a large or often broken part of the kernel, or power over others.
constexpr int kRefused[] = {
    // asynchronous rings and programs in the kernel, other processes' memory
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_kcmp,
    SYS_pidfd_getfd,
    SYS_fanotify_init,
    SYS_lookup_dcookie,
    // keys
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // mounts, namespaces and roots
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_move_mount,
    SYS_open_tree,
    SYS_mount_setattr,
    kOpenTreeAttr,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    // the machine itself
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_swapon,
    SYS_swapoff,
    SYS_reboot,
    SYS_syslog,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
#endif
};

class Program {
 public:
  Program() {
    load(offsetof(seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    answer(ENOSYS);
    load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
    add(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, 0, 1);
    answer(ENOSYS);
#endif
  }

  void refuse(int call, int error = EPERM) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1);
    answer(error);
  }

  // `body` sees the low half of an argument in the accumulator, and falls through where the call is allowed.
  template <class Body>
  void on(int call, int argument, Body body) {
    const auto start = code_.size();
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 0);
    load(argument_at(argument));
    body();
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code_[start].jf = static_cast<std::uint8_t>(code_.size() - start - 1);
  }
  // `body` runs where the accumulator holds `value`, and leaves it changed.
  template <class Body>
  void when(std::uint32_t value, Body body) {
    const auto start = code_.size();
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
    body();
    code_[start].jf = static_cast<std::uint8_t>(code_.size() - start - 1);
  }
  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
  void load_argument(int argument) { load(argument_at(argument)); }
  void refuse_any_bit(std::uint32_t bits, int error = EPERM) {
    add(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    answer(error);
  }
  void refuse_value(std::uint32_t value, int error = EPERM) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    answer(error);
  }
  void refuse_other_than(std::initializer_list<std::uint32_t> values, int error = EPERM) {
    auto left = values.size();
    for (const auto value : values) add(BPF_JMP | BPF_JEQ | BPF_K, value, static_cast<std::uint8_t>(left--), 0);
    answer(error);
  }
  std::vector<sock_filter> finish() {
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return std::move(code_);
  }

 private:
  static std::size_t argument_at(int argument) {  // little endian: the low half comes first
    return offsetof(seccomp_data, args) + sizeof(std::uint64_t) * static_cast<std::size_t>(argument);
  }
  void add(int code, std::uint32_t k, std::uint8_t yes = 0, std::uint8_t no = 0) {
    code_.push_back({static_cast<std::uint16_t>(code), yes, no, k});
  }
  void answer(int error) { add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)); }

  std::vector<sock_filter> code_;
};

void sockets(Program& program, bool network) {
  for (const int call : {SYS_socket, SYS_socketpair}) {
    program.on(call, 0, [&] {
      if (!network) {
        program.refuse_value(AF_INET);
        program.refuse_value(AF_INET6);
      }
      program.refuse_other_than({AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}, EAFNOSUPPORT);
      program.when(AF_NETLINK, [&] {  // only routing, which name look-ups ask for the machine's addresses
        program.load_argument(2);
        program.refuse_other_than({NETLINK_ROUTE}, EAFNOSUPPORT);
      });
    });
  }
}

// Without a pid namespace every process of the same user is in reach. A filter knows constants only: this process, and
// 0 for "the caller". Its children are told apart from strangers by landlock's scope, or not at all.
void other_processes(Program& program, const SeccompChoice& choice) {
  const auto self = static_cast<std::uint32_t>(choice.self);
  const auto own_group = static_cast<std::uint32_t>(-choice.self);
  for (const int call : {SYS_prlimit64, SYS_sched_setaffinity, SYS_sched_setscheduler, SYS_sched_setparam,
                         SYS_sched_setattr, SYS_migrate_pages, SYS_move_pages}) {
    program.on(call, 0, [&] { program.refuse_other_than({0, self}); });
  }
  for (const int call : {SYS_setpriority, SYS_ioprio_set}) {
    program.on(call, 1, [&] { program.refuse_other_than({0, self}); });
  }
  if (!choice.only_own_signals) return;
  program.on(SYS_kill, 0, [&] { program.refuse_other_than({0, self, own_group}); });
  for (const int call : {SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo}) {
    program.on(call, 0, [&] { program.refuse_other_than({self}); });
  }
  for (const int call : {SYS_pidfd_open, SYS_pidfd_send_signal}) program.refuse(call);
}

}  // namespace

std::vector<sock_filter> seccomp_program(const SeccompChoice& choice) {
  Program program;
  for (const int call : kRefused) program.refuse(call);
  program.refuse(SYS_clone3, ENOSYS);  // its flags lie in memory, where a filter cannot look
  program.on(SYS_clone, 0, [&] { program.refuse_any_bit(kNamespaceFlags | CLONE_PARENT); });
  program.on(SYS_unshare, 0, [&] { program.refuse_any_bit(kNamespaceFlags | CLONE_NEWTIME); });
  program.on(SYS_ioctl, 1, [&] {
    program.refuse_value(kTiocsti);
    program.refuse_value(kTioclinux);
  });
  program.on(SYS_prctl, 0, [&] { program.refuse_value(PR_SET_DUMPABLE); });  // would close /proc/<pid> to our watch
  program.on(SYS_personality, 0, [&] { program.refuse_other_than({0, 0xffffffff}); });  // set to Linux, or ask
  sockets(program, choice.network);
  if (choice.only_self) other_processes(program, choice);
  return program.finish();
}

Status load_seccomp(const SeccompChoice& choice) {
  auto code = seccomp_program(choice);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  const long loaded = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (loaded != 0) return fail_errno("seccomp filter of " + std::to_string(code.size()) + " instructions", errno);
  return {};
}

}  // namespace fused
