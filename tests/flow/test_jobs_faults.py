"""Jobs on a disk that is full again and again, and on a clock that jumps: one end each, no result lost or doubled.

The ledger is this process: every call of the function tells it by a socket, which neither disk nor clock can stop.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import SERVER, Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import headers_of
from tests.flow.clock import FAKETIME, faked_clock
from tests.flow.jobs import get, log, submit, udf_step, until, values, wait

IS_LONG = os.environ.get("FUSED_TEST_LONG") == "1"
FULL_DISKS = int(os.environ.get("FUSED_TEST_FULL_DISKS") or (100 if IS_LONG else 4))
CLOCK_JUMPS = int(os.environ.get("FUSED_TEST_CLOCK_JUMPS") or (500 if IS_LONG else 20))
DISK_MEBIBYTES = 48

CALL = """\
@fused.udf
def udf(n: int, job: str, port: int, seconds: float, size: int = 0):
    import socket, time, uuid
    mark = uuid.uuid4().hex
    with socket.create_connection(("127.0.0.1", port)) as ledger:
        ledger.sendall(f"{job} {n} {mark}\\n".encode())
    print("task", n, flush=True)
    time.sleep(seconds)
    return [n, mark, "x" * size]
"""


class Ledger:
    """A line for each call of a function, wherever it was."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.lines: list[list[str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                data = b""
                while part := connection.recv(4096):
                    data += part
            self.lines += [line.split() for line in data.decode().splitlines()]

    def marks(self, job: str, task: int) -> list[str]:
        return [mark for name, number, mark in self.lines if (name, number) == (job, str(task))]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    kept = Ledger()
    yield kept
    kept.close()


def check(server: Server, ledger: Ledger, number: str, name: str, tasks: int) -> dict[str, Any]:
    """That the end of a job, its results and its attempts agree with the ledger; the job."""
    about = wait(server, number, 120)
    attempts = get(server, f"/api/v1/jobs/{number}", limit=1000)["attempts"]
    for task in range(tasks):
        ends = [each["ended_as"] for each in attempts if each["task"] == task]
        assert None not in ends and ends.count("done") <= 1, ends
        assert len(ledger.marks(name, task)) <= len(ends), "a call that the server does not know"
    if about["status"] == "done":
        found = values(server, number)
        assert [n for n, *_ in found] == list(range(tasks))
        assert all(mark in ledger.marks(name, n) for n, mark, _ in found), "a result that no call has made"
    assert wait(server, number)["status"] == about["status"], "an end is final"
    return about


def on_a_small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server whose data folder is a disk of its own, seen by it alone (`inside`)."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("not tested: this machine lets us mount no small disk (unshare -rm)")
    prepared, data, program = tmp_path / "prepared", tmp_path / "data", tmp_path / "on_a_small_disk"
    stop_server(start_server(prepared, workers=1))
    data.mkdir()
    shutil.copy(prepared / "token", data / "token")  # for us: the server's own view is the disk mounted above it
    program.write_text(
        "#!/bin/sh\nexec unshare -rm --propagation private sh -c "
        f"'mount -t tmpfs -o size={DISK_MEBIBYTES}m small {data} && cp -a {prepared}/. {data}/ && "
        f'exec {SERVER} "$@"\' sh "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("tests.conftest.SERVER", program)
    return start_server(data, workers=2)


def inside(server: Server) -> Path:
    """The server's data folder as it sees it."""
    return Path(f"/proc/{server.pid}/root{server.data}")


@contextlib.contextmanager
def full(server: Server) -> Iterator[None]:
    ballast = inside(server) / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), b"\0" * size)
    try:
        yield
    finally:
        ballast.unlink()


def test_a_full_disk_while_results_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    need_server()
    server = on_a_small_disk(tmp_path, monkeypatch)
    chance = random.Random(8)
    jobs: dict[str, tuple[str, int]] = {}
    refused = 0
    try:
        for number in range(FULL_DISKS):
            for each in range(2):
                name, tasks = f"{number}.{each}", chance.randint(1, 3)
                items = [
                    {"n": n, "job": name, "port": ledger.port, "seconds": chance.random() * 0.8, "size": 1 << 16}
                    for n in range(tasks)
                ]
                reply = submit(server, udf_step(CALL, items))
                assert reply.status_code == 200, reply.text
                jobs[reply.json()["job_id"]] = (name, tasks)
            time.sleep(chance.random() * 0.5)
            with full(server):
                reply = submit(server, udf_step(CALL, [{"n": 0, "job": "late", "port": ledger.port, "seconds": 0}]))
                refused += reply.status_code == 507
                assert reply.status_code in (200, 507), reply.text
                if reply.status_code == 200:
                    jobs[reply.json()["job_id"]] = ("late", 1)
                time.sleep(chance.random() * 1.5)
                assert requests.get(f"{server.base_url}/health", timeout=120).status_code == 200
        ends: dict[str, int] = {}
        for job, (name, tasks) in jobs.items():
            about = check(server, ledger, job, name, tasks)
            ends[about["status"]] = ends.get(about["status"], 0) + 1
            assert about["status"] in ("done", "failed"), about
            if about["status"] == "failed":
                assert "space" in about["error"], (about["error"], log(server, job)[-10:])
        health = get(server, "/health")
        assert health["jobs"]["open"] == 0 and health["read_only"] == "", health
        after = submit(server, udf_step(CALL, [{"n": 0, "job": "after", "port": ledger.port, "seconds": 0}]))
        assert wait(server, after.json()["job_id"])["status"] == "done"
        tell(f"{FULL_DISKS} full disks, {len(jobs)} jobs ({ends}), {refused} submissions refused, "
             f"{len(ledger.lines)} calls")  # fmt: skip
    finally:
        stop_server(server)


def test_jumps_of_the_clock(tmp_path: Path, ledger: Ledger) -> None:
    need_server()
    if not FAKETIME.exists():
        pytest.skip(f"not tested: {FAKETIME} is missing (apt-get install libfaketime)")
    told = tmp_path / "time"
    told.write_text("+0")
    server = start_server(tmp_path / "data", "--job-lease-ms", "3000", environment=faked_clock(told))
    chance = random.Random(9)
    jobs: dict[str, tuple[str, int]] = {}
    farthest = 0
    try:
        for number in range(CLOCK_JUMPS):
            if number % 3 == 0:
                name, tasks = str(number), chance.randint(1, 3)
                items = [{"n": n, "job": name, "port": ledger.port, "seconds": chance.random()} for n in range(tasks)]
                reply = submit(server, udf_step(CALL, items))
                assert reply.status_code == 200, reply.text
                jobs[reply.json()["job_id"]] = (name, tasks)
            seconds = chance.choice((-86_400, -3_600, -60, -3, 3, 60, 3_600, 86_400)) * chance.randint(1, 3)
            farthest = max(farthest, abs(seconds))
            aside = told.with_suffix(".new")
            aside.write_text(f"{seconds:+d}")
            aside.rename(told)
            time.sleep(chance.random() * 0.3)
        for job, (name, tasks) in jobs.items():
            about = check(server, ledger, job, name, tasks)
            assert about["status"] == "done", (about, log(server, job)[-8:])
            attempts = get(server, f"/api/v1/jobs/{job}", limit=1000)["attempts"]
            assert [each["ended_as"] for each in attempts] == ["done"] * tasks, "a jump has cost a task its lease"
            times = [line["timestamp"] for line in log(server, job)]
            assert times == sorted(times), "lines stay in order"
        days = {get(server, f"/api/v1/jobs/{job}")["submitted"][:10] for job in jobs}
        assert len(days) > 1, "the clock has not jumped"
        until(lambda: get(server, "/health")["jobs"]["open"] == 0)
        shown = requests.get(f"{server.base_url}/health", headers=headers_of(server), timeout=120)
        assert shown.status_code == 200
        tell(f"{CLOCK_JUMPS} jumps of the clock of up to {farthest // 86_400} days, {len(jobs)} jobs done, "
             f"each task in one attempt")  # fmt: skip
    finally:
        stop_server(server)
