"""How much memory a worker holds that its runs left behind: given back where the C library can, else it is replaced.

Between runs that follow each other it is kept (``setup.keep_freed_memory``); a worker at rest gives it back.
"""

from __future__ import annotations

import gc
import os

from .setup import libc

GROWTH_BYTES_MAX = 1 << 30  # where the server's order does not say
REST_SECONDS = 0.3  # without an order, after which a worker gives back what it keeps
_KEPT_BYTES_MAX = 192 << 20  # more than this is given back at once
_WORTH_BYTES = 4 << 20  # less is not worth giving back
_EVERY_RUNS = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Growth:
    """Compares the worker's own pages with those it had when it was clean."""

    def __init__(self) -> None:
        self._runs = 0
        self.holds_memory = False  # is there something to give back at rest
        try:
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._statm = -1
        self._base = self._own_bytes()

    def _own_bytes(self) -> int:
        if self._statm < 0:
            return 0
        resident, shared = os.pread(self._statm, 256, 0).split()[1:3]
        return (int(resident) - int(shared)) * _PAGE_BYTES

    def is_due(self, grown_bytes: int) -> bool:
        """Will ``check`` look, after such a run, which may take long."""
        return grown_bytes >= _WORTH_BYTES or (self._runs + 1) % _EVERY_RUNS == 0

    def check(self, grown_bytes: int, limit_bytes: int | None) -> str | None:
        """After a run that at its highest had grown by ``grown_bytes``: why the worker holds too much, or None."""
        is_due = self.is_due(grown_bytes)
        self._runs += 1
        if not is_due:
            return None
        limit = limit_bytes or GROWTH_BYTES_MAX
        grown = self._own_bytes() - self._base
        self.holds_memory = grown > _WORTH_BYTES
        if grown > min(limit, _KEPT_BYTES_MAX):
            self.give_back()
            grown = self._own_bytes() - self._base
        return f"its memory grew by {grown >> 20} MiB" if grown > limit else None

    def give_back(self) -> None:
        """Collects what nothing refers to and returns free pages to the system."""
        gc.collect()
        libc.malloc_trim(0)
        self.holds_memory = False
