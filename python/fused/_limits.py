"""What a function may ask of its own runs: ``@fused.udf(limits={"wall_seconds": 10})``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# As core/worker/own_limits.cpp.
NAMES = {
    "wall_seconds": "time from begin to end, 0.5 as well",
    "memory_bytes": "memory of the function and of all processes it starts",
    "stream_bytes": "kept of each of stdout and stderr",
    "result_bytes": "the encoded result",
    "processes": "processes and threads",
    "descriptors": "open descriptors of a process",
    "disk_written_bytes": "disk held in its scratch folder",
    "files_made": "files in its scratch folder",
}


def check_limits(limits: Any) -> dict[str, int | float]:
    """The limits as plain numbers; ``ValueError`` that lists the names where one is wrong, ``TypeError`` for no
    dictionary.
    """
    if not isinstance(limits, Mapping):
        raise TypeError(f"limits is a dictionary like {{'wall_seconds': 10}}, not {limits!r}")
    checked: dict[str, int | float] = {}
    for name, value in limits.items():
        if name not in NAMES:
            raise ValueError(f"there is no limit {name!r}; the limits are {', '.join(NAMES)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value <= 0 or (name != "wall_seconds" and value != int(value)):
            kind = "a number of seconds" if name == "wall_seconds" else "a whole number"
            raise ValueError(f"limit {name!r} must be {kind} above 0, not {value!r}")
        checked[name] = value if name == "wall_seconds" else int(value)
    return checked


def check_on_timeout(on_timeout: Any) -> str | None:
    """What becomes of a run that reaches its wall limit: ``ValueError`` for another word than ``job`` and ``error``."""
    if on_timeout not in (None, "job", "error"):
        raise ValueError(f"on_timeout={on_timeout!r}: it is 'job' (the run goes on as a job) or 'error' (it ends)")
    return None if on_timeout is None else str(on_timeout)
