"""Privileges, system calls and sockets."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import errno
import platform
from typing import Any

import pytest

from .conftest import Sandbox

# Numbers of x86-64 (arm64 in brackets where it differs). Each is called with arguments that the kernel would answer
# otherwise: EFAULT, EINVAL, EBADF or success.
CALLS: dict[str, tuple[int, int]] = {
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "fanotify_init": (300, 262), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "move_mount": (429, 429),
    "open_tree": (428, 428), "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "syslog": (103, 116),
    "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112), "sethostname": (170, 161),
    "setdomainname": (171, 162), "vhangup": (153, 58),
}  # fmt: skip
ONLY_X86 = {"iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134, "ustat": 136, "sysfs": 139, "_sysctl": 156}
X86 = platform.machine() == "x86_64"

CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
    return ctypes.get_errno() if result < 0 else -result
"""


def numbers() -> dict[str, int]:
    shared = {name: both[0] if X86 else both[1] for name, both in CALLS.items()}
    return shared | (ONLY_X86 if X86 else {})


def test_each_refused_system_call_fails_with_eperm(sandbox: Sandbox) -> None:
    got = sandbox.value(CALL + "value = {name: call(n, 0, 0, 0, 0, 0) for name, n in extra.items()}", extra=numbers())
    print(f"system calls refused: {sum(code == errno.EPERM for code in got.values())} of {len(got)}")
    assert {name: code for name, code in got.items() if code != errno.EPERM} == {}


def test_a_function_cannot_close_itself_to_the_watch(sandbox: Sandbox) -> None:
    """PR_SET_DUMPABLE (4) would hide its memory, files and writes; PR_SET_NAME (15) and the like stay open."""
    number = 157 if X86 else 167
    got = sandbox.value(
        CALL + "name = ctypes.create_string_buffer(b'named')\n"
        f"value = [call({number}, 4, 0, 0, 0, 0), call({number}, 4, 1, 0, 0, 0), "
        f"call({number}, 15, ctypes.addressof(name), 0, 0, 0)]"
    )
    assert got == [errno.EPERM, errno.EPERM, 0]


def test_without_the_filter_some_of_these_calls_get_another_answer(sandbox: Sandbox) -> None:
    """So that the test above does not only see what the kernel refuses anyway."""
    got = sandbox.value(
        CALL + "value = {n: call(extra[n], 0, 0, 0, 0, 0) for n in extra}", extra=numbers(), without=["seccomp"]
    )
    others = sorted(name for name, code in got.items() if code != errno.EPERM)
    assert {"io_uring_setup", "ptrace", "keyctl", "process_vm_readv", "kcmp"} <= set(others)


def test_namespaces_cannot_be_made_and_clone3_sends_the_c_library_to_clone(sandbox: Sandbox) -> None:
    unshare, clone, clone3 = (272, 56, 435) if X86 else (97, 220, 435)
    code = (
        CALL
        + f"""
flags = {{"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
         "net": 0x40000000, "time": 0x80}}
value = {{"unshare": [call({unshare}, flag) for flag in flags.values()],
         "clone": [call({clone}, flag | 17, 0, 0, 0, 0) for name, flag in flags.items() if name != "time"],
         "clone_parent": call({clone}, 0x8000 | 17, 0, 0, 0, 0), "clone3": call({clone3}, 0, 0),
         "upper_bits": call({clone}, 0x10000000 | 17 | (1 << 40), 0, 0, 0, 0)}}
"""
    )
    got = sandbox.value(code)
    assert set(got["unshare"]) == set(got["clone"]) == {errno.EPERM}
    assert (got["clone_parent"], got["upper_bits"], got["clone3"]) == (errno.EPERM, errno.EPERM, errno.ENOSYS)


@pytest.mark.skipif(not X86, reason="not tested: x32 exists on x86-64 only")
def test_calls_of_another_architecture_are_unknown(sandbox: Sandbox) -> None:
    assert sandbox.value(CALL + "value = call(0x40000000 + 39)") == errno.ENOSYS


def test_of_socket_families_only_unix_internet_and_routes_can_be_had(sandbox: Sandbox) -> None:
    got = sandbox.value("""
        import socket
        def make(family, kind=socket.SOCK_STREAM, protocol=0):
            try:
                socket.socket(family, kind, protocol).close()
            except OSError as error:
                return error.errno
            return 0
        value = {"unix": make(1), "inet": make(2), "inet6": make(10), "route": make(16, socket.SOCK_RAW, 0),
                 "others": {number: make(number) for number in [*range(3, 10), *range(11, 16), *range(17, 48)]},
                 "netlink": [make(16, socket.SOCK_RAW, protocol) for protocol in range(1, 23)],
                 "packet": make(17, socket.SOCK_RAW), "vsock": make(40), "alg": make(38, socket.SOCK_SEQPACKET)}
    """)
    assert (got["unix"], got["inet"], got["route"]) == (0, 0, 0)
    assert got["inet6"] in (0, errno.EAFNOSUPPORT)  # a machine may have no IPv6
    assert set(got["others"].values()) == set(got["netlink"]) == {errno.EAFNOSUPPORT}
    assert got["packet"] == got["vsock"] == got["alg"] == errno.EAFNOSUPPORT


def test_without_network_there_are_unix_sockets_only(sandbox: Sandbox) -> None:
    got = sandbox.value(
        """
        import socket
        value = []
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.socket(family)
            except PermissionError as error:
                value.append(error.errno)
        one, other = socket.socketpair()
        one.send(b"x")
        other.recv(1)
    """,
        spec={"network": False},
    )
    assert got == [errno.EPERM, errno.EPERM]


def test_a_terminal_cannot_be_typed_into(sandbox: Sandbox) -> None:
    got = sandbox.value("""
        import fcntl
        value = []
        for request in (0x5412, 0x541c, 0x5412 | (1 << 32)):
            try:
                import ctypes
                libc = ctypes.CDLL(None, use_errno=True)
                libc.ioctl(0, ctypes.c_ulong(request), b"x")
                value.append(ctypes.get_errno())
            except OSError as error:
                value.append(error.errno)
    """)
    assert got == [errno.EPERM] * 3


def test_the_personality_can_be_asked_and_not_changed(sandbox: Sandbox) -> None:
    number = 135 if X86 else 92
    code = CALL + f"value = [call({number}, 0xffffffff), call({number}, 0x0040000), call({number}, 0x0400000)]"
    assert sandbox.value(code) == [0, errno.EPERM, errno.EPERM]


def test_no_capability_is_left_and_none_can_come_back(sandbox: Sandbox) -> None:
    status: dict[str, str] = sandbox.value("""
        import subprocess
        def state(text):
            return dict(line.split(":\\t", 1) for line in text.splitlines() if ":\\t" in line)
        own = state(open("/proc/self/status").read())
        made = state(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
        keys = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
        value = {"own": [own[key].strip() for key in keys], "child": [made[key].strip() for key in keys]}
    """)
    nothing = "0" * 16
    assert status["own"] == status["child"] == [nothing] * 5 + ["1", "2"]


def test_uid_0_cannot_become_another_user_or_change_owners(sandbox: Sandbox) -> None:
    got: Any = sandbox.value("""
        import os
        def refused(call, *given):
            try:
                call(*given)
            except OSError:
                return True
            return False
        open("mine", "w").write("1")
        value = [refused(os.setuid, 1), refused(os.setgroups, [0]), refused(os.chown, "mine", 1, 1),
                 refused(os.mknod, "device", 0o20666, os.makedev(1, 1)), refused(os.nice, -5), os.geteuid()]
    """)
    assert got == [True] * 5 + [sandbox.uid]


def test_other_processes_memory_and_environment_are_out_of_reach(sandbox: Sandbox) -> None:
    sandbox.need("pid_namespace")
    got = sandbox.value("""
        import os
        def text(path):
            try:
                return len(open(path, "rb").read(64))
            except OSError:
                return None
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        value = [pids, os.getpid(), *(text(f"/proc/1/{name}") for name in ("environ", "mem", "maps", "auxv", "stack"))]
        for name in ("root", "cwd", "exe", "fd"):
            try:
                value.append(os.listdir(f"/proc/1/{name}") if name != "exe" else os.readlink("/proc/1/exe"))
            except OSError:
                pass
    """)
    assert got[:2] == [[1, 2], 2]
    assert not [one for one in got[2:] if one], got
