"""``sys.stdout`` and ``sys.stderr`` of a function: text over descriptors 1 and 2, which the server reads.

What C libraries and child processes write goes to the same descriptors. Which of the two streams Python wrote to, and
how much at a time, is kept in order, so that the log can show both as they came.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

ORDER_MARKS_MAX = 20_000  # changes between the streams; what comes after the last is one piece each


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor, and notes how much. Closing it leaves the descriptor open: it is the process's."""

    def __init__(self, number: int, order: list[list[int]]) -> None:
        self._number = number
        self._order = order

    def fileno(self) -> int:
        return self._number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = 0
        view = memoryview(data).cast("B")
        while written < len(view):
            try:
                written += os.write(self._number, view[written:])
            except BlockingIOError:
                _wait_writable(self._number)
        order = self._order
        if order and order[-1][0] == self._number:
            order[-1][1] += written
        elif len(order) < ORDER_MARKS_MAX:
            order.append([self._number, written])
        return written


def _wait_writable(descriptor: int) -> None:
    # Somebody set O_NONBLOCK on the pipe: a child of the function, asyncio.
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1_000)


class Streams:
    """The two text streams of a worker. They stay the same objects from run to run: logging handlers hold them."""

    def __init__(self) -> None:
        self._order: list[list[int]] = []
        self.stdout = self._open(1)
        self.stderr = self._open(2)
        self.install()

    def _open(self, number: int) -> io.TextIOWrapper:
        buffered = io.BufferedWriter(_Descriptor(number, self._order), 8_192)
        stream = io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        stream.mode = "w"  # type: ignore[misc]
        return stream

    def install(self) -> None:
        """Puts the streams in place."""
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    @property
    def are_open(self) -> bool:
        """Has a run closed none of them."""
        return not (self.stdout.closed or self.stderr.closed)

    def repair(self) -> bool:
        """New streams for those that a run closed; whether there were any."""
        if self.are_open:
            return False
        if self.stdout.closed:
            self.stdout = self._open(1)
        if self.stderr.closed:
            self.stderr = self._open(2)
        self.install()
        return True

    def begin(self) -> None:
        """A run starts."""
        self._order.clear()

    def flush(self) -> None:
        """Everything that Python has buffered goes to the descriptors, also what a replaced ``sys.stdout`` holds."""
        out, err = self.stdout, self.stderr
        streams: list[Any] = [out, err]
        if sys.stdout is not out or sys.stderr is not err:
            streams = list({id(s): s for s in (out, err, sys.stdout, sys.stderr)}.values())
        for stream in streams:
            try:
                stream.flush()
            except Exception:
                continue  # closed, or a function's own object in place of ours: its trouble, not the run's

    def order(self) -> list[list[int]] | None:
        """``[[1, bytes], [2, bytes], …]`` in the order of writing when both streams were used, else None."""
        if not self._order:
            return None
        seen = {mark[0] for mark in self._order}
        return [list(mark) for mark in self._order] if len(seen) == 2 else None
