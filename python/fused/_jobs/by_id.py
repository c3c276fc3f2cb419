"""``fused.api.job_*``: what a ``RunResponse`` does, for a bare id."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TextIO

from fused._jobs.response import RunResponse


def job_get_status(job: str | RunResponse) -> RunResponse:
    """The job as it is now."""
    return RunResponse.of_id(job).get_status()


def job_cancel(job: str | RunResponse) -> RunResponse:
    """Ends the job for good; ``ConflictError`` when it has ended before."""
    return RunResponse.of_id(job).cancel()


def job_get_logs(job: str | RunResponse, since_ms: int | None = None) -> list[dict[str, Any]]:
    """Its log lines, ``{"timestamp": milliseconds since 1970, "message": text}``; from ``since_ms`` on."""
    return RunResponse.of_id(job).get_logs(since_ms)


def job_print_logs(job: str | RunResponse, since_ms: int | None = None, file: TextIO | None = None) -> None:
    """Prints its log lines."""
    RunResponse.of_id(job).print_logs(since_ms, file)


def job_tail_logs(
    job: str | RunResponse,
    refresh_seconds: float = 1,
    sample_logs: bool = True,
    timeout: float | None = None,
    get_logs_retries: int = 1,
) -> None:
    """Prints its log lines as they come, until it has ended (``RunResponse.tail_logs``)."""
    RunResponse.of_id(job).tail_logs(refresh_seconds, sample_logs, timeout, get_logs_retries)


def job_get_exec_time(job: str | RunResponse) -> timedelta:
    """From its first log line to its last."""
    return RunResponse.of_id(job).get_exec_time()


def job_wait_for_job(
    job: str | RunResponse, poll_interval_seconds: float = 5, timeout: float | None = None
) -> RunResponse:
    """Waits until it has ended; ``TimeoutError`` after ``timeout`` seconds."""
    return RunResponse.of_id(job).wait_for_job(poll_interval_seconds, timeout)


def job_get_results(job: str | RunResponse) -> list[Any]:
    """What its tasks returned, in the order of its input."""
    return list(RunResponse.of_id(job).get_results())


def job_wait_for_results(
    job: str | RunResponse, poll_interval_seconds: float = 5, timeout: float | None = None
) -> list[Any]:
    """Waits until it has ended and gives its results."""
    return list(RunResponse.of_id(job).wait_for_job(poll_interval_seconds, timeout).get_results())
