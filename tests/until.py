"""Waiting for what other processes do: for an event, never for a time."""

from __future__ import annotations

import time
from typing import Any


def until(condition: Any, seconds: float = 60) -> Any:
    """The first true value of ``condition``; a failure where none comes."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.01)
    return found
