"""What the running function may know of its run; ``fused.context`` shows it."""

from __future__ import annotations

from typing import Any


class RunContext:
    """One run: the ``context`` of its order, and what the worker adds."""

    __slots__ = ("order", "run_id", "udf", "udf_record", "values")

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.values: dict[str, Any] = order.get("context") or {}
        self.run_id: str = order.get("run_id") or ""
        self.udf_record: dict[str, Any] = order.get("udf") or {}
        self.udf: Any = None


class _Now:
    # Not a name of the module: a run would then seem to have changed the module (``names.py``).
    __slots__ = ("run",)
    run: RunContext | None


_now = _Now()
_now.run = None


def current() -> RunContext | None:
    """The run that goes on in this process, or None."""
    return _now.run


def set_current(context: RunContext | None) -> None:
    """For the worker: which run goes on."""
    _now.run = context
