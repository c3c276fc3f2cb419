"""Durations as users write them: ``"48h"``, ``"10s"`` (the same rules as ``core/base/duration.hpp``)."""

from __future__ import annotations

import re
from datetime import timedelta

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SECONDS_MAX = 36_500 * 86400
_TEXT = re.compile(r"([0-9]+)([smhd])\Z")


def parse_duration(value: str | int | timedelta, what: str = "cache_max_age") -> int:
    """Whole seconds of ``"48h"``, of a number of seconds or of a ``timedelta``; ``ValueError`` names the value seen.

    Serves the seed's "Supported units are seconds (s), minutes (m), hours (h), and days (d)". ``0`` means: no cache.
    """
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
    elif isinstance(value, bool):
        raise ValueError(
            f"{what}={value!r} is not a duration: write a number and a unit, as '48h', '10s', '30m' or '7d'"
        )
    elif isinstance(value, int):
        seconds = value
    else:
        text = value.strip() if isinstance(value, str) else ""
        match = _TEXT.match(text)
        if match is None and text != "0":
            raise ValueError(
                f"{what}={value!r} is not a duration: write a whole number and one unit of s, m, h, d, as '48h' or "
                "'10s'"
            )
        seconds = int(match[1]) * UNIT_SECONDS[match[2]] if match else 0
    if not 0 <= seconds <= SECONDS_MAX:
        raise ValueError(f"{what}={value!r} is out of range: from 0 to 36500d")
    return seconds


def parse_lifetime(value: str | int | timedelta, what: str = "expires_in") -> int:
    """``parse_duration`` of how long something is to live: at least a second."""
    seconds = parse_duration(value, what)
    if seconds == 0:
        raise ValueError(
            f"{what}={value!r} would end at once: at least '1s', as '12h' or '7d'; leave it out for what never ends"
        )
    return seconds


def format_duration(seconds: int) -> str:
    """The shortest such text: ``7200`` gives ``"2h"``."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % UNIT_SECONDS[unit] == 0:
            return f"{seconds // UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}s"
