"""Frames over the worker's socket: read-ahead, descriptors that come along, large bodies in sealed memory files."""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import select
import socket
import threading
from collections import deque
from json import JSONDecoder
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any

from .frames import BODY_IN_MEMFD, HEAD, INLINE_BODY_MAX, FrameError, Kind, decode_head, encode_head

READ_BYTES = 256 << 10
TOGETHER_BYTES_MAX = 16 << 10  # bodies up to here are copied into one piece with what follows them
HEADER_BYTES_MAX = 64 << 20
F_ADD_SEALS = 1033
SEAL_ALL = 0x0002 | 0x0004 | 0x0008 | 0x0001  # shrink, grow, write, seal
_FD_BYTES = socket.CMSG_SPACE(8 * array.array("i").itemsize)


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} cannot travel in a frame's header")


# Taken now: a function may replace names in the json module, and our frames must stay whole.
_scan = JSONDecoder().scan_once  # type: ignore[attr-defined]
_encoder = c_make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)


def to_json(value: Any) -> bytes:
    """JSON of plain values, in ASCII."""
    return "".join(_encoder(value, 0)).encode("ascii")


def from_json(text: bytes | bytearray | memoryview) -> Any:
    """The value of a header's JSON."""
    return _scan(str(text, "utf-8"), 0)[0]


class Closed(Exception):
    """The server's end is closed."""


class Connection:
    """One end of the stream socket. Sending is locked; reading is for one thread at a time (``Channel`` sees to it)."""

    def __init__(self, sock: socket.socket, nonce: int) -> None:
        self.socket = sock
        self.nonce = nonce
        self._unread = bytearray()
        self._arrived = memoryview(bytearray(READ_BYTES))
        self._arrivals = [self._arrived]
        self._descriptors: deque[int] = deque()
        self._send_lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Whether something can be read within the time."""
        return bool(self._unread) or bool(self._poll.poll(seconds * 1e3))

    @property
    def has_unread(self) -> bool:
        """Has more arrived than was read."""
        return bool(self._unread)

    def read(self) -> tuple[Kind, Any, Any]:
        """The next frame: ``(kind, header, body)``; Closed at the end, FrameError for what is none."""
        unread = self._unread
        while len(unread) < HEAD.size:
            self._fill()
        kind, flags, header_length, body_length = decode_head(unread, self.nonce)
        if header_length > HEADER_BYTES_MAX:
            raise FrameError(f"a header of {header_length} bytes; at most {HEADER_BYTES_MAX} are allowed")
        in_memfd = flags & BODY_IN_MEMFD
        end_of_header = HEAD.size + header_length
        end = end_of_header + (0 if in_memfd else body_length)
        while len(unread) < end:
            self._fill()
        header = from_json(unread[HEAD.size : end_of_header]) if header_length else {}
        body: Any = b""
        if in_memfd:
            body = self._map(body_length)
        elif body_length:
            body = bytes(unread[end_of_header:end])
        if len(unread) == end:
            unread.clear()
        else:
            del unread[:end]
        return kind, header, body

    def _fill(self) -> None:
        while True:
            try:
                count, ancillary, _flags, _address = self.socket.recvmsg_into(
                    self._arrivals, _FD_BYTES, socket.MSG_CMSG_CLOEXEC
                )
                break
            except ConnectionResetError:
                raise Closed from None
        if not count:
            raise Closed
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self._descriptors.extend(numbers)
        self._unread += self._arrived[:count]

    def descriptors(self) -> list[int]:
        """Those that came with the frame read last, beside that of its body; they are the caller's to close."""
        found = list(self._descriptors)
        self._descriptors.clear()
        return found

    def _map(self, length: int) -> Any:
        if not self._descriptors:
            raise FrameError("a body in memory was announced, but no descriptor came with it")
        descriptor = self._descriptors.popleft()
        try:
            return mmap.mmap(descriptor, length, access=mmap.ACCESS_READ) if length else b""
        finally:
            os.close(descriptor)

    def send(self, kind: Kind, header: bytes, body: Any = b"") -> None:
        """Sends a whole frame; ``body`` is bytes-like. A large one travels in a memory file that nobody can change."""
        view = body if type(body) is bytes else memoryview(body).cast("B")
        length = len(view)
        if length > INLINE_BODY_MAX:
            descriptor = sealed_memory(view)
            try:
                with self._send_lock:
                    head = encode_head(kind, BODY_IN_MEMFD, len(header), length, self.nonce)
                    self._send_parts([head, header], descriptor)
            finally:
                os.close(descriptor)
            return
        head = HEAD.pack(b"FUSD", 1, kind, 0, len(header), length, self.nonce)
        with self._send_lock:
            if length:
                self._send_parts([head, header, view])
            else:
                self.socket.sendall(head + header)

    def send_together(self, kind: Kind, header: bytes, body: bytes, next_kind: Kind, next_header: bytes) -> None:
        """Two frames in one write, the second without a body: one system call here, and the server wakes once."""
        head = HEAD.pack(b"FUSD", 1, kind, 0, len(header), len(body), self.nonce)
        next_head = HEAD.pack(b"FUSD", 1, next_kind, 0, len(next_header), 0, self.nonce)
        with self._send_lock:
            self.socket.sendall(b"".join((head, header, body, next_head, next_header)))

    def _send_parts(self, parts: list[Any], descriptor: int | None = None) -> None:
        ancillary = []
        if descriptor is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        sent = self.socket.sendmsg(parts, ancillary)
        if sent == sum(map(len, parts)):
            return
        for part in parts:
            if sent < len(part):
                self.socket.sendall(memoryview(part)[sent:])
                sent = 0
            else:
                sent -= len(part)


def sealed_memory(view: Any) -> int:
    """A descriptor of a memory file with these bytes that can no longer be changed."""
    descriptor = os.memfd_create("fused-body", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(view)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, F_ADD_SEALS, SEAL_ALL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
