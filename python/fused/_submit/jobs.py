"""``fused.submit(…, instance_type="small")``: the calls are the tasks of a job, which goes on when this process ends.

The pool shows them as it shows others. Of the job only what has ended since the last look is asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fused._jobs.response import RunResponse
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
from fused.errors import TransportError
from fused.models.step import UdfJobStepConfig

if TYPE_CHECKING:
    from fused._run.arguments import Call
    from fused._submit.arguments import Arguments

PAGE = 1_000
LOOK_SECONDS, LOOK_SECONDS_MAX = 0.1, 2.0
PATIENCE_SECONDS = 600.0  # without an answer of the server; the job goes on without a look


class JobRun:
    """An ``Engine`` (``job_pool.py``) over jobs: one for all calls, one more for each ``retry``."""

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
        self._jobs: list[RunResponse] = []
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._cancelled = False

    @property
    def jobs(self) -> list[RunResponse]:
        """The jobs, oldest first."""
        return self._jobs

    def start(self, calls: list[tuple[int, int]]) -> None:
        """Submits these ranges of pending calls as one job; it is on the server's disk when this returns."""
        assert self._call.udf is not None
        indices = [index for first, count in calls for index in range(first, first + count)]
        items = [{**self._arguments.shared, **self._arguments.own(index)} for index in indices]
        step = UdfJobStepConfig(self._call.udf, items, ignore_chunk_error=True, n_processes=self._max_workers)
        job = step.run_remote(
            instance_type=self._instance_type, disk_size_gb=self._disk_size_gb, max_retry=self._max_retry
        )
        with self._table.changed:
            self._open += 1
            self._jobs.append(job)
        thread = threading.Thread(
            target=self._follow, args=(job, indices), name=f"fused.submit {self._call.label}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def more(self, calls: list[tuple[int, int]]) -> bool:
        """Another job, for other ranges; False when all have ended."""
        with self._table.changed:
            if not self._open or self._cancelled:
                return False
        self.start(calls)
        return True

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """All: the jobs end. Some: what they leave is not looked at; a job ends as a whole."""
        with self._table.changed:
            chosen = range(self._table.count) if calls is None else list(calls)
            empty = pack(Record(EMPTY, b"", b"", b""))
            for index in chosen:
                if self._table.status[index] in (PENDING, RUNNING):
                    self._table.finish(index, CANCELLED, time.time(), 0.0, empty)
            self._cancelled = self._cancelled or calls is None
            self._table.changed.notify_all()
        if calls is None:
            for job in self._jobs:
                if not job.refresh_status().is_done:
                    job.cancel()

    def join(self, seconds: float | None = None) -> bool:
        """Until no thread of it lives; whether that is so."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # -- looking at a job -------------------------------------------------------------------------------------------

    def _follow(self, job: RunResponse, indices: list[int]) -> None:
        failure: BaseException | None = None
        try:
            self._look(job, indices)
        except BaseException as error:
            error.add_note(f"job {job.job_id} goes on: `fused jobs show {job.job_id}`")
            failure = error
        with self._table.changed:
            self._open -= 1
            if not self._open or failure is not None:
                self._table.end(failure)

    def _look(self, job: RunResponse, indices: list[int]) -> None:
        first, taken = 0, set[int]()  # tasks before `first` are dealt with, of those behind it `taken`
        pause, answered = LOOK_SECONDS, time.monotonic()
        while not self._cancelled:
            try:
                about = call_json(
                    "GET",
                    path_of("api", "v1", "jobs", job.job_id),
                    f"asking about job {job.job_id}",
                    {"skip": first, "limit": PAGE},
                )
                fresh = [task for task in about["tasks"] if task["task"] not in taken]
                ended = [task for task in fresh if task["state"] in ("done", "failed")]
                self._take(job, indices, fresh, ended)
            except TransportError:
                if time.monotonic() - answered > PATIENCE_SECONDS:
                    raise
                time.sleep(LOOK_SECONDS_MAX)
                continue
            answered = time.monotonic()
            taken |= {task["task"] for task in ended}
            while first in taken:
                taken.discard(first)
                first += 1
            if first == len(indices):
                return
            if about["terminal_status"] and not ended:
                self._leave(about, [indices[at] for at in range(first, len(indices)) if at not in taken])
                return
            pause = LOOK_SECONDS if ended else min(pause * 1.5, LOOK_SECONDS_MAX)
            if not ended:
                time.sleep(pause)

    def _take(self, job: RunResponse, indices: list[int], fresh: list[dict[str, Any]], ended: list[Any]) -> None:
        records = []
        urls = _results(job) if ended else {}
        for task in ended:
            status, record, seconds = _record(task, urls)
            records.append((indices[task["task"]], status, pack(record), seconds))
        with self._table.changed:
            for task in fresh:
                index = indices[task["task"]]
                if self._table.status[index] == PENDING:
                    self._table.begin(index, 1)
            for index, status, packed, seconds in records:
                if self._table.status[index] == RUNNING:
                    self._table.finish(index, status, time.time() - seconds, seconds, packed)
            self._table.changed.notify_all()

    def _leave(self, about: dict[str, Any], indices: list[int]) -> None:
        """The job has ended without these calls: it was canceled, or its time was over."""
        told = {"message": f"job {about['job_id']} is {about['status']}: {about.get('error') or 'before this call'}"}
        is_canceled = about["status"] == "canceled"
        record = Record(EMPTY, b"", b"", b"") if is_canceled else Record(FAILURE, b"", b"", json.dumps(told).encode())
        with self._table.changed:
            for index in indices:
                if self._table.status[index] in (PENDING, RUNNING):
                    status = CANCELLED if is_canceled else ERROR
                    self._table.finish(index, status, time.time(), 0.0, pack(record))
            self._table.changed.notify_all()


def _results(job: RunResponse) -> dict[str, str]:
    listed = call_json("GET", f"/run/by-id{path_of(job.job_id, 'results')}", f"reading the results of {job.job_id}")
    return {str(each["name"]): str(each["url"]) for each in listed}


def _record(task: dict[str, Any], urls: dict[str, str]) -> tuple[int, Record, float]:
    name = str(task.get("result") or f"{task['task']}.none")
    about = _about(urls.get(f"{name}.metadata"))
    out, err = (str(about.get(stream) or "").encode("utf-8", "replace") for stream in ("stdout", "stderr"))
    seconds = float(about.get("time_taken_seconds") or about.get("execution_time_seconds") or 0.0)
    if task["state"] == "done" and name in urls:
        reply = fetch(urls[name])
        return SUCCESS, Record(WIRE, out, err, reply.content_type.encode() + b"\0" + reply.body), seconds
    kind = str(about.get("error_type") or "runtime_error")
    told = {
        "class": about.get("exception_class"),
        "message": str(task.get("error") or about.get("errormsg") or "it failed"),
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
