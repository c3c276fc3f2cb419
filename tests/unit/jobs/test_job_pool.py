"""A pool whose calls are tasks of a job: what it knows of them, whatever becomes of the connection."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest
from task_server import TaskServer

import fused
from fused._submit import jobs as jobs_module
from fused._submit.call_table import CallTable
from fused._submit.job_pool import JobPool
from fused._submit.record import EMPTY, ERROR, SUCCESS, Record, pack
from fused.errors import BusyError, NotFoundError, ServerError, TransportError
from fused.warnings import FusedIgnoredWarning


@fused.udf
def same(n: int):
    return n


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(jobs_module, "LOOK_SECONDS_MAX", 0.01)
    monkeypatch.setattr(jobs_module, "PAGE", 10)


@pytest.fixture(autouse=True)
def no_second_try(tasks: TaskServer) -> None:
    fused.options.request_max_retries = 0


def until(table: CallTable, condition: Any) -> None:
    with table.changed:
        assert table.changed.wait_for(condition, 30)


def pool_of(count: int) -> JobPool:
    pool: JobPool = fused.submit(same, range(count), instance_type="small")
    return pool


def test_what_lies_behind_a_long_task_is_seen_while_it_runs(tasks: TaskServer) -> None:
    pool = pool_of(25)
    tasks.run(0, 0)
    tasks.finish(0, *range(1, 25))
    until(pool.table, lambda: pool.table.counts[SUCCESS] == 24)
    assert pool[0].status() == "running"
    assert pool[24].result() == 24
    tasks.finish(0, 0, terminal="done")
    assert pool.results() == list(range(25))


def test_a_job_that_somebody_else_ends_keeps_what_had_ended_on_every_page(tasks: TaskServer) -> None:
    pool = pool_of(25)
    tasks.run(0, 0, 12)
    tasks.finish(0, *range(1, 12), *range(13, 24), terminal="canceled")
    pool.wait()
    assert pool.status().to_dict() == {"success": 22, "cancelled": 3}
    assert pool[23].result() == 23


def test_cancel_keeps_what_had_ended_and_not_been_seen(tasks: TaskServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "LOOK_SECONDS", 60.0)
    pool = pool_of(3)
    until(pool.table, lambda: any("/api/v1/jobs/" in asked for asked in tasks.asked) or pool.table.changed.wait(0.01))
    tasks.finish(0, 1)
    pool.cancel(wait=True)
    assert [future.status() for future in pool] == ["cancelled", "success", "cancelled"]


def test_a_server_that_is_busy_for_a_while_is_asked_again(tasks: TaskServer) -> None:
    tasks.refuse = [("GET", "/api/v1/jobs", status) for status in (503, 502, 429)]
    pool = pool_of(2)
    tasks.finish(0, 0, 1, terminal="done")
    assert pool.results() == [0, 1]


def test_retry_follows_the_job_that_was_lost_and_submits_none_beside_it(
    tasks: TaskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "PATIENCE_SECONDS", 0.0)
    tasks.refuse = [("GET", "/api/v1/jobs", 503)] * 100
    pool = pool_of(2)
    with pytest.raises(BusyError) as raised:
        pool.wait()
    assert any("retry() follows it" in note for note in raised.value.__notes__)
    tasks.refuse = []
    tasks.finish(0, 0)
    tasks.finish(0, 1, state="failed", terminal="failed")
    pool.retry()
    pool.wait()
    assert [future.status() for future in pool] == ["success", "error"]
    assert len(tasks.jobs) == 1
    pool.retry()
    assert [job["items"] for job in tasks.jobs.values()][1:] == [[{"n": 1}]]
    tasks.finish(1, 0, terminal="done")
    assert pool.results() == [0, 1]


def test_retry_submits_anew_what_was_with_a_job_that_is_gone(tasks: TaskServer) -> None:
    tasks.refuse = [("GET", "/api/v1/jobs", 404)]
    pool = pool_of(2)
    with pytest.raises(NotFoundError):
        pool.wait()
    pool.retry()
    tasks.finish(1, 0, 1, terminal="done")
    assert pool.results() == [0, 1]


def test_a_retry_that_cannot_begin_raises_and_leaves_nobody_waiting(tasks: TaskServer) -> None:
    pool = pool_of(2)
    tasks.finish(0, 0, 1, state="failed", terminal="failed")
    pool.wait()
    tasks.refuse = [("POST", "/run", 422)]
    with pytest.raises(ServerError, match="refused with 422"):
        pool.retry()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            pool.wait()
        except ServerError as error:
            raised.append(error)

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    waiter.join(30)
    assert raised
    pool.retry()
    tasks.finish(1, 0, 1, terminal="done")
    assert pool.results() == [0, 1]


def test_cancel_ends_the_other_jobs_where_one_has_ended_or_cannot_be_told(tasks: TaskServer) -> None:
    pool = pool_of(3)
    tasks.run(0, 2)
    tasks.finish(0, 0, 1, state="failed")
    until(pool.table, lambda: len(pool.errors()) == 2)
    pool.retry()
    tasks.refuse = [("POST", "cancel", 500)]
    with pytest.raises(ServerError, match="refused with 500"):
        pool.cancel()
    assert [job["status"] for job in tasks.jobs.values()] == ["running", "canceled"]
    pool.cancel()  # the second has ended by now, which is no conflict
    pool.wait()
    assert [job["status"] for job in tasks.jobs.values()] == ["canceled", "canceled"]
    assert pool.status().to_dict() == {"cancelled": 3}


def test_a_job_ends_when_none_of_its_calls_is_wanted_any_more(tasks: TaskServer) -> None:
    pool = pool_of(2)
    pool[0].cancel()
    assert not any("cancel" in asked for asked in tasks.asked)
    pool[1].cancel()
    assert [job["status"] for job in tasks.jobs.values()] == ["canceled"]
    assert pool.status().to_dict() == {"cancelled": 2}


def test_what_a_job_does_not_do_is_said(tasks: TaskServer) -> None:
    for wish in ({"cache_max_age": "1h"}, {"run_cache_max_age": "2h"}):
        with pytest.warns(FusedIgnoredWarning, match="cache_max_age is ignored with instance_type='small'"):
            fused.submit(same, [1], instance_type="small", **wish)
    with pytest.warns(FusedIgnoredWarning, match="max_workers=5000 is lowered to 1024"):
        fused.submit(same, [1], instance_type="small", max_workers=5_000)
    assert [job["n_processes"] for job in tasks.jobs.values()] == [None, None, 1_024]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fused.submit(same, [1], instance_type="small", cache=False, max_workers=3)
    assert list(tasks.jobs.values())[-1]["n_processes"] == 3
    tasks.refuse = [("GET", "by-id", 404)]  # nobody waits for it here
    with (
        pytest.warns(FusedIgnoredWarning, match="cache_reset is ignored with instance_type='small'"),
        pytest.raises(NotFoundError),
    ):
        fused.run(same, n=1, instance_type="small", cache_reset=True)


class Ending:
    """An engine that says only after ``more`` that it has failed, as one does that is just ending."""

    def __init__(self, table: CallTable, failures: list[BaseException | None]) -> None:
        self.table, self.failure, self.late = table, failures.pop(0), False

    def start(self, calls: list[tuple[int, int]]) -> None:
        with self.table.changed:
            for first, count in calls:
                for index in range(first, first + count):
                    status = SUCCESS if self.failure is None else ERROR
                    self.table.finish(index, status, 0.0, 0.0, pack(Record(EMPTY, b"", b"", b"")))
            self.table.changed.notify_all()

    def more(self, calls: list[tuple[int, int]]) -> bool:
        return False

    def cancel(self, calls: Any = None) -> None:
        raise AssertionError("nobody cancels here")

    def join(self, seconds: float | None = None) -> bool:
        self.table.end(self.failure)
        return True


def test_the_end_of_the_old_session_does_not_reach_the_new_one() -> None:
    failures: list[BaseException | None] = [TransportError("the server is gone"), None]
    arguments = fused.submit(same, [1, 2], engine="local").arguments
    pool = JobPool(None, "same", arguments, lambda table: Ending(table, failures))
    pool.retry()
    assert pool.table.failure is None
    assert pool.all_succeeded()
