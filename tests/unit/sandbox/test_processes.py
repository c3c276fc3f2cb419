"""Workers and what they start: found, counted and ended."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from .conftest import PACKAGES, Sandbox, as_nobody, native_path, python_for_nobody

WEAKER = {
    "pid namespace": [],
    "process tree": ["mount_namespace"],
    "nothing of the kind": ["mount_namespace", "landlock_scope"],
}

# Daemons in every way that a process can hide from its parent.
SCATTER = """
import os, signal, subprocess, sys, time
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            os.closerange(0, 64)
            time.sleep(600)
        os._exit(0)
    os.wait()
for _ in range(5):
    daemon()
children = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(5)]
time.sleep(0.05)
"""


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(what: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("machine", ["pid namespace", "process tree"])
def test_the_worker_ends_whatever_a_run_started(sandbox: Sandbox, machine: str) -> None:
    sandbox.need("landlock_scope", *(["pid_namespace"] if machine == "pid namespace" else []))
    value = sandbox.value(
        SCATTER
        + """
first, again = native.end_children(), native.end_children()
left = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > 2]
value = [first, again, left if extra else []]
""",
        without=WEAKER[machine],
        extra=machine == "pid namespace",
    )
    assert value == [10, 0, []]


def test_where_signals_cannot_be_told_apart_they_are_refused_and_the_watch_ends_the_group(sandbox: Sandbox) -> None:
    answer = sandbox.run(SCATTER + """
def refused(pid, number):
    try:
        os.kill(pid, number)
    except PermissionError:
        return True
    return False
value = [native.end_children(), refused(os.getppid(), 0), refused(-1, 9), refused(1, 0), refused(os.getpid(), 0),
         refused(0, 0), refused(children[0].pid, 9)]
""", without=WEAKER["nothing of the kind"], outside="""
import os
before = native.group_usage(pid, data + "/scratch/7", 1 << 30)["processes"]
seen = [before, native.end_group(pid)]
""")  # fmt: skip
    assert answer["value"] == [-1, True, True, True, False, False, True]
    assert answer["seen"] == [11, 11]
    assert os.WTERMSIG(answer["status"]) == signal.SIGKILL


def test_landlock_refuses_signals_to_strangers_and_allows_them_to_children(sandbox: Sandbox) -> None:
    sandbox.need("landlock_scope")
    value = sandbox.value(
        """
        import os, signal, subprocess
        def refused(pid):
            try:
                os.kill(pid, 0)
            except PermissionError:
                return True
            return False
        child = subprocess.Popen(["sleep", "60"])
        value = [refused(os.getppid()), refused(1), refused(os.getpid()), refused(child.pid)]
        child.kill()
        value.append(child.wait())
        os.setpriority
    """,
        without=WEAKER["process tree"],
    )
    assert value == [True, True, False, False, -signal.SIGKILL]


def test_limits_and_priorities_of_strangers_cannot_be_changed(sandbox: Sandbox) -> None:
    value = sandbox.value(
        """
        import os, resource
        def refused(call, *given):
            try:
                call(*given)
            except OSError:
                return True
            return False
        other = os.getppid()
        value = [refused(resource.prlimit, other, resource.RLIMIT_NOFILE), refused(os.sched_setaffinity, other, {0}),
                 refused(os.setpriority, os.PRIO_PROCESS, other, 5), refused(os.sched_setscheduler, other, os.SCHED_BATCH, os.sched_param(0)),
                 refused(resource.prlimit, 0, resource.RLIMIT_NOFILE), refused(os.setpriority, os.PRIO_PROCESS, 0, 1)]
    """,
        without=["mount_namespace"],
    )
    assert value == [True, True, True, True, False, False]


def test_kill_minus_one_reaches_nobody_else(sandbox: Sandbox) -> None:
    sandbox.need("pid_namespace")
    stranger = subprocess.Popen(as_nobody(["sleep", "60"]) if sandbox.ordinary else ["sleep", "60"])
    try:
        value = sandbox.value("""
            import os, signal, subprocess
            child = subprocess.Popen(["sleep", "60"])
            os.kill(-1, signal.SIGKILL)
            value = [child.wait()]
            try:
                os.kill(1, signal.SIGKILL)  # refused, or without effect on an init process
            except PermissionError:
                pass
            value.append(os.getppid())
        """)
        assert value == [-signal.SIGKILL, 1]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    ("ending", "signal_number", "code"),
    [("os.kill(os.getpid(), 9)", 9, None), ("os.abort()", 6, None), ("ctypes.string_at(0)", 11, None),
     ("os.kill(os.getpid(), 15)", 15, None), ("os._exit(3)", None, 3), ("os._exit(137)", None, 137)],
)  # fmt: skip
def test_the_status_of_a_worker_is_its_own(
    sandbox: Sandbox, ending: str, signal_number: int | None, code: int | None
) -> None:
    status = sandbox.run(f"import ctypes, os\n{ending}")["status"]
    assert (os.WTERMSIG(status) if os.WIFSIGNALED(status) else None) == signal_number
    assert (os.WEXITSTATUS(status) if os.WIFEXITED(status) else None) == code


def test_when_the_worker_ends_all_that_it_started_is_gone(sandbox: Sandbox) -> None:
    sandbox.need("pid_namespace")
    mark = f"fused-mark-{os.getpid()}-{sandbox.uid}"
    sandbox.run(SCATTER.replace('["sleep", "600"]', f'["bash", "-c", "exec -a {mark} sleep 600"]') + "os._exit(0)")
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _text(path)]
    assert found == []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize("machine", ["pid namespace", "process tree"])
def test_a_worker_dies_with_its_zygote(sandbox: Sandbox, machine: str) -> None:
    if machine == "pid namespace":
        sandbox.need("pid_namespace")
    python = python_for_nobody() if sandbox.ordinary else sys.executable
    text = textwrap.dedent(f"""
        import json, os, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import driver
        native = driver.load_native({str(native_path())!r})
        order = {{"data": {str(sandbox.data)!r}, "native": {str(native_path())!r}, "without": {WEAKER[machine]!r}}}
        pid = native.fork_worker("auto", order["without"])
        if pid == 0:
            native.enter_sandbox(json.dumps(driver.spec_of(order)))
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            print("up", flush=True)
            time.sleep(600)
        print(pid, flush=True)
        time.sleep(600)
    """)
    command = [str(python), "-c", text]
    zygote = subprocess.Popen(
        as_nobody(command) if sandbox.ordinary else command, stdout=subprocess.PIPE, text=True, cwd="/",
        env={"PYTHONPATH": PACKAGES, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert zygote.stdout is not None
    lines = {zygote.stdout.readline().strip(), zygote.stdout.readline().strip()}
    worker = int((lines - {"up"}).pop())
    assert exists(worker)
    zygote.kill()
    zygote.wait()
    wait_until(lambda: not exists(worker))
    if machine == "pid namespace":
        zygote.stdout.read()  # ends when the last process that holds the pipe is gone
    zygote.stdout.close()


def test_a_signal_to_the_init_process_is_passed_on_to_the_worker(sandbox: Sandbox) -> None:
    sandbox.need("pid_namespace")
    answer = sandbox.run(
        """
        import os, signal
        signal.signal(signal.SIGTERM, lambda *_: os._exit(23))
        """,
        outside="""
        import os, signal, time
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 120
        while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
            time.sleep(0.001)
        """,
    )
    assert os.WEXITSTATUS(answer["status"]) == 23


def test_a_worker_has_a_session_of_its_own_and_dies_first(sandbox: Sandbox) -> None:
    value = sandbox.value("""
        import os
        value = [os.getsid(0) == os.getpid() == os.getpgid(0), open("/proc/self/oom_score_adj").read().strip()]
    """)
    assert value == [True, "1000"]


def test_a_hundred_workers_one_after_the_other_leave_nothing_with_the_zygote(sandbox: Sandbox) -> None:
    answer = sandbox.run(
        "pass",
        outside="""
        import os, random, threading
        def state():
            maps = open("/proc/self/maps").read().count("\\n")
            return maps, len(os.listdir("/proc/self/fd"))
        numbers = set()
        seen = []
        for round in range(100):
            read, write = os.pipe()
            one = native.fork_worker("auto")
            if one == 0:
                text = f"{os.getpid() == __import__('threading').get_native_id()} {os.sched_getcpu() if hasattr(os, 'sched_getcpu') else 0}"
                threads = [threading.Thread(target=lambda: None) for _ in range(3)]
                [t.start() for t in threads]
                [t.join() for t in threads]
                os.write(write, text.encode())
                os._exit(round % 100)
            os.close(write)
            answer = os.read(read, 100)
            os.close(read)
            _, status = os.waitpid(one, 0)
            numbers.add(answer.split()[0])
            assert os.WEXITSTATUS(native.worker_status(one, status)) == round, (round, status)
            if round in (20, 99):
                seen.append(state())
        assert numbers == {b"True"}, numbers
    """,
    )
    assert answer["seen"][0] == answer["seen"][1]
