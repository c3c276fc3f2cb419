"""``RunResponse``: a job on the server, as ``run_remote`` gives it and as a bare id finds it again."""

from __future__ import annotations

import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, TextIO

from fused._jobs.results import read_all, read_results
from fused._transport import base_url, call_json, path_of
from fused.errors import FusedError, TransportError, may_pass
from fused.warnings import FusedInProgressWarning, warn_caller

SAMPLE_LINES = 20  # that tail_logs(sample_logs=True) prints of what came since its last look
PATIENCE_SECONDS = 600.0  # that a server may not answer who waits: it is started anew, and its jobs go on
_OPEN = ("pending", "running")
_LINKS_AT_ONCE = 100_000  # what one answer of the server holds


def post_job(path: str, what: str, query: Mapping[str, Any] | None, value: Any) -> RunResponse:
    """A request that makes a job: one, however often it is sent because its answer was lost (Idempotency-Key)."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    try:
        return RunResponse.of_json(call_json("POST", path, what, query, value, key, repeatable=True))
    except TransportError as error:
        if not error.may_have_arrived:
            raise
        raise TransportError(f"{error}. The job may have been kept all the same: `fused jobs list` shows it") from None


@dataclass(repr=False)
class RunResponse:
    """A job: what the server said of it last. ``refresh_status`` asks again; the other methods do by themselves.

    ``status``: ``pending``, ``running``, ``done``, ``failed`` or ``canceled``; ``terminal_status``: it has ended.
    ``job_status``: the same as a title (``"Done"``), ``job_status_date``: since when. ``total_tasks``,
    ``finished_tasks``: how far it is. ``instance_type``: the most that it may use. ``last_heartbeat``: when its
    processes last gave a sign of life. Times are text in UTC.
    """

    job_id: str
    job_name: str = ""
    status: str = "pending"
    terminal_status: bool = False
    total_tasks: int = 0
    finished_tasks: int = 0
    instance_id: str | None = None
    instance_type: str | None = None
    last_heartbeat: str | None = None
    job_status: str | None = None
    job_status_date: str | None = None
    finished_job_status: bool | None = None
    error: str | None = None

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> RunResponse:
        """From the server's record; keys it does not know are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in known})

    @classmethod
    def of_id(cls, job: str | RunResponse) -> RunResponse:
        """The job of this id, without asking the server; a ``RunResponse`` as it is."""
        if isinstance(job, RunResponse):
            return job
        if not isinstance(job, str):
            raise TypeError(f"a job is named by its id (text) or a RunResponse, not by {type(job).__name__}")
        if not job.strip():
            raise ValueError("the job's id is empty; `fused jobs ls` shows the ids")
        return cls(job_id=job.strip())

    @property
    def is_done(self) -> bool:
        """Has it ended, in whatever way."""
        return self.terminal_status if self.finished_job_status is None else self.finished_job_status

    @property
    def logs_url(self) -> str:
        """Where its log lines are read."""
        return base_url() + f"/logs{path_of(self.job_id)}"

    def get_status(self) -> RunResponse:
        """The job as it is now."""
        value = call_json("GET", self._path(), f"asking about job {self.job_id}")
        return replace(self, **_known(value))

    def refresh_status(self) -> RunResponse:
        """Asks the server, and is itself up to date then."""
        return self._take(call_json("GET", self._path(), f"asking about job {self.job_id}"))

    def cancel(self) -> RunResponse:
        """Ends the job: when this returns nothing more of it is recorded, and its processes end within 2 seconds.

        ``ConflictError`` when it has ended before.
        """
        return self._take(call_json("POST", self._path("cancel"), f"canceling job {self.job_id}"))

    def retry(self) -> RunResponse:
        """A new job of its tasks that are not done (failed ones, and the steps behind them); they count from 0 there.

        ``ConflictError`` while it has not ended, and where all are done.
        """
        return self._again("retry")

    def rerun(self) -> RunResponse:
        """A new job of the same config and options."""
        return self._again("rerun")

    def _again(self, verb: str) -> RunResponse:
        path = path_of("api", "v1", "jobs", self.job_id, verb)
        return post_job(path, f"running job {self.job_id} again", None, {})

    def get_logs(self, since_ms: int | None = None) -> list[dict[str, Any]]:
        """Its lines so far: ``{"timestamp": milliseconds since 1970, "message": text}``; from ``since_ms`` on."""
        if since_ms is not None and (isinstance(since_ms, bool) or not isinstance(since_ms, int) or since_ms < 0):
            raise ValueError(f"since_ms is {since_ms!r}; it is a whole number of milliseconds since 1970, or None")
        path = f"/logs{path_of(self.job_id)}"
        return list(call_json("GET", path, f"reading the log of job {self.job_id}", {"since_ms": since_ms}) or [])

    def print_logs(self, since_ms: int | None = None, file: TextIO | None = None) -> None:
        """Prints its lines with their times; to ``file`` where given. Of several tasks each line names its own."""
        tasks = (self if self.total_tasks else self.get_status()).total_tasks
        for line in self.get_logs(since_ms):
            print(line_text(line, tasks), file=file)

    def tail_logs(
        self,
        refresh_seconds: float = 1,
        sample_logs: bool = True,
        timeout: float | None = None,
        get_logs_retries: int = 1,
    ) -> None:
        """Prints its lines as they come, until it has ended.

        ``sample_logs``: of many lines that came at once only the last ones, and how many were left out; False prints
        every line. ``timeout``: seconds after which it only stops printing; the job goes on.
        ``get_logs_retries``: how often reading the log may fail in a row. A server that does not answer at all is asked
        again for 10 minutes.
        """
        if refresh_seconds <= 0:
            raise ValueError(f"refresh_seconds is {refresh_seconds}; it must be above 0")
        deadline = _Deadline(timeout)
        lines = _NewLines(self)
        patience = _Patience(self)
        failures = 0
        while True:
            new: list[dict[str, Any]] = []
            is_known = patience.asks(self.refresh_status)  # before the log, which then has all of one that has ended
            try:
                new = lines.read() if is_known else []
                failures = 0
            except FusedError as error:
                failures += 1
                if failures > get_logs_retries or not may_pass(error):
                    raise
            if sample_logs and len(new) > SAMPLE_LINES:
                print(f"… {len(new) - SAMPLE_LINES} lines more (sample_logs=False prints them) …")
                new = new[-SAMPLE_LINES:]
            for line in new:
                print(line_text(line, self.total_tasks))
            sys.stdout.flush()
            if is_known and self.status not in _OPEN and not failures:
                return
            if deadline.is_over():
                print(f"job {self.job_id} goes on; its log is not followed any more after {timeout:g} s")
                return
            time.sleep(deadline.at_most(refresh_seconds))

    def get_exec_time(self) -> timedelta:
        """From its first line to its last; so far, with a warning, while it runs.

        ``ValueError`` when it has no line yet.
        """
        if not self.refresh_status().is_done:
            message = f"job {self.job_id} is {self.status}: its time so far"
            warn_caller(message, FusedInProgressWarning)
        times = [int(line["timestamp"]) for line in self.get_logs()]
        if not times:
            raise ValueError(
                f"job {self.job_id} has no log lines yet, so that it has no time; its status: {self.status}"
            )
        return timedelta(milliseconds=max(times) - min(times))

    def wait_for_job(self, poll_interval_seconds: float = 5, timeout: float | None = None) -> RunResponse:
        """Waits until it has ended, in whatever way: ``status`` tells. ``TimeoutError`` after ``timeout`` seconds.

        A server that does not answer is asked again for 10 minutes: it may be started anew, and the job goes on then.
        """
        if poll_interval_seconds <= 0:
            raise ValueError(f"poll_interval_seconds is {poll_interval_seconds}; it must be above 0")
        deadline = _Deadline(timeout)
        pause = min(0.05, poll_interval_seconds)  # most jobs are short: ask soon, then less often
        patience = _Patience(self)
        while not (patience.asks(self.refresh_status) and self.is_done):
            if deadline.is_over():
                raise TimeoutError(
                    f"job {self.job_id} is {self.status} after {timeout:g} s ({self._progress()}); it goes on: wait "
                    "again, or end it with .cancel()"
                )
            time.sleep(deadline.at_most(pause))
            pause = min(pause * 1.5, poll_interval_seconds)
        return self

    def get_results(self, arg_index: int = -1) -> Any:
        """What its tasks returned, in the order of its input, as a list; with ``arg_index`` that one alone.

        ``ValueError`` when the job has not ended, when there is no such result, or, of all, when one is missing because
        its task never ended (the job was canceled); the error of a task that failed.
        """
        if not self.refresh_status().is_done:
            raise ValueError(f"job {self.job_id} is {self.status} ({self._progress()}); .wait_for_job() waits for it")
        listed = self._result_links()
        if arg_index == -1 and not isinstance(arg_index, bool):
            return read_all(self.job_id, listed, self.total_tasks)
        return read_results(self.job_id, listed, arg_index, self._why_no_result)

    def _result_links(self) -> list[Mapping[str, Any]]:
        links: list[Mapping[str, Any]] = []
        for first in range(0, max(1, self.total_tasks), _LINKS_AT_ONCE):
            query = {"skip": first, "limit": _LINKS_AT_ONCE}
            links += call_json("GET", self._path("results"), f"reading the results of job {self.job_id}", query) or []
        return links

    def _why_no_result(self, number: int) -> str | None:
        """Of a task of this job that left none, or that there is not."""
        if number >= self.total_tasks:
            tasks = f"the tasks 0 to {self.total_tasks - 1}" if self.total_tasks > 1 else "task 0 alone"
            return f"job {self.job_id} has no result {number}: it has {tasks}" if self.total_tasks else None
        told = f"the job is {self.status} with {self._progress()} done" + (f" ({self.error})" if self.error else "")
        query = {"skip": number, "limit": 1}
        about = call_json("GET", path_of("api", "v1", "jobs", self.job_id), f"asking about task {number}", query)
        begun = [task for task in about["tasks"] if task["task"] == number and task["attempts"]]
        if not begun:
            return f"task {number} of job {self.job_id} never began: {told}"
        return f"task {number} of job {self.job_id} had begun and was ended without a result: {told}"

    def _progress(self) -> str:
        return f"{self.finished_tasks} of {self.total_tasks} tasks"

    def _path(self, verb: str = "") -> str:
        return f"/run/by-id{path_of(self.job_id, *([verb] if verb else []))}"

    def _take(self, value: Any) -> RunResponse:
        for name, item in _known(value).items():
            setattr(self, name, item)
        return self

    def __repr__(self) -> str:
        error = f": {self.error}" if self.error else ""
        return f"<RunResponse {self.job_id} {self.job_name!r}: {self.status}, {self._progress()}{error}>"


def _known(value: Any) -> dict[str, Any]:
    known = {each.name for each in fields(RunResponse)} - {"job_id"}
    return {name: item for name, item in dict(value).items() if name in known}


def line_text(line: Mapping[str, Any], tasks: int = 1) -> str:
    """A line of the log with its time, for people; with its task, where the job has several and the task printed it."""
    milliseconds = int(line["timestamp"])
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds // 1000))
    is_of_task = tasks > 1 and line.get("stream") in ("stdout", "stderr") and line.get("task") is not None
    task = f"[task {line['task']}] " if is_of_task else ""
    return f"{when}.{milliseconds % 1000:03d} {task}{str(line['message']).rstrip()}"


class _Deadline:
    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout is {timeout}; it is a number of seconds, or None for no end")
        self._end = None if timeout is None else time.monotonic() + timeout

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def at_most(self, seconds: float) -> float:
        return seconds if self._end is None else max(0.0, min(seconds, self._end - time.monotonic()))


class _Patience:
    """Questions that may stay without an answer for ``PATIENCE_SECONDS``, where the server has answered before."""

    def __init__(self, job: RunResponse) -> None:
        self._answered = time.monotonic() if job.job_status is not None else None

    def asks(self, question: Callable[[], Any]) -> bool:
        """Whether there was an answer; raises what cannot pass, or has not."""
        try:
            question()
        except FusedError as error:
            if not may_pass(error) or self._answered is None or time.monotonic() - self._answered > PATIENCE_SECONDS:
                raise
            return False
        self._answered = time.monotonic()
        return True


class _NewLines:
    """The lines that were not there at the last look: lines of the same millisecond may come in two replies."""

    def __init__(self, job: RunResponse) -> None:
        self._job = job
        self._since: int | None = None
        self._seen: Counter[str] = Counter()  # messages of the millisecond `_since`

    def read(self) -> list[dict[str, Any]]:
        return list(self._new(self._job.get_logs(self._since)))

    def _new(self, lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        known = Counter(self._seen)
        before = self._since
        for line in lines:
            at, message = int(line["timestamp"]), str(line["message"])
            if before is not None and at < before:
                continue  # a server that gives more than was asked for
            if at == before and known[message] > 0:
                known[message] -= 1
                continue
            if self._since is None or at > self._since:
                self._since, self._seen = at, Counter()
            if at == self._since:
                self._seen[message] += 1
            yield line
