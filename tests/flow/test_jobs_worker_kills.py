"""Workers of jobs that are killed at any moment: every job has one end, every recorded result was made by one start.

The ledger outside has a line for each call of the function; the server's own list of attempts must agree with it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.jobs import get, log, submitted, udf_step, values, wait
from tests.flow.test_jobs_kill import IS_LONG, WORK
from tests.processes import children_of

KILLS = int(os.environ.get("FUSED_TEST_KILLS") or (500 if IS_LONG else 50))
SEED = int(os.environ.get("FUSED_TEST_SEED") or 7)
JOBS_AT_ONCE = 4
KILLS_OF_A_TASK = 2  # the platform's failures that are tried again; one more ends the task


@dataclass
class Job:
    ledger: str
    tasks: int
    kills: dict[str, int] = field(default_factory=dict)  # by attempt
    spared: bool = True  # no task is killed more often than it is tried again


def noted(server: Server, job: str) -> list[tuple[str, int]]:
    """Attempts that run, each with its process."""
    found = []
    for file in (server.data / "jobs" / job / "processes").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            pid, started = map(int, file.read_text().split())
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) == started:
                found.append((file.name, pid))
    return found


def task_of(server: Server, job: str, attempt: str) -> int:
    attempts = get(server, f"/api/v1/jobs/{job}", limit=1000)["attempts"]
    return next(int(each["task"]) for each in attempts if each["attempt"] == int(attempt, 16))


def check(server: Server, number: str, job: Job) -> int:
    """That its end, its results, its attempts and the ledger agree; how often its tasks were started."""
    about = wait(server, number, 120)
    attempts = get(server, f"/api/v1/jobs/{number}", limit=1000)["attempts"]
    by_task: dict[int, list[str]] = {}
    for each in attempts:
        by_task.setdefault(each["task"], []).append(each["ended_as"])
    assert all(ends[-1] is not None and None not in ends for ends in by_task.values()), by_task
    file = server.data / "mount" / job.ledger
    marks = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    for task in range(job.tasks):
        begun = sum(1 for n, _ in marks if n == str(task))
        assert begun <= len(by_task.get(task, [])), "the function was called more often than it was started"
    if job.spared:
        assert about["status"] == "done", (about, by_task, log(server, number)[-8:])
        found = values(server, number)
        assert [n for n, _ in found] == list(range(job.tasks))
        assert all([str(n), mark] in marks for n, mark in found), "a result that no call has made"
        for task, ends in by_task.items():
            assert ends.count("done") == 1 and ends[-1] == "done", (task, ends)
    else:
        assert about["status"] in ("done", "failed")
    crashed = sum(ends.count("crashed") for ends in by_task.values())
    assert crashed <= len(job.kills), (by_task, job.kills)
    again = wait(server, number)
    assert again["status"] == about["status"], "an end is final"
    return len(attempts)


def test_killed_workers_lose_and_double_nothing(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--job-cores", "3")
    chance = random.Random(SEED)
    jobs: dict[str, Job] = {}
    open_jobs: list[str] = []
    kills = starts = failed = 0
    by_state = {"sleeping": 0, "its init process": 0}
    try:
        while kills < KILLS:
            while len(open_jobs) < JOBS_AT_ONCE:
                ledger, tasks = f"ledger-{uuid.uuid4().hex}", chance.randint(1, 3)
                items = [{"n": n, "ledger": ledger, "seconds": chance.random() * 0.3} for n in range(tasks)]
                job = Job(ledger, tasks, spared=chance.random() < 0.8)
                number = submitted(server, udf_step(WORK, items))
                jobs[number] = job
                open_jobs.append(number)
            time.sleep(chance.random() * 0.05)
            for number in open_jobs:
                job = jobs[number]
                for attempt, pid in noted(server, number):
                    if attempt in job.kills or chance.random() < 0.6:
                        continue
                    task = task_of(server, number, attempt)
                    if job.spared and sum(each == task for each in job.kills.values()) >= KILLS_OF_A_TASK:
                        continue
                    inner = children_of(pid)
                    target, kind = (chance.choice(inner), "sleeping") if inner and chance.random() < 0.5 else (
                        pid, "its init process")  # fmt: skip
                    job.kills[attempt] = task
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(target, signal.SIGKILL)
                        kills += 1
                        by_state[kind] += 1
            for number in list(open_jobs):
                if get(server, f"/server/v1/run/by-id/{number}")["terminal_status"]:
                    open_jobs.remove(number)
        for number, job in jobs.items():
            starts += check(server, number, job)
            failed += get(server, f"/server/v1/run/by-id/{number}")["status"] == "failed"
        health = get(server, "/health")
        assert health["status"] == "ok" and health["jobs"]["open"] == 0, health["jobs"]
        told = ", ".join(f"{count} of {kind}" for kind, count in by_state.items())
        tell(f"{kills} kills of workers ({told}), {len(jobs)} jobs ({failed} failed after 3), {starts} starts of tasks")
    finally:
        stop_server(server)
