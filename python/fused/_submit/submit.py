"""``fused.submit``: its arguments, their defaults and their errors (seed 000; client-protocol.md §7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fused._inside import channel, local_depth
from fused._run.arguments import Call, batch_kind, resolve_age, resolve_engine, resolve_target
from fused._submit.arguments import Arguments, read_arguments
from fused._submit.async_pool import AsyncJobPool
from fused._submit.job_pool import Engine, JobPool
from fused.errors import ConfigurationError, UdfSelfRecursionError
from fused.models.step import UdfJobStepConfig
from fused.models.udf import Udf
from fused.warnings import FusedIgnoredWarning, warn_caller

if TYPE_CHECKING:
    from fused._submit.call_table import CallTable

WORKERS = 32  # the default of max_workers
WORKERS_MAX = 1_024
LOCAL_DESCRIPTORS = 8  # of a local worker, in this process
EXECUTION_TYPES = ("thread_pool", "async_loop")


class _Default(int):
    """A default that can be told from the same number given by the caller."""


RETRIES: int = _Default(2)

# The function that runs in this process as a call of a pool: it may not submit itself.
running: ContextVar[Udf | None] = ContextVar("fused_submit_running", default=None)


@dataclass
class _Newer:
    """The keywords that the seed does not have; each is an ordinary parameter where the function declares it."""

    collect: bool = False
    instance_type: str | None = None
    disk_size_gb: int | None = None
    n_processes_per_worker: int | None = None
    worker_concurrency: int | None = None
    execution_type: str = "thread_pool"
    cache: bool | None = None
    cache_max_age: str | None = None
    run_cache_max_age: str | None = None
    ignore_exceptions: bool = False
    flatten: bool = True
    drop_index: bool = False
    _before_run: float | None = None
    _before_submit: float | None = None
    _isolate_streams: bool = True

    @classmethod
    def take(cls, udf: Udf | None, keywords: dict[str, Any]) -> _Newer:
        """Takes them out of ``keywords``."""
        declared = () if udf is None else udf.described.parameters
        names = [name for name in cls.__dataclass_fields__ if name in keywords and name not in declared]
        return cls(**{name: keywords.pop(name) for name in names})


def submit(
    udf: Any,
    arg_list: Any,
    engine: str | None = "remote",
    max_workers: int | None = None,
    max_retry: int = RETRIES,
    debug_mode: bool = False,
    wait_on_results: bool = False,
    **kwargs: Any,
) -> Any:
    """Runs a function for each item of ``arg_list`` and returns at once a ``JobPool``: states, results, output, errors.

    ``udf``: as for ``fused.run``. ``arg_list``: a list of values for the first parameter, a list of dictionaries, or a
    DataFrame with a column for each parameter. ``engine``: ``"remote"`` (workers of the server) or ``"local"``
    (processes here); None: as ``fused.run`` decides. ``max_workers``: how many calls run at a time, at most (32; local
    processes start with one for each core, and are more where they wait for something else). ``max_retry``: how often
    a call that failed is tried again: as given for every failure, by default twice where the function is not to blame
    (a process that was ended, a time limit). ``debug_mode``: runs the first item alone, as ``fused.run``, and returns
    its value. ``wait_on_results``: waits and returns a DataFrame of arguments, ``status`` and ``result``. ``kwargs``:
    parameters that every call is given; an item's own value wins.

    Newer keywords, unless the function has a parameter of that name: ``collect=True`` (waits and returns
    ``pool.collect()``, with ``ignore_exceptions``, ``flatten`` and ``drop_index``), ``cache=False``,
    ``cache_max_age``, ``run_cache_max_age`` (how old a stored result of a call may be), ``execution_type``
    (``"async_loop"``: an ``AsyncJobPool``), ``instance_type`` (``"realtime"``, or as
    ``"small"``: the calls are tasks of a job, which goes on when this process ends, and never answered from stored
    results); ``n_processes_per_worker`` and
    ``worker_concurrency`` are accepted: how many calls a worker is given at once is chosen by how long they take.

    Raises ``ValueError`` for an empty list, for values where the function has no parameter to take them, and for
    impossible options; ``TypeError`` for names that the function does not have, a lambda, a generator;
    ``UdfSelfRecursionError`` when a function submits itself.
    """
    return _submit(
        udf, arg_list, engine, max_workers, max_retry, debug_mode, wait_on_results, kwargs, "fused.submit(…, {})"
    )


def _submit(
    udf: Any,
    arg_list: Any,
    engine: str | None,
    max_workers: int | None,
    max_retry: int,
    debug_mode: bool,
    wait_on_results: bool,
    kwargs: dict[str, Any],
    called: str,
) -> Any:
    call, newer = _resolve(udf, engine, max_workers, max_retry, kwargs)
    arguments = read_arguments(arg_list, call.udf, call.label, kwargs, called)
    if debug_mode:
        return _run_first(call, arguments)
    _refuse_self(call)
    workers = _workers(max_workers, call.engine)
    kind = AsyncJobPool if newer.execution_type == "async_loop" else JobPool
    factory = _local(call, arguments, workers, max_workers is None, max_retry)
    if call.batch is not None:
        factory = _as_job(call, arguments, None if max_workers is None else workers, max_retry)
    elif call.engine == "remote":
        factory = _remote(call, arguments, workers, max_retry)
    pool = kind(call.udf, call.label, arguments, factory)
    if wait_on_results:
        return pool.get_results_df(ignore_exceptions=newer.ignore_exceptions)
    if newer.collect:
        return pool.collect(newer.ignore_exceptions, newer.flatten, newer.drop_index)
    return pool


def _resolve(
    udf: Any, engine: str | None, max_workers: int | None, max_retry: int, keywords: dict[str, Any]
) -> tuple[Call, _Newer]:
    if udf is None:
        raise ValueError("fused.submit needs a function: one made with @fused.udf, a name, or a share token")
    if getattr(udf, "__name__", None) == "<lambda>":
        raise TypeError("a lambda has no name to be called by: write it as `def udf(...): return ...`")
    if isinstance(udf, UdfJobStepConfig):
        udf = udf.udf
    call = Call()
    parameters = dict(keywords)
    resolve_target(call, udf, (), keywords)
    if call.name is not None:
        from fused._load import load

        call.udf, call.name = load(call.name), None
    newer = _Newer.take(call.udf, keywords)
    kind = batch_kind(call, engine, newer.instance_type)
    if kind is not None:
        if call.udf is None:
            raise ValueError("a share token runs at once, on its server; a job needs the function: fused.load(…)")
        call.engine, call.batch = "remote", {"instance_type": kind, "disk_size_gb": newer.disk_size_gb}
        engine, newer.instance_type, newer.disk_size_gb = "remote", None, None
    resolve_engine(call, engine, newer.instance_type, newer.disk_size_gb)
    for flag in ("collect", "ignore_exceptions", "flatten", "drop_index"):
        if not isinstance(getattr(newer, flag), bool):
            raise ValueError(f"{flag}={parameters[flag]!r} is not True or False")
    if newer.execution_type not in EXECUTION_TYPES:
        known = " and ".join(map(repr, EXECUTION_TYPES))
        raise ValueError(f"execution_type={newer.execution_type!r} is unknown; there are {known}")
    for name in ("n_processes_per_worker", "worker_concurrency"):
        _count(getattr(newer, name), name)
    _count(max_workers, "max_workers")
    if isinstance(max_retry, bool) or not isinstance(max_retry, int) or max_retry < 0:
        raise ValueError(f"max_retry={max_retry!r} is not a whole number from 0 up")
    age = newer.run_cache_max_age if newer.run_cache_max_age is not None else newer.cache_max_age
    if call.engine == "remote" or age is not None:
        resolve_age(call, age, newer.cache)
    return call, newer


def _count(value: int | None, name: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name}={value!r} is not a whole number from 1 up")


def _workers(max_workers: int | None, engine: str) -> int:
    most, why = WORKERS_MAX, f"at most {WORKERS_MAX:,} calls run at a time"
    if engine == "local":
        from fused._submit.local_nursery import descriptors_left

        open_files = max(1, (descriptors_left() - 64) // LOCAL_DESCRIPTORS)
        if open_files < most:
            most, why = open_files, f"this process may open files for {open_files} workers (`ulimit -n`)"
    wanted = WORKERS if max_workers is None else max_workers
    if wanted > most and max_workers is not None:
        warn_caller(f"max_workers={max_workers} is lowered to {most}: {why}", FusedIgnoredWarning)
    return min(wanted, most)


def _refuse_self(call: Call) -> None:
    """A function that submits itself would have as many runs as the machine can hold, and more."""
    if call.udf is None or (channel() is None and not local_depth()):
        return
    own = running.get()
    if own is None and channel() is not None:
        from fused import context

        own = context.this_udf()
    if own is not None and (own == call.udf or (own.name == call.udf.name and own.code == call.udf.code)):
        raise UdfSelfRecursionError(
            f"{call.udf.name!r} submits itself, which has no end; submit another function, or call it: fused.run"
        )


def _run_first(call: Call, arguments: Arguments) -> Any:
    from fused._run.run import run

    first = arguments.call(0)
    engine: Any = call.engine
    if call.udf is not None:
        return run(call.udf, engine=engine, parameters=first)
    return run(call.token, engine=engine, parameters=first)


Factory = Callable[["CallTable"], Engine]


def _local(call: Call, arguments: Arguments, workers: int, grows: bool, max_retry: int) -> Factory:
    from fused._submit.local import LocalRun

    if call.engine == "local" and call.udf is None:
        raise ValueError("a share token runs on its server; engine='local' needs the function: fused.load(…)")

    def factory(table: CallTable) -> Engine:
        assert call.udf is not None
        call.udf.fn  # code that cannot be loaded is told here, once
        limit = call.udf.limits.get("wall_seconds")
        return LocalRun(
            call.udf,
            arguments,
            table,
            max_workers=workers,
            grows=grows,
            max_retry=int(max_retry),
            retries_failures=max_retry is not RETRIES,
            wall_seconds=None if limit is None else float(limit),
        )

    return factory


def _remote(call: Call, arguments: Arguments, workers: int, max_retry: int) -> Factory:
    from fused._run.arguments import server_is_known

    if not server_is_known():
        raise ConfigurationError(
            "fused.submit has no server to run on: set fused.options.base_url or FUSED_BASE_URL, or run here with "
            f"engine='local' (on {os.cpu_count()} cores)"
        )
    from fused._submit.batch import BatchRun
    from fused._submit.call_by_call import CallByCall, Wishes

    wishes = Wishes(workers, int(max_retry), retries_failures=max_retry is not RETRIES)
    # A share token runs as its owner's; who opens a batch runs as himself.
    kind = BatchRun if call.udf is not None else CallByCall

    def factory(table: CallTable) -> Engine:
        return kind(call, arguments, table, wishes)

    return factory


def _as_job(call: Call, arguments: Arguments, max_workers: int | None, max_retry: int) -> Factory:
    from fused._submit.jobs import JobRun

    batch = call.batch or {}

    def factory(table: CallTable) -> Engine:
        # The server tries platform failures again by itself; the default is no wish for those of the function.
        wanted = None if max_retry is RETRIES else int(max_retry)
        return JobRun(call, arguments, table, max_workers=max_workers, max_retry=wanted, **batch)

    return factory


def submit_map(udf: Udf, arg_list: Any, options: dict[str, Any]) -> JobPool:
    """``udf.map(…)``; ``debug_mode`` and ``collect`` change what it gives as they do for ``submit``."""
    given = {name: value for name, value in options.items() if name in ("engine", "max_workers") or value is not None}
    known = {"engine": "remote", "max_workers": None, "max_retry": RETRIES}
    known |= {"debug_mode": False, "wait_on_results": False}
    taken = {name: given.pop(name, default) for name, default in known.items()}
    pool: JobPool = _submit(udf, arg_list, **taken, kwargs=given, called=f"{udf.name}.map(…, {{}})")
    return pool
