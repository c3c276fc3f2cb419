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


_current: RunContext | None = None


def current() -> RunContext | None:
    """The run that goes on in this process, or None."""
    return _current


def set_current(context: RunContext | None) -> None:
    """For the worker: which run goes on."""
    global _current
    _current = context
