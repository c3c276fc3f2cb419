"""What a ``JobPool`` knows of its calls: some arrays and one file, whatever their number.

A call's result, output and error are one packed record. Records lie in memory up to ``MEMORY_BYTES_MAX``, the rest in a
file without a name, which ends with the pool. A record is unpacked when somebody asks for it.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

from fused._submit.record import CANCELLED, EMPTY, PENDING, RUNNING, STATUSES, Record, pack, unpack

MEMORY_BYTES_MAX = 64 << 20


class Spill:
    """Bytes by position: in memory up to a bound, then in an unnamed file. One writer; readers of any thread."""

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._max = memory_bytes_max
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._end = 0

    def append(self, data: bytes | memoryview) -> int:
        """Keeps ``data`` and gives its position; ``OSError`` when the disk is full."""
        at = self._end
        if self._file is None and at + len(data) <= self._max:
            self._memory += data
        else:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="fused-submit-")  # noqa: SIM115  (closed with the pool)
            view, place = memoryview(data), at - len(self._memory)
            while view:
                written = os.pwrite(self._file.fileno(), view, place)
                view, place = view[written:], place + written
        self._end = at + len(data)
        return at

    def read(self, at: int, length: int) -> bytes:
        """What ``append`` kept there."""
        if at < len(self._memory):
            return bytes(memoryview(self._memory)[at : at + length])
        assert self._file is not None
        parts, place = [], at - len(self._memory)
        while length:
            part = os.pread(self._file.fileno(), length, place)
            if not part:
                raise OSError("the file of a pool's results ended early: somebody cut it")
            parts.append(part)
            length, place = length - len(part), place + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def bytes_in_file(self) -> int:
        """How much does not lie in memory."""
        return self._end - len(self._memory)


class CallTable:
    """States, times and records of ``count`` calls. One thread writes (the engine's), any may read.

    ``changed`` is notified when calls finish and when the whole ends. ``failure``: what ended the engine itself, raised
    to whoever waits.
    """

    def __init__(self, count: int, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self.count = count
        self.status = np.zeros(count, np.uint8)
        self.attempts = np.zeros(count, np.uint16)
        self.started = np.full(count, np.nan)  # seconds since 1970
        self.seconds = np.full(count, np.nan)
        self._at = np.full(count, -1, np.int64)
        self._length = np.zeros(count, np.int64)
        self._spill = Spill(memory_bytes_max)
        self.counts = [count, 0, 0, 0, 0, 0]
        self.changed = threading.Condition(threading.RLock())
        self.failure: BaseException | None = None
        self.began = time.time()
        self.session_began = self.began
        self.session_finished = 0  # calls that had ended before the last start
        self.ended: float | None = None

    # -- the engine's side; with `changed` held ------------------------------------------------------------------

    def move(self, index: int, status: int) -> None:
        """Another state, nothing else."""
        before = int(self.status[index])
        self.status[index] = status
        self.counts[before] -= 1
        self.counts[status] += 1

    def begin(self, first: int, count: int) -> None:
        """These calls, of which all waited, run."""
        self.status[first : first + count] = RUNNING
        self.counts[PENDING] -= count
        self.counts[RUNNING] += count

    def put_back(self, first: int, count: int) -> None:
        """These calls, of which all were said to run, had not begun."""
        self.status[first : first + count] = PENDING
        self.counts[RUNNING] -= count
        self.counts[PENDING] += count

    def finish(self, index: int, status: int, started: float, seconds: float, record: bytes) -> None:
        """A call ended; what it left before is forgotten."""
        self._at[index] = self._spill.append(record)
        self._length[index] = len(record)
        self.started[index] = started
        self.seconds[index] = seconds
        self.attempts[index] += 1
        self.move(index, status)

    def finish_next(self, first: int, ends: list[tuple[int, float, float, bytes]]) -> None:
        """``finish`` for calls that follow each other: ``(status, started, seconds, record)`` of each."""
        statuses, started, seconds, records = zip(*ends, strict=True)
        count = len(ends)
        at = self._spill.append(b"".join(records))
        here = slice(first, first + count)
        lengths = np.fromiter(map(len, records), np.int64, count)
        self._length[here] = lengths
        self._at[here] = at + np.cumsum(lengths) - lengths
        self.started[here], self.seconds[here] = started, seconds
        self.attempts[here] += 1
        for status in range(len(STATUSES)):
            self.counts[status] -= int(np.count_nonzero(self.status[here] == status))
        self.status[here] = statuses
        for status in set(statuses):
            self.counts[status] += statuses.count(status)

    def finish_many(
        self,
        calls: np.ndarray,
        statuses: np.ndarray,
        started: np.ndarray,
        seconds: np.ndarray,
        attempts: np.ndarray,
        lengths: np.ndarray,
        records: bytes | memoryview,
    ) -> None:
        """``finish`` for any calls, each with the number of times that it was tried; ``records`` joins theirs."""
        at = self._spill.append(records)
        whole = lengths.astype(np.int64)
        self._length[calls] = whole
        self._at[calls] = at + np.cumsum(whole) - whole
        self.started[calls] = np.where(started > 0, started, np.nan)
        self.seconds[calls] = np.where(started > 0, seconds, np.nan)
        self.attempts[calls] += attempts
        before = np.bincount(self.status[calls], minlength=len(STATUSES))
        self.status[calls] = statuses
        after = np.bincount(statuses, minlength=len(STATUSES))
        self.counts = [int(n) for n in self.counts - before + after]

    def show_running(self, first: int, count: int, is_running: bool) -> None:
        """Of these calls those that wait run, or the other way round."""
        here = self.status[first : first + count]
        before, after = (PENDING, RUNNING) if is_running else (RUNNING, PENDING)
        chosen = here == before
        moved = int(np.count_nonzero(chosen))
        here[chosen] = after
        self.counts[before] -= moved
        self.counts[after] += moved

    def cancel_pending(self, call: int | None = None) -> None:
        """This call, or all that wait, are cancelled; they share one record, which is empty."""
        record = pack(Record(EMPTY, b"", b"", b""))
        chosen = np.array([call]) if call is not None else np.flatnonzero(self.status == PENDING)
        self._at[chosen], self._length[chosen] = self._spill.append(record), len(record)
        self.status[chosen] = CANCELLED
        self.counts[PENDING] -= len(chosen)
        self.counts[CANCELLED] += len(chosen)

    def restart(self, statuses: tuple[int, ...]) -> list[tuple[int, int]]:
        """The calls in these states wait again; they, as ranges ``(first, count)``."""
        with self.changed:
            chosen = np.flatnonzero(np.isin(self.status, statuses))
            for status in statuses:
                self.counts[PENDING] += self.counts[status] if status != PENDING else 0
                self.counts[status] = self.counts[status] if status == PENDING else 0
            self.status[chosen] = PENDING
            self.failure, self.ended, self.session_began = None, None, time.time()
            self.session_finished = self.finished
        if not len(chosen):
            return []
        parts = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        return [(int(part[0]), len(part)) for part in parts]

    def end(self, failure: BaseException | None = None) -> None:
        """Nothing more happens."""
        with self.changed:
            if failure is not None and not self.is_done:
                for call in np.flatnonzero(self.status == RUNNING):
                    self.move(int(call), PENDING)
            self.failure = self.failure or failure
            self.ended = time.time()
            self.changed.notify_all()

    # -- everybody's side ---------------------------------------------------------------------------------------

    @property
    def finished(self) -> int:
        """How many calls have ended, in whatever way."""
        return self.count - self.counts[PENDING] - self.counts[RUNNING]

    @property
    def is_done(self) -> bool:
        """Has every call ended."""
        return self.finished == self.count

    def where(self, *statuses: int) -> list[int]:
        """The indexes of the calls in these states."""
        with self.changed:
            found: list[int] = np.flatnonzero(np.isin(self.status, statuses)).tolist()
        return found

    def record(self, index: int) -> Record | None:
        """What call ``index`` left; None while it has not ended."""
        with self.changed:
            at, length = int(self._at[index]), int(self._length[index])
            if at < 0 or self.status[index] in (PENDING, RUNNING):
                return None
            return unpack(self._spill.read(at, length))

    def records(self, indexes: Iterable[int]) -> Iterator[tuple[int, Record | None]]:
        """``record`` of each."""
        for index in indexes:
            yield index, self.record(index)

    @property
    def bytes_in_file(self) -> int:
        """How much of the records does not lie in memory."""
        return self._spill.bytes_in_file

    def wait(self, seconds: float | None = None) -> bool:
        """Until every call has ended or ``seconds`` are over; raises what ended the engine."""
        with self.changed:
            over = self.changed.wait_for(lambda: self.is_done or self.failure is not None, seconds)
            if self.failure is not None and not self.is_done:
                raise self.failure
            return over and self.is_done
