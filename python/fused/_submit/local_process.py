"""A worker of ``engine="local"`` as its caller holds it: descriptors, group, end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import socket

from fused._submit.local_worker import Places
from fused._submit.record import STREAM_BYTES_MAX

HELD_BYTES_MAX = 4 << 20  # of one stream of a running call; the middle of what is more is given back to the system
SAID_BYTES_MAX = 2_000  # that an error shows of what a process wrote before it ended
_PUNCH_HOLE_KEEP_SIZE = 3

_libc = ctypes.CDLL(None)


class Process:
    """One process, as its caller sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.is_lost = False  # its socket is closed; the end of the process is still to be told
        self.socket, theirs = socket.socketpair()
        self.stdout, self.stderr = os.memfd_create("stdout"), os.memfd_create("stderr")
        self.records, shared = os.memfd_create("records"), os.memfd_create("progress")
        self.tokens = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        os.ftruncate(shared, mmap.PAGESIZE)
        self.progress = mmap.mmap(shared, mmap.PAGESIZE)
        for place in (self.stdout, self.stderr, self.records):
            _append_only(place)
        self.theirs = Places(theirs.detach(), self.stdout, self.stderr, self.records, shared, self.tokens)
        self.first = self.count = self.taken = self.read_at = 0
        self.group_began = 0.0
        self.lost_at = 0.0
        self.said = b""  # on stderr, before it was given its first group
        self.is_doomed = False  # told to end: gets nothing any more
        self.doom: tuple[int, str] | None = None  # status and message for the call that it is ended for

    def sent(self) -> None:
        os.close(self.theirs.orders)
        os.close(self.theirs.progress)

    def take_back(self) -> int:
        """How many calls of the group had not begun; they never will here."""
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                os.eventfd_read(self.tokens)
                taken += 1
        return taken

    def end_of_stderr(self) -> bytes:
        """The last that it wrote there."""
        size = os.fstat(self.stderr).st_size
        return os.pread(self.stderr, SAID_BYTES_MAX, max(0, size - SAID_BYTES_MAX))

    def close(self) -> None:
        self.socket.close()
        self.progress.close()
        for place in (self.stdout, self.stderr, self.records, self.tokens):
            os.close(place)


def _append_only(place: int) -> None:
    fcntl.fcntl(place, fcntl.F_SETFL, fcntl.fcntl(place, fcntl.F_GETFL) | os.O_APPEND)


def read_whole(place: int, at: int, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        data += os.pread(place, length - len(data), at + len(data))
    return bytes(data)


def give_memory_back(place: int, start: int) -> None:
    """A function prints without end: the middle of it, which nobody will see, is taken out of memory."""
    end = os.fstat(place).st_size
    if end - start <= HELD_BYTES_MAX:
        return
    half = STREAM_BYTES_MAX // 2
    hole, length = start + half, end - half - (start + half)
    _libc.fallocate(place, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(hole), ctypes.c_long(length))


def processor_seconds(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            words = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def end_of_process(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"its process was ended by signal {number} ({signal.Signals(number).name})"
        return f"its process was ended by signal {number}"
    return f"its process ended with code {os.waitstatus_to_exitcode(status)} before the call gave a result"
