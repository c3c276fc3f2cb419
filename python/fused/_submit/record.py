"""What one call left behind, as bytes: the same from a local process, a server's worker and a server.

A record is ``kind, bytes of stdout, bytes of stderr`` (``<cII``), then stdout, stderr and the body. Where a worker
writes one after the other, each follows ``bytes of the record, status, started, seconds`` (``<QBdd``).
"""

from __future__ import annotations

import os
import struct
from typing import Any, NamedTuple

STATUSES = ("pending", "running", "success", "error", "timeout", "cancelled")
PENDING, RUNNING, SUCCESS, ERROR, TIMEOUT, CANCELLED = range(len(STATUSES))
FAILED = (ERROR, TIMEOUT)

ENDED = struct.Struct("<QBdd")  # bytes of the record that follows, status, started (since 1970), seconds
PROGRESS = struct.Struct("<dqq")  # when the running call began (monotonic; 0: none), where its stdout and stderr begin
STREAM_BYTES_MAX = 64 << 10  # of one stream of one call: its first and its last half
_RECORD = struct.Struct("<cII")  # kind of the body, bytes of stdout, bytes of stderr; then stdout, stderr, body

# Kinds of bodies.
PICKLED = b"p"  # a value of a local process
RAISED = b"x"  # an exception of a local process, pickled with its traceback's text
FAILURE = b"e"  # JSON: class, message, traceback, line, error_type
WIRE = b"w"  # content type, a zero byte, and the bytes that a server sent
EMPTY = b"-"  # nothing: cancelled


class Record(NamedTuple):
    """What a call left: a body of a kind, and what it printed."""

    kind: bytes
    stdout: bytes
    stderr: bytes
    body: bytes


def pack(record: Record) -> bytes:
    """The record as bytes for ``CallTable.finish``."""
    head = _RECORD.pack(record.kind, len(record.stdout), len(record.stderr))
    return b"".join((head, record.stdout, record.stderr, record.body))


def unpack(data: bytes) -> Record:
    """The record again."""
    kind, out, err = _RECORD.unpack_from(data)
    at = _RECORD.size
    return Record(kind, data[at : at + out], data[at + out : at + out + err], data[at + out + err :])


def cut(place: int, start: int, end: int) -> bytes:
    """What lies in a stream from ``start`` to ``end``: all, or head and tail with the number of bytes between."""
    length = end - start
    if length <= STREAM_BYTES_MAX:
        return os.pread(place, length, start)
    half = STREAM_BYTES_MAX // 2
    between = f"\n… {length - 2 * half} bytes left out …\n".encode()
    return os.pread(place, half, start) + between + os.pread(place, half, end - half)


def describe_bytes(data: Any) -> str:
    """Output as text."""
    return bytes(data).decode("utf-8", "replace")
