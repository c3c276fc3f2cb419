"""Several processes and one entry: one computes, and whatever happens to it the others go on."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._cache.errors import CacheResultError
from tests.counts import tell

Start = Callable[..., "subprocess.Popen[str]"]
KILLS = 1000 if os.environ.get("FUSED_TEST_LONG") else 100

WORK = """
import fused, os, sys, time
@fused.cache(path="shared", concurrent_lock_timeout=60)
def work(x):
    with open(os.environ["LOG"], "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(float(os.environ.get("SECONDS", "0.3")))
    if os.environ.get("FAIL"):
        raise LookupError("no such thing")
    return {"x": x}
print("ready", flush=True)
sys.stdin.readline()
began = time.monotonic()
try:
    print(work(1), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []


def begin(start: Start, tmp_path: Path, number: int, **environment: str) -> list[subprocess.Popen[str]]:
    processes = [start(WORK, LOG=str(tmp_path / "log"), **environment) for _ in range(number)]
    for process in processes:
        assert line(process) == "ready"
    return processes


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def waiters(folder: Path) -> int:
    """How many threads of any process the kernel lets wait for a lock of this folder."""
    inodes = {str(path.stat().st_ino) for path in folder.rglob(".locks-*")}
    rows = [row.split() for row in Path("/proc/locks").read_text().splitlines()]
    return sum(row[1] == "->" and row[6].rpartition(":")[2] in inodes for row in rows)


def test_sixteen_processes_compute_a_value_once(start: Start, tmp_path: Path, log: Callable[[], list[str]]) -> None:
    processes = begin(start, tmp_path, 16)
    for process in processes:
        go(process)
    assert [line(process) for process in processes] == ["{'x': 1}"] * 16
    assert len(log()) == 1


def test_when_the_holder_is_killed_one_other_computes(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    holder, *others = begin(start, tmp_path, 5, SECONDS="2")
    go(holder)
    wait_for(log)
    for process in others:
        go(process)
    time.sleep(0.05)
    holder.kill()
    assert [line(process) for process in others] == ["{'x': 1}"] * 4
    assert len(log()) == 2


def test_waiting_processes_get_the_exception_and_later_calls_try_again(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    holder, *others = begin(start, tmp_path, 4, SECONDS="1", FAIL="1")
    go(holder)
    wait_for(log)
    for process in others:
        go(process)
    texts = [line(process) for process in (holder, *others)]
    assert all(text.startswith("LookupError no such thing") for text in texts), texts
    assert len(log()) == 1
    (later,) = begin(start, tmp_path, 1, SECONDS="0")
    go(later)
    assert line(later) == "{'x': 1}"
    assert len(log()) == 2


def test_an_exception_that_cannot_be_sent_arrives_as_text(start: Start, tmp_path: Path) -> None:
    code = WORK.replace('raise LookupError("no such thing")', "raise local()").replace(
        "def work(x):", "def work(x):\n    class local(Exception): pass"
    )
    processes = [start(code, LOG=str(tmp_path / "log"), SECONDS="1", FAIL="1") for _ in range(2)]
    for process in processes:
        assert line(process) == "ready"
    go(processes[0])
    wait_for((tmp_path / "log").exists)
    go(processes[1])
    text = line(processes[1])
    assert text.startswith(CacheResultError.__name__) and "failed with local" in text


def test_a_holder_that_hangs_is_waited_for_as_long_as_was_said(start: Start, tmp_path: Path) -> None:
    code = WORK.replace("concurrent_lock_timeout=60", 'concurrent_lock_timeout=float(os.environ["WAIT"])')
    holder = start(code, LOG=str(tmp_path / "log"), SECONDS="30", WAIT="60")
    waiter = start(code, LOG=str(tmp_path / "log"), WAIT="0.2")
    assert line(holder) == line(waiter) == "ready"
    go(holder)
    wait_for((tmp_path / "log").exists)
    os.kill(holder.pid, signal.SIGSTOP)
    go(waiter)
    assert line(waiter).startswith(
        "TimeoutError work: another process has been computing this value for more than 0.2 s"
    )
    os.kill(holder.pid, signal.SIGCONT)


def test_a_waiting_process_hardly_uses_the_processor(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    code = WORK.replace(
        "print(work(1), flush=True)", "u = os.times(); work(1); v = os.times(); print(v[0]+v[1]-u[0]-u[1])"
    )
    processes = [start(code, LOG=str(tmp_path / "log"), SECONDS="2") for _ in range(2)]
    for process in processes:
        assert line(process) == "ready"
    go(processes[0])
    wait_for(log)
    go(processes[1])
    assert float(line(processes[1])) < 0.2


def test_a_coroutine_that_waits_for_another_process_leaves_its_loop_free(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    code = WORK.replace("def work(x):", "async def work(x):").replace(
        "print(work(1), flush=True)",
        """
    import asyncio
    async def both():
        waits, ticks = asyncio.create_task(work(1)), 0
        while not waits.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return await waits, ticks > 20
    print(*asyncio.run(both()), flush=True)
""".strip(),
    )
    processes = [start(code, LOG=str(tmp_path / "log"), SECONDS="1") for _ in range(2)]
    for process in processes:
        assert line(process) == "ready"
    go(processes[0])
    wait_for(log)
    go(processes[1])
    assert line(processes[1]) == "{'x': 1} True" and len(log()) == 1


def test_a_wait_that_timed_out_leaves_no_thread_behind(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    code = WORK.replace(
        "print(work(1), flush=True)",
        """
    if "WAITS" not in os.environ:
        work(1)
    before = len(os.listdir("/proc/self/task"))
    for _ in range(20):
        try:
            work(1, concurrent_lock_timeout=0.01)
        except TimeoutError:
            pass
    print(len(os.listdir("/proc/self/task")) - before, flush=True)
""".strip(),
    )
    holder, waiter = start(code, LOG=str(tmp_path / "log"), SECONDS="30"), start(code, WAITS="1")
    assert line(holder) == line(waiter) == "ready"
    go(holder)
    wait_for(log)
    go(waiter)
    assert line(waiter) == "0"


def test_a_signal_ends_a_wait_for_another_process(
    start: Start, tmp_path: Path, log: Callable[[], list[str]], cache_folder: Path
) -> None:
    code = WORK.replace("except Exception as error", "except BaseException as error")
    holder, waiter = (start(code, LOG=str(tmp_path / "log"), SECONDS="30") for _ in range(2))
    assert line(holder) == line(waiter) == "ready"
    go(holder)
    wait_for(log)
    go(waiter)
    wait_for(lambda: waiters(cache_folder) == 1)
    waiter.send_signal(signal.SIGINT)
    assert line(waiter).startswith("KeyboardInterrupt")


def test_sixteen_callers_behind_a_killed_holder_compute_once(
    start: Start, tmp_path: Path, log: Callable[[], list[str]], cache_folder: Path
) -> None:
    holder, *others = begin(start, tmp_path, 17, SECONDS="4")
    go(holder)
    wait_for(log)
    for process in others:
        go(process)
    wait_for(lambda: waiters(cache_folder) == 16)
    holder.kill()
    assert [line(process) for process in others] == ["{'x': 1}"] * 16
    assert len(log()) == 2


HOLD = """
import fused, os, sys, time
@fused.cache(path="shared", cache_key_exclude=["computes"])
def work(x, computes):
    if computes:
        os.write(1, b"h\\n")
        time.sleep(60)
    return x
for text in sys.stdin:
    x = int(text)
    pid = os.fork()
    if pid == 0:
        work(x, True)
        os._exit(0)
    os.waitpid(pid, 0)
    began = time.monotonic()
    work(x, False)
    print(pid, time.monotonic() - began, flush=True)
"""


def test_after_a_holder_was_killed_the_next_caller_goes_on_at_once(start: Start) -> None:
    """``KILLS`` times: a process is killed while it computes, and the next caller has the lock at once."""
    process = start(HOLD)
    took = []
    for number in range(KILLS):
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert line(process) == "h"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        pid, seconds = line(process).split()
        assert pid == children[0]
        took.append(float(seconds))
    tell(f"{KILLS} killed holders: the slowest next caller took {max(took) * 1000:.1f} ms")
    assert sorted(took)[-3] < 1  # a disk may stall once


def test_a_child_of_the_holder_does_not_keep_its_lock(start: Start, tmp_path: Path) -> None:
    code = """
import fused, os, sys, time
@fused.cache(path="shared")
def work(x):
    if sys.argv[1] == "hold":
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        print("held", flush=True)
        time.sleep(60)
    return x
print(work(1), flush=True)
"""
    holder = start(code, "hold")
    assert line(holder) == "held"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    holder.kill()
    holder.wait()
    try:
        began = time.monotonic()
        assert line(start(code, "take")) == "1"
        assert time.monotonic() - began < 20, "the child lives for a minute"
    finally:
        os.kill(int(children[0]), signal.SIGKILL)


def test_a_child_forked_while_threads_compute_can_compute_itself(start: Start) -> None:
    code = """
import fused, os, threading, time
begun = threading.Event()
@fused.cache
def work(x, computes=True):
    begun.set()
    time.sleep(0.5)
    return x
thread = threading.Thread(target=work, args=(1,))
thread.start()
begun.wait()
pid = os.fork()
if pid == 0:
    assert work(1) == 1 and work(2) == 2
    os._exit(7)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert line(start(code)) == "7"


def test_reset_in_several_processes_at_once_computes_once_for_those_who_wait(
    start: Start, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    code = WORK.replace("print(work(1), flush=True)", "print(work(1, reset=True), flush=True)")
    processes = [start(code, LOG=str(tmp_path / "log"), SECONDS="1") for _ in range(4)]
    for process in processes:
        assert line(process) == "ready"
    go(processes[0])
    wait_for(log)
    for process in processes[1:]:
        go(process)
    assert [line(process) for process in processes] == ["{'x': 1}"] * 4
    assert len(log()) in (1, 2), "an entry made after somebody asked for a new one is new enough for him"


def test_a_folder_removed_while_it_is_used_is_made_again(cache_folder: Path) -> None:
    import shutil

    @fused.cache
    def work(x: int) -> int:
        return x

    for x in range(3):
        assert work(x) == x
        shutil.rmtree(cache_folder)
    assert work(1) == 1
    assert len(list(cache_folder.rglob("data_*"))) == 1


def test_locks_of_other_kinds_on_the_file_do_not_stop_anybody(cache_folder: Path) -> None:
    @fused.cache
    def work(x: int) -> int:
        return x

    work(1)
    (locks,) = cache_folder.rglob(".locks-*")
    with locks.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert work(2, concurrent_lock_timeout=1) == 2  # type: ignore[call-arg]
