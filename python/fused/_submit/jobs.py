"""``fused.submit(…, instance_type="small")``: the calls are the tasks of a job, which goes on when this process ends.

The pool shows them as it shows others. Of the job only what has ended since the last look is asked for.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fused._jobs.response import PATIENCE_SECONDS, RunResponse
from fused._jobs.results import fetch
from fused._submit.call_table import CallTable
from fused._submit.record import (
    CANCELLED,
    EMPTY,
    ERROR,
    FAILURE,
    PENDING,
    RUNNING,
    SUCCESS,
    TIMEOUT,
    WIRE,
    Record,
    pack,
)
from fused._transport import call_json, path_of
from fused.errors import ConflictError, FusedError, NotFoundError, may_pass
from fused.models.step import UdfJobStepConfig

if TYPE_CHECKING:
    from fused._run.arguments import Call
    from fused._submit.arguments import Arguments

PAGE = 1_000
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.1, 2.0


class JobRun:
    """An ``Engine`` (``job_pool.py``) over jobs: one for all calls, one more for each ``retry``.

    A job that was lost from sight (no answer for long) is followed again by ``retry``; calls that are still with a job
    are never submitted beside it.
    """

    def __init__(
        self,
        call: Call,
        arguments: Arguments,
        table: CallTable,
        *,
        instance_type: str,
        disk_size_gb: int | None,
        max_workers: int | None,
        max_retry: int | None,
    ) -> None:
        self._call, self._arguments, self._table = call, arguments, table
        self._instance_type, self._disk_size_gb = instance_type, disk_size_gb
        self._max_workers, self._max_retry = max_workers, max_retry
        self._looks: list[_Look] = []
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._cancelled = False

    @property
    def jobs(self) -> list[RunResponse]:
        """The jobs, oldest first."""
        return [look.job for look in self._looks]

    def start(self, calls: list[tuple[int, int]]) -> None:
        """Submits these ranges of pending calls as one job; it is on the server's disk when this returns."""
        self._submit([index for first, count in calls for index in range(first, first + count)])

    def more(self, calls: list[tuple[int, int]]) -> bool:
        """Another job, for those of these calls that no job has any more; False when it was cancelled."""
        if self._cancelled:
            return False
        wanted = {index for first, count in calls for index in range(first, first + count)}
        for look in self._looks:
            kept = wanted.intersection(look.left())
            if kept and not look.is_over:
                wanted -= kept
                if look.is_lost:
                    self._begin(look)
        if wanted:
            self._submit(sorted(wanted))
        return True

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """All: the jobs end, and what had ended by then is still fetched. Some: what they leave is not looked at; a job
        ends as a whole, when none of its calls is wanted any more.

        Jobs that could not be told go on, after the others were; the first reason is raised.
        """
        if calls is not None:
            self._cancel_some(list(calls))
            return
        self._cancelled = True
        failures: list[FusedError] = []
        for look in self._looks:
            if look.is_over:
                continue
            try:
                _end(look.job)
                if look.is_lost:
                    self._begin(look)
                look.hurry.set()
            except FusedError as failure:
                failure.add_note(f"job {look.job.job_id} goes on: `fused jobs cancel {look.job.job_id}`")
                failures.append(failure)
        if failures:
            self._cancelled = False
            raise failures[0]
        with self._table.changed:
            there = {index for look in self._looks if not look.is_over for index in look.left()}
            self._forget(index for index in range(self._table.count) if index not in there)

    def join(self, seconds: float | None = None) -> bool:
        """Until no thread of it lives; whether that is so."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # -- its jobs ---------------------------------------------------------------------------------------------------

    def _submit(self, indices: list[int]) -> None:
        assert self._call.udf is not None
        items = [{**self._arguments.shared, **self._arguments.own(index)} for index in indices]
        step = UdfJobStepConfig(self._call.udf, items, ignore_chunk_error=True, n_processes=self._max_workers)
        job = step.run_remote(
            instance_type=self._instance_type, disk_size_gb=self._disk_size_gb, max_retry=self._max_retry
        )
        look = _Look(job, indices, self._table)
        self._looks.append(look)
        self._begin(look)

    def _begin(self, look: _Look) -> None:
        with self._table.changed:
            self._open += 1
            look.is_lost = False
        name = f"fused.submit {self._call.label}"
        thread = threading.Thread(target=self._follow, args=(look,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, look: _Look) -> None:
        failure: BaseException | None = None
        try:
            look.follow()
        except BaseException as error:
            job_id = look.job.job_id
            error.add_note(f"job {job_id} goes on: pool.retry() follows it again, `fused jobs show {job_id}` tells")
            failure = error
        with self._table.changed:
            self._open -= 1
            look.is_lost = failure is not None
            look.is_over = failure is None or isinstance(failure, NotFoundError)
            if failure is not None or (not self._open and self._table.is_done):
                self._table.end(failure)

    def _cancel_some(self, calls: list[int]) -> None:
        with self._table.changed:
            self._forget(calls)
            unwanted = [look for look in self._looks if not look.is_over and not look.is_wanted()]
        for look in unwanted:
            _end(look.job)
            look.hurry.set()

    def _forget(self, calls: Iterable[int]) -> None:
        empty = pack(Record(EMPTY, b"", b"", b""))
        for index in calls:
            if self._table.status[index] in (PENDING, RUNNING):
                self._table.finish(index, CANCELLED, time.time(), 0.0, empty)
        self._table.changed.notify_all()


class _Look:
    """What has been seen of one job. ``indices``: the call of each task."""

    def __init__(self, job: RunResponse, indices: list[int], table: CallTable) -> None:
        self.job, self._indices, self._table = job, indices, table
        self._taken = bytearray(len(indices))  # 1: the task has ended, and its call knows
        self.is_lost = self.is_over = False
        self.hurry = threading.Event()

    def left(self) -> list[int]:
        """The calls whose end has not been seen."""
        return [index for index, taken in zip(self._indices, self._taken, strict=True) if not taken]

    def is_wanted(self) -> bool:
        """Is there a call that waits for it. With the table's lock."""
        return any(self._table.status[index] in (PENDING, RUNNING) for index in self.left())

    def follow(self) -> None:
        """Until the job has ended, or the server has not answered for ``PATIENCE_SECONDS``."""
        pause, answered = LOOK_SECONDS, time.monotonic()
        while True:
            try:
                about, news = self._walk()
            except FusedError as error:
                if not may_pass(error) or time.monotonic() - answered > PATIENCE_SECONDS:
                    raise
                time.sleep(LOOK_SECONDS_MAX)
                continue
            answered = time.monotonic()
            if 0 not in self._taken:
                return
            if about["terminal_status"]:
                self._leave(about)
                return
            pause = LOOK_SECONDS if news else min(pause * 1.5, LOOK_SECONDS_MAX)
            if not news and self.hurry.wait(pause):
                self.hurry.clear()
                pause = LOOK_SECONDS

    def _walk(self) -> tuple[dict[str, Any], int]:
        """Takes what has ended; the job as it was before that, and how many tasks there were.

        The server lists tasks that have begun. A task that takes long does not keep the look from those behind it.
        """
        about: dict[str, Any] = {}
        at, news = self._taken.find(0), 0
        while at >= 0:
            page = call_json(
                "GET",
                path_of("api", "v1", "jobs", self.job.job_id),
                f"asking about job {self.job.job_id}",
                {"skip": at, "limit": PAGE, "links": "true"},
            )
            about = about or page
            fresh = [task for task in page["tasks"] if not self._taken[task["task"]]]
            news += self._take(fresh)
            if len(page["tasks"]) < PAGE:
                break
            at = self._taken.find(0, page["tasks"][-1]["task"] + 1)
        return about, news

    def _take(self, fresh: list[dict[str, Any]]) -> int:
        ended = [task for task in fresh if task["state"] in ("done", "failed")]
        records = []
        for task in ended:
            status, record, seconds = _record(task)
            records.append((self._indices[task["task"]], status, pack(record), seconds))
        with self._table.changed:
            for task in fresh:
                index = self._indices[task["task"]]
                if self._table.status[index] == PENDING:
                    self._table.begin(index, 1)
            for index, status, packed, seconds in records:
                if self._table.status[index] == RUNNING:
                    self._table.finish(index, status, time.time() - seconds, seconds, packed)
            for task in ended:
                self._taken[task["task"]] = 1
            self._table.changed.notify_all()
        return len(ended)

    def _leave(self, about: dict[str, Any]) -> None:
        """The job has ended without these calls: it was canceled, or its time was over."""
        told = {"message": f"job {about['job_id']} is {about['status']}: {about.get('error') or 'before this call'}"}
        is_canceled = about["status"] == "canceled"
        record = Record(EMPTY, b"", b"", b"") if is_canceled else Record(FAILURE, b"", b"", json.dumps(told).encode())
        with self._table.changed:
            for index in self.left():
                if self._table.status[index] in (PENDING, RUNNING):
                    status = CANCELLED if is_canceled else ERROR
                    self._table.finish(index, status, time.time(), 0.0, pack(record))
            self._table.changed.notify_all()


def _end(job: RunResponse) -> None:
    with contextlib.suppress(ConflictError):  # it ended by itself
        job.cancel()


def _record(task: dict[str, Any]) -> tuple[int, Record, float]:
    about = _about(task.get("metadata_url"))
    out, err = (str(about.get(stream) or "").encode("utf-8", "replace") for stream in ("stdout", "stderr"))
    seconds = float(about.get("time_taken_seconds") or about.get("execution_time_seconds") or 0.0)
    if task["state"] == "done" and task.get("url"):
        reply = fetch(str(task["url"]))
        return SUCCESS, Record(WIRE, out, err, reply.content_type.encode() + b"\0" + reply.body), seconds
    kind = str(about.get("error_type") or "runtime_error")
    name = about.get("exception_class")
    message = str(task.get("error") or about.get("errormsg") or "it failed")
    told = {
        "class": name,
        "message": message.removeprefix(f"{name}: "),  # the server's text begins with it
        "traceback": about.get("traceback") or "",
        "line": about.get("lineno"),
        "error_type": kind,
    }
    status = TIMEOUT if kind == "timeout_error" else ERROR
    return status, Record(FAILURE, out, err, json.dumps(told).encode()), seconds


def _about(url: str | None) -> dict[str, Any]:
    if url is None:
        return {}
    value = fetch(url).json()
    return value if isinstance(value, dict) else {}
