"""A wall clock of a server that a test puts forward and back (libfaketime)."""

from __future__ import annotations

from pathlib import Path

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def faked_clock(told: Path) -> dict[str, str]:
    """The environment of a server whose clock is as far ahead as ``told`` says: ``+3`` seconds, ``-60``. Rename into
    its place what it is to say next. Monotonic clocks are the real ones.
    """
    return {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
    }  # fmt: skip
