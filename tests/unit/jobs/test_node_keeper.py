"""A node's keeper of workers, and the workers that tasks have of it, without a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fused._jobs import node_worker
from fused._jobs.node_worker import NodeError, NodeWorker
from tests.processes import is_alive
from tests.until import until

LIMITS = {
    "wall_ms": 120_000, "memory_bytes": 4 << 30, "stream_bytes": 8 << 20, "result_bytes": 512 << 20, "processes": 512,
    "descriptors": 4_096, "disk_written_bytes": 8 << 30, "files_made": 100_000,
}  # fmt: skip
SETTINGS: dict[str, Any] = {"environment": [], "sandbox": {"isolation": "auto", "network": True}}

HOLDS_ONE = """
import json, sys
from fused._jobs.node_worker import NodeWorker
worker = NodeWorker(json.loads(sys.argv[1]), json.loads(sys.argv[2]), {})
worker.wait_until_ready()
print(worker.pid, worker.scratch, flush=True)
sys.stdin.read()
"""


def keepers(folder: Path) -> list[int]:
    """Whose current folder it is."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_one = b"fused._jobs.node_keeper" in (process / "cmdline").read_bytes()
            if process.name.isdigit() and is_one and os.readlink(process / "cwd") == str(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("a-name-that-makes-the-path-longer-than-a-socket-s-may-be-" + "x" * 60)
    monkeypatch.setenv("FUSED_NODE_DATA", str(made))
    yield made
    for pid in keepers(made):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def begun(folder: Path) -> Iterator[Callable[[], NodeWorker]]:
    made: list[NodeWorker] = []

    def begin() -> NodeWorker:
        worker = NodeWorker(SETTINGS, LIMITS, {})
        made.append(worker)
        worker.wait_until_ready()
        return worker

    yield begin
    for worker in made:
        worker.close()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_workers_come_from_one_zygote_that_outlives_them(folder: Path, begun: Callable[[], NodeWorker]) -> None:
    first = begun()
    zygote = parent(first.pid)
    assert first.usage()["processes"] >= 1 and Path(first.scratch).is_dir()
    assert first.kill() and not is_alive(first.pid)
    first.close()
    assert not Path(first.scratch).exists()
    second, third = begun(), begun()
    assert parent(second.pid) == parent(third.pid) == zygote and second.pid != third.pid
    assert parent(zygote) == keepers(folder)[0] and len(keepers(folder)) == 1
    assert parent(keepers(folder)[0]) != os.getpid(), "Ray would end it with the process that started it"


def test_a_worker_ends_with_the_process_that_has_it(folder: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_ONE, json.dumps(SETTINGS), json.dumps(LIMITS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    pid, scratch = holder.stdout.readline().split()
    assert is_alive(int(pid)) and Path(scratch).is_dir()
    holder.kill()
    holder.wait()
    until(lambda: not is_alive(int(pid)))
    until(lambda: not Path(scratch).exists())
    assert keepers(folder)


def test_a_killed_keeper_ends_its_workers_and_is_followed_by_another(
    folder: Path, begun: Callable[[], NodeWorker]
) -> None:
    first = begun()
    [keeper] = keepers(folder)
    os.kill(keeper, signal.SIGKILL)
    assert first.exited(30), "the task must hear that its worker is gone"
    until(lambda: not is_alive(first.pid))
    second = begun()
    assert is_alive(second.pid) and keepers(folder) != [keeper]


def test_a_keeper_that_nobody_needs_leaves(
    folder: Path, begun: Callable[[], NodeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSED_NODE_IDLE_SECONDS", "0.2")
    worker = begun()
    [keeper] = keepers(folder)
    zygote = parent(worker.pid)
    worker.kill()
    worker.close()
    until(lambda: not is_alive(keeper) and not is_alive(zygote))
    assert not list(folder.glob("*.sock"))


def test_nobody_reads_a_secret_in_the_keeper(
    folder: Path, begun: Callable[[], NodeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSED_DRIVER_TOKEN", "planted-1")
    monkeypatch.setitem(SETTINGS, "environment", ["FUSED_SHARED_KEY=planted-2"])
    begun()
    [keeper] = keepers(folder)
    for process in (
        keeper,
        *(int(child) for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()),
    ):
        seen = Path(f"/proc/{process}/cmdline").read_bytes() + Path(f"/proc/{process}/environ").read_bytes()
        assert b"planted" not in seen, seen


def test_another_environment_has_another_keeper(folder: Path, begun: Callable[[], NodeWorker]) -> None:
    first = begun()
    other = NodeWorker({**SETTINGS, "environment": ["LANG=C.UTF-8"]}, LIMITS, {})
    try:
        other.wait_until_ready()
        assert parent(other.pid) != parent(first.pid) and len(keepers(folder)) == 2
    finally:
        other.close()


def test_a_keeper_that_cannot_start_is_an_error_that_says_where(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_worker.sys, "executable", "/bin/false")
    with pytest.raises(NodeError, match=r"did not start in .* \(status 1\)"):
        NodeWorker(SETTINGS, LIMITS, {})
    assert not list((folder / "scratch").iterdir())
