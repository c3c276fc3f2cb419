"""What every worker of a pool does with a group of calls, in a process here or on a server: takes a token for each,
runs it, leaves its record and its output in what the caller holds too.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from fused._submit.record import ENDED, PROGRESS, Record, cut, pack


class Places(Protocol):
    """Descriptors that worker and caller share."""

    @property
    def stdout(self) -> int: ...
    @property
    def stderr(self) -> int: ...
    @property
    def records(self) -> int: ...
    @property
    def tokens(self) -> int: ...


def each_call(
    run: Callable[[int], tuple[int, bytes, bytes]], calls: range, places: Places, progress: mmap.mmap, streams: Any
) -> int:
    """Runs them in their order: ``run`` gives status, kind and body of a record. How many, when the rest was taken
    back.
    """
    me = os.getpid()
    out_at = err_at = done = 0
    for index in calls:
        try:
            os.eventfd_read(places.tokens)
        except BlockingIOError:
            break  # the caller took the rest back
        PROGRESS.pack_into(progress, 0, time.monotonic(), out_at, err_at)
        started, clock = time.time(), time.perf_counter()
        status, kind, body = run(index)
        seconds = time.perf_counter() - clock
        if os.getpid() != me:
            os._exit(0)  # the function forked, and its child came back through it
        if not streams.are_open:
            streams.repair()
        streams.flush()
        out_end, err_end = os.lseek(1, 0, os.SEEK_END), os.lseek(2, 0, os.SEEK_END)
        out = b"" if out_end == out_at else cut(1, out_at, out_end)
        err = b"" if err_end == err_at else cut(2, err_at, err_end)
        out_at, err_at = out_end, err_end
        record = pack(Record(kind, out, err, body))
        rest = memoryview(ENDED.pack(len(record), status, started, seconds) + record)
        while rest:
            rest = rest[os.write(places.records, rest) :]
        done += 1
    PROGRESS.pack_into(progress, 0, 0.0, 0, 0)
    return done
