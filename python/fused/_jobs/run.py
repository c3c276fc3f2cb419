"""``fused.run(udf, instance_type="small")``: a job, and its result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fused._jobs.response import RunResponse
from fused._run.evaluation import UdfEvaluationResult
from fused.errors import UdfRuntimeError
from fused.models.step import UdfJobStepConfig

if TYPE_CHECKING:
    from fused._run.arguments import Call
    from fused.models.udf import Udf


def run_as_job(call: Call) -> Any:
    """Starts the job, waits for its end and gives what it returned: a list where ``arg_list`` was given.

    Interrupted, or when this process ends, the job goes on: the exception says how to find it.
    """
    udf = _function(call)
    if call.tile is not None:
        raise ValueError("x, y and z make a tile of a run at once; a job takes bounds as an ordinary parameter")
    items = None if call.items is None else [{**item, **call.parameters} for item in call.items]
    parameters = {} if items is not None else call.known_parameters(udf, call.parameters)
    step = UdfJobStepConfig(udf.set_parameters(parameters), items)
    assert call.batch is not None
    began = time.monotonic()
    job = step.run_remote(**call.batch, max_retry=call.max_retry or None)
    try:
        if call.follow_logs is not None:
            job.tail_logs(refresh_seconds=0.3, sample_logs=False)
        job.wait_for_job()
    except BaseException as error:
        error.add_note(
            f"job {job.job_id} goes on: fused.api.job_wait_for_results({job.job_id!r}), or end it with "
            f"`fused jobs cancel {job.job_id}`"
        )
        raise
    value, failure = _results(job, items is not None)
    if call.whole_response:
        return UdfEvaluationResult(
            data=value,
            udf=udf,
            time_taken_seconds=time.monotonic() - began,
            has_exception=failure is not None,
            exception=failure,
            error_message=None if failure is None else str(failure),
        )
    if failure is not None:
        raise failure
    return value


def _function(call: Call) -> Udf:
    if call.udf is not None:
        return call.udf
    from fused._load import load

    return load(call.token or call.name or "")


def _results(job: RunResponse, many: bool) -> tuple[Any, Exception | None]:
    told = f"job {job.job_id} is {job.status}" + (f": {job.error}" if job.error else "")
    if job.status == "canceled":
        return None, UdfRuntimeError(told)
    try:
        values = job.get_results()
    except Exception as error:  # what a task raised
        error.add_note(f"{told}; its log: `fused jobs logs {job.job_id}`")
        return None, error
    if job.status == "failed":
        return None, UdfRuntimeError(f"{told}; its log: `fused jobs logs {job.job_id}`")
    if many:
        return values, None
    return (values[0] if values else None), None
