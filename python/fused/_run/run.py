"""``fused.run`` and ``fused.run_async``."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fused._run.arguments import (
    Call,
    batch_kind,
    resolve_age,
    resolve_engine,
    resolve_follow,
    resolve_formats,
    resolve_on_timeout,
    resolve_target,
    resolve_tile,
)
from fused._run.evaluation import UdfEvaluationResult
from fused.models.step import UdfJobStepConfig
from fused.models.udf import Udf

RETRY_SECONDS = 0.1  # before the first retry of a failed function, doubled each time
RETRY_SECONDS_MAX = 5.0
# Ordinary parameters where the function declares them.
NEWER = ("cache", "cache_reset", "instance_type", "disk_size_gb", "follow_logs", "on_timeout")


def run(
    udf: str | Udf | UdfJobStepConfig | Callable[..., Any] | None = None,
    *args: Any,
    x: int | None = None,
    y: int | None = None,
    z: int | None = None,
    sync: bool = True,
    engine: Literal["remote", "local"] | None = None,
    type: Literal["tile", "file"] | None = None,
    max_retry: int = 0,
    cache_max_age: str | None = None,
    parameters: dict[str, Any] | None = None,
    _include_log: bool = False,
    _return_response: bool = False,
    **kw_parameters: Any,
) -> Any:
    """Runs a function and returns its value (seed 000, ``run``).

    ``udf``: a saved function's name, ``"email/name"`` or id, a share token, a function made with ``@fused.udf`` or a
    plain one, or a ``UdfJobStepConfig`` (with ``arg_list``: a list of results, in order).
    ``x``, ``y``, ``z``: together a tile, handed over as bounds in degrees; ``type="file"`` makes them plain parameters.
    ``sync=False``: returns an awaitable instead of the value. ``engine``: ``"remote"`` (on the server, results must
    have a form that can travel) or ``"local"`` (in this process, whatever is returned comes back); default: remote
    when a server is known. ``max_retry``: how often a function that failed is tried again. ``cache_max_age``: how old
    a stored result may be; ``cache=False``: none. ``parameters`` win over ``kw_parameters``. ``_return_response``,
    ``_include_log``: the whole ``UdfEvaluationResult`` instead of the value, also after a failure of the function.
    ``instance_type="small"`` (or another but ``"realtime"``; also as ``engine``): runs as a job, without the limits of
    a run at once, and waits for it; the job goes on when this process ends. ``disk_size_gb``: of that job.
    ``follow_logs=True``: prints what the function prints on the server line by line while it runs; a function given
    instead is called with each, as ``(stream, line)``.
    ``on_timeout="job"``: a run that reaches the server's wall limit goes on as a job of the same id, with all it has
    done so far; the value is then that job's ``RunResponse``, given with a warning (``FusedInProgressWarning``).
    ``"error"``: it ends with ``UdfTimeoutError``. Default: what the function's decorator says, else ``"error"``.
    Newer names are taken too: ``cache``, ``_format``,
    ``_ignore_unknown_arguments``; each is an ordinary parameter when a function given as an object declares it (for a
    name or token give it in ``parameters``).

    Raises ``ValueError`` when nothing or more than one thing says what to run, or a value is impossible;
    ``TypeError`` for a first argument of another type and for parameters the function does not have;
    ``fused.errors.UdfError`` with the function's traceback when it failed. Warns (``FusedIgnoredWarning``) about what
    has no effect.
    """
    call = _resolve(udf, args, x, y, z, engine, type, max_retry, cache_max_age, parameters, kw_parameters)
    call.whole_response = bool(_include_log or _return_response)
    if not sync:
        return _awaitable(call)
    return _execute(call)


def run_async(udf: Any = None, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
    """``fused.run(…, sync=False)``: arguments are checked now, the run starts when it is awaited."""
    kwargs["sync"] = False
    coroutine: Coroutine[Any, Any, Any] = run(udf, *args, **kwargs)
    return coroutine


def _resolve(
    udf: Any,
    args: tuple[Any, ...],
    x: Any,
    y: Any,
    z: Any,
    engine: str | None,
    type_: str | None,
    max_retry: int,
    cache_max_age: str | None,
    parameters: dict[str, Any] | None,
    keywords: dict[str, Any],
) -> Call:
    call = Call()
    resolve_target(call, udf, args, keywords)
    newer = {name: _take(call, keywords, name) for name in NEWER}
    call.ignore_unknown = bool(keywords.pop("_ignore_unknown_arguments", False))
    kind = batch_kind(call, engine, newer["instance_type"])
    if kind is None:
        resolve_engine(call, engine, newer["instance_type"], newer["disk_size_gb"])
    else:
        call.engine, call.batch = "remote", {"instance_type": kind, "disk_size_gb": newer["disk_size_gb"]}
    resolve_age(call, cache_max_age, newer["cache"], newer["cache_reset"])
    resolve_follow(call, newer["follow_logs"])
    resolve_on_timeout(call, newer["on_timeout"])
    resolve_formats(call, keywords)
    if isinstance(max_retry, bool) or not isinstance(max_retry, int) or max_retry < 0:
        raise ValueError(f"max_retry={max_retry!r} is not a whole number from 0 up")
    call.max_retry = max_retry
    if parameters is not None and not isinstance(parameters, dict):
        raise TypeError(f"parameters is a dictionary of names and values, not {parameters!r}")
    resolve_tile(call, type_, x, y, z)
    call.parameters |= {**keywords, **(parameters or {})}
    if call.udf is not None:
        call.parameters = call.known_parameters(call.udf, call.parameters)
    return call


def _take(call: Call, keywords: dict[str, Any], name: str) -> Any:
    declared = call.udf is not None and name in call.udf.described.parameters
    return None if declared else keywords.pop(name, None)


def _execute(call: Call) -> Any:
    if call.batch is not None:
        from fused._jobs.run import run_as_job

        return run_as_job(call)
    if call.items is None:
        return _with_retries(call, call.parameters)
    return [_with_retries(call, {**item, **call.parameters}) for item in call.items]


def _with_retries(call: Call, parameters: dict[str, Any]) -> Any:
    """One result; a function that failed is tried again ``max_retry`` times, with the same run id."""
    attempt = _attempt(call, parameters)
    delay = RETRY_SECONDS
    for left in range(call.max_retry, -1, -1):
        result = attempt()
        if result.exception is None:
            break
        if left == 0 and not call.whole_response:
            raise result.exception
        if left:
            time.sleep(delay)
            delay = min(2 * delay, RETRY_SECONDS_MAX)
    return result if call.whole_response else result.data


def _attempt(call: Call, parameters: dict[str, Any]) -> Callable[[], UdfEvaluationResult]:
    if call.engine == "remote":
        from fused._run.remote import RemoteRun

        return RemoteRun(call, parameters).attempt
    udf = call.udf or _load(call)
    parameters = call.known_parameters(udf, parameters)
    return lambda: _attempt_local(udf, parameters, call)


def _load(call: Call) -> Udf:
    from fused._load import load

    return load(call.token or call.name or "")


def _attempt_local(udf: Udf, parameters: dict[str, Any], call: Call) -> UdfEvaluationResult:
    from fused._run.local import call_local

    started = time.monotonic()
    try:
        data = call_local(udf, parameters, call.tile)
        return UdfEvaluationResult(data=data, udf=udf, time_taken_seconds=time.monotonic() - started)
    except Exception as error:
        import traceback

        shown = "".join(traceback.format_exception(error))
        return UdfEvaluationResult(
            udf=udf,
            time_taken_seconds=time.monotonic() - started,
            has_exception=True,
            exception_class=error.__class__.__name__,
            error_message=shown,
            error_type="runtime_error",
            exception=error,
        )


async def _awaitable(call: Call) -> Any:
    from fused._run.threads import in_thread

    return await in_thread(lambda: _execute(call), f"fused.run {call.label}")
