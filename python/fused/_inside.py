"""Where this code runs: in somebody's process, in a function that runs on a server, or in one that runs locally."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_loading: ContextVar[bool] = ContextVar("fused_loading", default=False)
_local_runs: ContextVar[int] = ContextVar("fused_local_runs", default=0)


def channel() -> Any | None:
    """The worker's channel to its server while a function runs in a worker; None everywhere else."""
    module = sys.modules.get("fused._worker.channel")
    return None if module is None else module.current()


def is_worker_process() -> bool:
    """Is this a server's worker: also while a function's text is only compiled there."""
    return "fused._worker.runner" in sys.modules or channel() is not None


@contextmanager
def loading() -> Iterator[None]:
    """Marks that a loaded text is run to get at its function."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


def is_loaded_code() -> bool:
    """Is the code that runs a text from elsewhere: its header files came with it, and it may be of another version."""
    return _loading.get() or is_worker_process()


def local_depth() -> int:
    """How many functions run around this one with ``engine="local"``."""
    return _local_runs.get()


def in_running_function() -> bool:
    """Is a function running here, in a worker or locally: then calling a Udf runs it."""
    return local_depth() > 0 or channel() is not None


@contextmanager
def local_run() -> Iterator[int]:
    """Marks a function as running with ``engine="local"``; gives its depth."""
    token = _local_runs.set(_local_runs.get() + 1)
    try:
        yield _local_runs.get()
    finally:
        _local_runs.reset(token)
