"""How much memory a worker holds that its runs left behind: given back where the C library can, else it is replaced."""

from __future__ import annotations

import gc
import os

from .setup import libc

GROWTH_BYTES_MAX = 1 << 30  # where the server's order does not say
_LARGE_RUN_BYTES = 32 << 20  # after such a run the heap is trimmed at once
_EVERY_RUNS = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Growth:
    """Compares the worker's own pages with those it had when it was clean."""

    def __init__(self) -> None:
        self._runs = 0
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

    def check(self, peak_bytes: int, limit_bytes: int | None) -> str | None:
        """After a run that had grown by ``peak_bytes``: why the worker holds too much, or None."""
        self._runs += 1
        if peak_bytes < _LARGE_RUN_BYTES and self._runs % _EVERY_RUNS:
            return None
        limit = limit_bytes or GROWTH_BYTES_MAX
        if peak_bytes >= _LARGE_RUN_BYTES or self._own_bytes() - self._base > limit:
            gc.collect()
            libc.malloc_trim(0)
        grown = self._own_bytes() - self._base
        return f"its memory grew by {grown >> 20} MiB" if grown > limit else None
