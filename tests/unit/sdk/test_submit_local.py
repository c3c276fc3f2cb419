"""Local processes of `fused.submit`: what ends, hangs, floods and forks stays the trouble of one call."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._submit import local_nursery
from fused._submit.arguments import Arguments
from fused._submit.job_pool import JobPool
from fused._submit.local import LocalRun
from fused.errors import UdfRuntimeError, UdfSerializationError, UdfTimeoutError
from tests.processes import children_of
from tests.until import until


@fused.udf
def breaks(how: str, path: str = ""):
    import os
    import pathlib
    import signal
    import sys

    if path:
        with pathlib.Path(path).open("a") as tried:
            tried.write("x")
    print(f"before {how}", flush=True)
    if how == "exit":
        os._exit(3)
    if how == "sys.exit":
        sys.exit(4)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "close":
        os.closerange(3, 256)
    if how == "fork" and os.fork() == 0:
        return "the child"
    if how == "lambda":
        return lambda: 1
    if how == "raise":
        raise ValueError("no")
    if how == "twice" and len(pathlib.Path(path).read_text()) < 2:
        os._exit(5)
    if how == "third" and len(pathlib.Path(path).read_text()) < 3:
        raise ValueError("not yet")
    return how


def pool_of(items: list[Any], udf: Any = breaks, workers: int = 2, **more: Any) -> Any:
    return fused.submit(udf, items, engine="local", max_workers=workers, **more)


def processes_of(mark: str) -> list[int]:
    """Processes that have ``mark`` in their environment and are no zombies."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            held = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
            state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in held and state != "Z":
            found.append(int(name))
    return found


def _runs(pid: int) -> bool:
    try:
        return pid != 0 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- one call breaks, the others do not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("exit", "ended with code 3 before the call gave a result"),
        ("kill", r"signal 9 \(SIGKILL\)"),
        ("close", "ended with code 1|closed descriptors that are not its own"),
    ],
)
def test_a_call_that_ends_its_process_fails_alone_and_its_output_stays(how: str, says: str) -> None:
    pool = pool_of(["a", how, *"bcdefgh"], max_retry=0)
    pool.wait()
    assert pool.status().to_dict() == {"success": 8, "error": 1}
    assert isinstance(pool.errors()[1], UdfRuntimeError) and re.search(says, str(pool.errors()[1])), pool.errors()
    assert pool.logs()[1].startswith(f"before {how}\n")
    assert [pool[index].result() for index in (0, *range(2, 9))] == list("abcdefgh")


def test_a_call_that_raises_SystemExit_fails_and_its_process_goes_on() -> None:
    pool = pool_of(["a", "sys.exit", "b"], workers=1)
    pool.wait()
    assert isinstance(pool.errors()[1], SystemExit) and pool.success() == {0: "a", 2: "b"}


def test_a_child_that_comes_back_through_the_call_gives_no_second_result() -> None:
    pool = pool_of(["fork", "a", "b"], workers=1)
    assert pool.results() == ["fork", "a", "b"]
    assert [pool[index].attempts() for index in range(3)] == [1, 1, 1]


def test_a_value_that_cannot_leave_its_process_is_told() -> None:
    pool = pool_of(["lambda", "a"])
    pool.wait()
    assert isinstance(pool.errors()[0], UdfSerializationError) and "cannot leave the process" in str(pool.errors()[0])
    assert pool[1].result() == "a"


def test_an_exception_that_cannot_be_unpacked_is_told_as_text() -> None:
    @fused.udf
    def odd(n: int):
        class Odd(Exception):
            def __init__(self, one, two):
                super().__init__(f"{one} and {two}")

        raise Odd("this", "that")

    pool = pool_of([1], odd)
    pool.wait()
    error = pool.first_error()
    assert isinstance(error, UdfRuntimeError) and error.exception_class == "Odd" and "this and that" in str(error)
    assert "raise Odd" in error.udf_traceback


# -- retries ----------------------------------------------------------------------------------------------------------


def test_by_default_only_what_the_function_is_not_to_blame_for_is_tried_again(tmp_path: Path) -> None:
    lost, raised = str(tmp_path / "lost"), str(tmp_path / "raised")
    pool = pool_of([{"how": "twice", "path": lost}, {"how": "raise", "path": raised}])
    pool.wait()
    assert pool[0].result() == "twice" and pool[0].attempts() == 2
    assert isinstance(pool.errors()[1], ValueError) and pool[1].attempts() == 1
    assert Path(lost).read_text() == "xx" and Path(raised).read_text() == "x"


def test_max_retry_as_given_counts_for_every_failure(tmp_path: Path) -> None:
    path = str(tmp_path / "tries")
    assert pool_of([{"how": "third", "path": path}], max_retry=2).results() == ["third"]
    assert Path(path).read_text() == "xxx"
    once = str(tmp_path / "once")
    pool = pool_of([{"how": "third", "path": once}], max_retry=1)
    pool.wait()
    assert pool.status().to_dict() == {"error": 1} and Path(once).read_text() == "xx"


def test_a_call_whose_process_always_ends_stops_after_two_retries(tmp_path: Path) -> None:
    path = str(tmp_path / "tries")
    pool = pool_of([{"how": "exit", "path": path}, {"how": "a"}])
    pool.wait()
    assert pool.status().to_dict() == {"success": 1, "error": 1} and Path(path).read_text() == "xxx"


def test_retry_runs_only_what_failed(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in "ab"]
    pool = pool_of([{"how": "third", "path": paths[0]}, {"how": "a", "path": paths[1]}])
    pool.wait()
    for _ in range(2):
        assert pool.any_failed()
        pool.retry()
        pool.wait()
    assert pool.results() == ["third", "a"]
    assert Path(paths[1]).read_text() == "x" and pool[0].attempts() == 3
    pool.retry()  # nothing failed: nothing happens
    assert pool.done() and pool.total_time(since_retry=True) <= pool.total_time()


# -- time limits, cancel ----------------------------------------------------------------------------------------------


def test_a_call_over_the_functions_own_limit_is_ended_and_is_a_timeout() -> None:
    @fused.udf(limits={"wall_seconds": 1})
    def slow(n: int):

        if n == 1:
            time.sleep(600)
        return n

    pool = pool_of([0, 1, 2, 3], slow, max_retry=0)
    pool.wait()
    assert pool.status().to_dict() == {"success": 3, "timeout": 1}
    assert isinstance(pool.errors()[1], UdfTimeoutError) and "limit of 1 s" in str(pool.errors()[1])


STUBBORN = """
    @fused.udf
    def stubborn(n: int):
        import os, pathlib, signal, subprocess, sys, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:                      # a daemon: its parent ends, its session is its own
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        subprocess.Popen(["sleep", "600"])
        pathlib.Path(os.environ["MARK"], str(n)).touch()
        while True:
            time.sleep(600)

    pool = fused.submit(stubborn, range(6), engine="local", max_workers=3)
    while len(os.listdir(os.environ["MARK"])) < 3:
        time.sleep(0.01)
"""


def script(tmp_path: Path, rest: str) -> subprocess.Popen[str]:
    """A process of its own, so that its descendants can be told from all others by their environment."""
    mark = tmp_path / "mark"
    mark.mkdir()
    text = "import os, signal, sys, time\nimport fused\n" + textwrap.dedent(STUBBORN) + textwrap.dedent(rest)
    (tmp_path / "script.py").write_text(text)
    environment = {**os.environ, "MARK": str(mark), "PYTHONPATH": str(Path(fused.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_cancel_ends_every_process_also_daemons_and_those_that_ignore_signals(tmp_path: Path) -> None:
    rest = """
        pool.cancel(wait=True)
        print(pool.status().to_dict(), flush=True)
        sys.stdin.read()
    """
    environment = script(tmp_path, rest.replace("sys.stdin.read()", "time.sleep(600)"))
    try:
        assert environment.stdout is not None
        assert environment.stdout.readline() == "{'cancelled': 6}\n"
        assert processes_of(str(tmp_path / "mark")) == [environment.pid]
    finally:
        environment.kill()
        environment.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_lives_on_when_the_caller_is_killed(tmp_path: Path, number: int) -> None:
    caller = script(tmp_path, "print('ready', flush=True)\ntime.sleep(600)\n")
    assert caller.stdout is not None and caller.stdout.readline() == "ready\n"
    mark = str(tmp_path / "mark")
    assert len(processes_of(mark)) >= 10
    caller.send_signal(number)
    caller.wait()
    until(lambda: not processes_of(mark))


def test_one_call_can_be_cancelled(tmp_path: Path) -> None:
    @fused.udf
    def waits(path: str):
        import pathlib

        while path and not pathlib.Path(path).exists():
            time.sleep(0.01)
        return path

    gate = str(tmp_path / "gate")
    pool = pool_of([gate, gate, gate, "", gate], waits)
    until(lambda: len(pool.running()) == 2)
    pool[0].cancel()  # runs
    pool[4].cancel()  # waits
    until(lambda: pool[0].done() and pool[4].done())
    Path(gate).touch()
    pool.wait()
    assert list(pool.cancelled()) == [0, 4] and pool.success() == {1: gate, 2: gate, 3: ""}


def test_when_the_process_that_starts_workers_is_killed_the_pool_says_so_and_can_go_on(tmp_path: Path) -> None:
    @fused.udf
    def waits(path: str):
        import pathlib

        while not pathlib.Path(path).exists():
            time.sleep(0.01)
        return path

    gate = str(tmp_path / "gate")
    pool = pool_of([gate] * 4, waits)
    until(lambda: pool.running())
    workers = [worker.pid for worker in until(lambda: pool._engine._workers).values()]
    os.kill(pool._engine._nursery, signal.SIGKILL)
    with pytest.raises(fused.errors.FusedError, match="was ended from outside"):
        pool.wait()
    until(lambda: not any(_runs(pid) for pid in workers))
    Path(gate).touch()
    pool.retry()
    assert pool.results() == [gate] * 4


def test_workers_that_end_before_any_call_end_the_pool_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(udf: Any, arguments: Any, places: Any) -> None:
        os.write(places.stderr, b"no memory for a worker\n")
        os._exit(9)

    with monkeypatch.context() as during:
        during.setattr(local_nursery, "work", broken)
        pool = pool_of(["a"] * 5)
        with pytest.raises(fused.errors.FusedError, match=r"(?s)3 workers in a row .*code 9 .*no memory for a worker"):
            pool.wait()
    assert pool.status().to_dict() == {"pending": 5}
    pool.retry()
    assert pool.results() == ["a"] * 5


# -- how calls are shared out -----------------------------------------------------------------------------------------


def test_calls_do_not_wait_behind_a_long_one_while_a_worker_is_free(tmp_path: Path) -> None:
    @fused.udf
    def mixed(n: int, gate: str = ""):
        import pathlib

        while n == 2_000 and not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return n

    gate = tmp_path / "gate"
    pool = pool_of(list(range(4_000)), mixed, gate=str(gate))
    until(lambda: pool.table.finished == 3_999)  # the other worker took what waited behind call 2,000
    gate.touch()
    assert pool.results() == list(range(4_000))
    assert pool.table.attempts.tolist() == [1] * 4_000


def test_without_max_workers_waiting_calls_get_more_processes_than_cores(tmp_path: Path) -> None:
    @fused.udf
    def meets(folder: str, n: int, all_of_them: int):
        import pathlib

        pathlib.Path(folder, str(n)).touch()
        while len(list(pathlib.Path(folder).iterdir())) < all_of_them:
            time.sleep(0.02)
        return n

    count = min(32, 2 * len(os.sched_getaffinity(0)) + 1)
    shared = {"folder": str(tmp_path), "all_of_them": count}
    assert fused.submit(meets, [{"n": n} for n in range(count)], engine="local", **shared).results() == [*range(count)]


# -- much of everything -----------------------------------------------------------------------------------------------


def test_output_without_end_keeps_head_and_tail_and_a_count() -> None:
    @fused.udf
    def loud(n: int):
        import os
        import sys

        print("head")
        for _ in range(2_000):
            os.write(1, b"\xff" * 8_192)
        print("tail")
        sys.stderr.write("err")
        return n

    pool = pool_of([1, 2], loud)
    pool.wait()
    for text in pool.logs():
        assert text.startswith("head\n") and text.endswith("tail\nerr") and "bytes left out" in text
        assert len(text) < 70_000


def test_output_of_child_processes_and_C_libraries_belongs_to_the_call() -> None:
    @fused.udf
    def shell(n: int):
        import subprocess

        print("python")
        subprocess.run(["echo", f"child {n}"], check=True)
        return n

    pool = pool_of(list(range(20)), shell, workers=1)
    pool.wait()
    assert pool.logs() == [f"python\nchild {n}\n" for n in range(20)]


def test_large_results_come_whole_and_go_to_a_file_beyond_the_bound() -> None:
    @fused.udf
    def large(n: int):
        return bytes([n]) * 3_000_000

    arguments = Arguments({"n": list(range(8))}, 8, {})

    def engine(table: Any) -> LocalRun:
        options = {"max_workers": 2, "grows": False, "max_retry": 2, "retries_failures": False, "wall_seconds": None}
        return LocalRun(large, arguments, table, **options)  # type: ignore[arg-type]

    pool = JobPool(large, "large", arguments, engine, memory_bytes_max=4_000_000)
    assert [(value[0], len(value)) for value in pool.results()] == [(n, 3_000_000) for n in range(8)]
    assert pool.table.bytes_in_file > 20_000_000


def test_a_hundred_thousand_calls_keep_their_order_and_every_status() -> None:
    @fused.udf
    def tiny(n: int):
        if n % 1_000 == 7:
            raise ValueError(n)
        return n

    pool = pool_of(list(range(100_000)), tiny)
    pool.wait()
    assert pool.status().to_dict() == {"success": 99_900, "error": 100}
    assert [error.args[0] for error in pool.errors().values()] == list(range(7, 100_000, 1_000))
    assert all(value == index for index, value in pool.success().items())


def test_nothing_is_left_of_a_pool_that_is_done() -> None:
    before = len(os.listdir("/proc/self/fd"))
    others = set(children_of(os.getpid()))
    for _ in range(5):
        pool = pool_of(["a", "exit", "b"], max_retry=0)
        pool.wait()
        assert pool._engine.join(30)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert set(children_of(os.getpid())) <= others
