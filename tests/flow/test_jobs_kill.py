"""Jobs when the server is killed, when their workers are, and when they do not want to end.

A ledger outside counts every start: a task may run more than once, its result is recorded once.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import uuid
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import headers_of
from tests.flow.jobs import ENDED, get, log, post, printed, status, submit, submitted, udf_step, until, values, wait
from tests.processes import children_of, is_alive

IS_LONG = os.environ.get("FUSED_TEST_LONG") == "1"
# In pieces, where a machine is shared: FUSED_TEST_KILLS and FUSED_TEST_CANCELS say how many, FUSED_TEST_SEED which.
KILLS = int(os.environ.get("FUSED_TEST_KILLS") or (500 if IS_LONG else 20))
CANCELS = int(os.environ.get("FUSED_TEST_CANCELS") or (1_000 if IS_LONG else 20))
SEED = int(os.environ.get("FUSED_TEST_SEED") or 6)

WORK = """\
@fused.udf
def udf(n: int, ledger: str, seconds: float):
    import os, time, uuid
    mark = uuid.uuid4().hex
    root = '/mount' if os.path.isdir('/mount') else os.environ['FUSED_MOUNT']
    with open(os.path.join(root, ledger), 'a') as file:
        file.write(f'{n} {mark}\\n')
    print('task', n, flush=True)
    time.sleep(seconds)
    return [n, mark]
"""


def processes_with(mark: str) -> list[int]:
    """Processes anywhere whose command line holds the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def process_of(server: Server, job: str) -> int:
    """The one task of the job that runs: as the server has noted it, to end it where it is left over."""
    folder = server.data / "jobs" / job / "processes"
    noted = until(lambda: [each.read_text().split() for each in folder.iterdir() if each.stat().st_size])
    assert len(noted) == 1
    return int(noted[0][0])


def processes_of_jobs(data: Path) -> list[int]:
    """All that run for jobs, as far as the server has noted their first."""
    found: list[int] = []
    for noted in data.glob("jobs/*/processes/*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid, started = map(int, noted.read_text().split())
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) == started:
                found += [pid, *children_of(pid)]
    return found


def test_jobs_survive_kills_of_the_server(tmp_path: Path) -> None:
    need_server()
    data = tmp_path / "data"
    chance = random.Random(SEED)
    server = start_server(data)
    jobs: dict[str, tuple[str, int]] = {}  # id: its ledger and how many tasks
    canceled: set[str] = set()
    ended: dict[str, str] = {}
    try:
        for _ in range(KILLS):
            for _ in range(chance.randint(0, 2)):
                ledger, tasks = f"ledger-{uuid.uuid4().hex}", chance.randint(1, 4)
                items = [{"n": n, "ledger": ledger, "seconds": chance.random() * 0.3} for n in range(tasks)]
                try:
                    reply = submit(server, udf_step(WORK, items))
                except requests.ConnectionError:
                    break
                assert reply.status_code == 200, reply.text
                jobs[reply.json()["job_id"]] = (ledger, tasks)
            open_jobs = [job for job in jobs if job not in ended and job not in canceled]
            if open_jobs and chance.random() < 0.2:
                job = chance.choice(open_jobs)
                if post(server, f"/server/v1/run/by-id/{job}/cancel").status_code == 200:
                    canceled.add(job)
            time.sleep(chance.random() * 0.6)
            for record in get(server, "/api/v1/jobs", limit=1000)["jobs"]:
                if record["status"] in ENDED:
                    before = ended.setdefault(record["job_id"], record["status"])
                    assert before == record["status"], f"{record['job_id']} was {before} before a kill"
            workers = processes_of_jobs(data)
            server.process.kill()
            server.process.wait()
            deadline = time.monotonic() + 2
            while (left := [pid for pid in workers if is_alive(pid)]) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not left, f"processes of a killed server's jobs are alive after 2 s: {left}"
            server = start_server(data)
        known = {record["job_id"] for record in get(server, "/api/v1/jobs", limit=1000)["jobs"]}
        assert set(jobs) <= known, "a job that was acknowledged is gone"
        starts = 0
        for job, (ledger, tasks) in jobs.items():
            state = wait(server, job, 120)["status"]
            assert state == ("canceled" if job in canceled else "done"), (job, state, log(server, job)[-5:])
            file = data / "mount" / ledger
            marks = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
            starts += len(marks)
            if state == "done":
                found = values(server, job)
                assert [n for n, _ in found] == list(range(tasks))
                assert all([str(n), mark] in marks for n, mark in found), "a result that no start has made"
                attempts = get(server, f"/api/v1/jobs/{job}", limit=1000)["attempts"]
                recorded = sorted(each["task"] for each in attempts if each["ended_as"] == "done")
                assert recorded == list(range(tasks)) or len(attempts) == 1000, "a result is recorded once"
                assert len(recorded) == len(set(recorded)), "a result is recorded once"
        tell(f"{KILLS} kills of the server, {len(jobs)} jobs ({len(canceled)} canceled), {starts} starts of tasks")
        assert len(jobs) >= KILLS // 2
    finally:
        stop_server(server)


def test_a_killed_worker_is_tried_again(server: Server) -> None:
    job = submitted(server, udf_step(WORK, [{"n": 1, "ledger": f"ledger-{uuid.uuid4().hex}", "seconds": 1}]))
    until(lambda: printed(server, job) == ["task 1"])
    os.kill(process_of(server, job), signal.SIGKILL)
    assert wait(server, job)["status"] == "done"
    ends = [each["ended_as"] for each in get(server, f"/api/v1/jobs/{job}")["attempts"]]
    assert ends[-1] == "done" and ends[:-1], ends


HOSTILE = """\
@fused.udf
def udf(mark: str):
    import os, signal, sys, time
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    wait = [sys.executable, '-S', '-c', 'import time,signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)', mark]
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, wait)
        os._exit(0)
    if os.fork() == 0:
        os.execv(sys.executable, wait)
    print('begun', flush=True)
    while True:
        time.sleep(600)
"""


def test_a_canceled_job_has_no_process_after_two_seconds(server: Server) -> None:
    slowest = 0.0
    for number in range(CANCELS):
        mark = f"hostile-{uuid.uuid4().hex}"
        job = submitted(server, udf_step(HOSTILE, [{"mark": mark}]))
        until(lambda job=job: "begun" in printed(server, job))
        if number % 2:
            until(lambda mark=mark: len(processes_with(mark)) == 2)
        began = time.monotonic()
        assert post(server, f"/server/v1/run/by-id/{job}/cancel").status_code == 200
        answered = time.monotonic()
        while processes_with(mark):
            assert time.monotonic() - answered < 2, "a process of a canceled job lives on"
            time.sleep(0.005)
        slowest = max(slowest, time.monotonic() - began)
        assert status(server, job)["status"] == "canceled"
    tell(f"{CANCELS} of {CANCELS} canceled jobs had no process after 2 s; the slowest took {slowest:.3f} s")


def test_a_stopped_worker_is_lost_and_its_task_taken_up(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--job-lease-ms", "1500")
    try:
        ledger = f"ledger-{uuid.uuid4().hex}"
        job = submitted(server, udf_step(WORK, [{"n": 1, "ledger": ledger, "seconds": 3}]))
        until(lambda: printed(server, job) == ["task 1"])
        first = process_of(server, job)
        stopped = [first, *children_of(first)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        assert wait(server, job)["status"] == "done"
        ends = [each["ended_as"] for each in get(server, f"/api/v1/jobs/{job}")["attempts"]]
        assert ends == ["lost", "done"], ends
        assert len((server.data / "mount" / ledger).read_text().splitlines()) == 2
        until(lambda: not any(is_alive(pid) for pid in stopped), 5)
    finally:
        stop_server(server)


def test_a_server_that_is_asked_to_end_leaves_its_jobs_to_the_next(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--drain-seconds", "0")
    items = [{"n": n, "ledger": "ledger", "seconds": 1} for n in range(4)]
    job = submitted(server, udf_step(WORK, items))
    until(lambda: printed(server, job))
    url = f"{server.base_url}/api/v1/jobs/{job}/logs"
    with requests.get(url, headers=headers_of(server), stream=True, timeout=60) as follower:
        lines = follower.iter_lines()
        assert next(lines)
        assert stop_server(server) == 0
        assert all(b"event: end" not in line for line in lines), "the job has not ended"
    server = start_server(tmp_path / "data")
    try:
        assert wait(server, job)["status"] == "done"
        assert [n for n, _ in values(server, job)] == list(range(4))
    finally:
        stop_server(server)


def test_strict_instances_refuse_what_the_machine_has_not(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--strict-instances", "--job-cores", "2")
    try:
        reply = submit(server, udf_step(WORK), query={"instance_type": "r5.16xlarge"})
        assert reply.status_code == 422 and "64 cores" in reply.json()["message"]
        assert "--strict-instances" in reply.json()["message"]
    finally:
        stop_server(server)


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_a_task_has_the_limits_of_its_type(server: Server, what: str) -> None:
    codes = {
        "memory": "def udf():\n    x = bytearray(6 << 30)\n    for i in range(0, len(x), 4096): x[i] = 1\n",
        "disk": "def udf():\n    with open('big', 'wb') as f:\n        while True: f.write(b'x' * (1 << 20))\n",
    }
    query = {"instance_type": "small"} | ({"disk_size_gb": 1} if what == "disk" else {})
    job = submitted(server, udf_step("@fused.udf\n" + codes[what]), query=query)
    ended = wait(server, job, 120)
    assert ended["status"] == "failed", ended
    words = {"memory": ("memory", "Memory"), "disk": ("File too large", "disk")}[what]
    assert any(word in ended["error"] for word in words), ended
