"""Frames between server and worker: the Python half of ``core/worker/frames.hpp``."""

from __future__ import annotations

import struct
from enum import IntEnum

HEAD = struct.Struct("<4sBBHIIQ")
MAGIC = b"FUSD"
VERSION = 1
BODY_IN_MEMFD = 1
INLINE_BODY_MAX = 256 << 10  # bytes; larger bodies travel in a sealed memfd


class Kind(IntEnum):
    RUN = 1
    DESCRIBE = 2
    CALL_REPLY = 3
    LEAVE = 4
    RUN_GROUP = 5
    ENTER = 6
    READY = 16
    RESULT = 17
    DESCRIBED = 18
    CALL = 19
    IDLE = 20
    LIMITS = 21
    GROUP_RESULT = 22


_KINDS = {kind.value: kind for kind in Kind}  # Kind(number) takes five times as long


class FrameError(Exception):
    """Bytes on the socket that are not a frame of ours."""


def encode_head(kind: Kind, flags: int, header_length: int, body_length: int, nonce: int) -> bytes:
    """The 24 bytes before a frame's JSON header and body."""
    return HEAD.pack(MAGIC, VERSION, kind, flags, header_length, body_length, nonce)


def decode_head(data: bytes | bytearray, nonce: int) -> tuple[Kind, int, int, int]:
    """``(kind, flags, header_length, body_length)`` of the first 24 bytes; FrameError where they are none of ours."""
    magic, version, kind, flags, header_length, body_length, seen = HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION or seen != nonce:
        right = "right" if seen == nonce else "wrong"
        raise FrameError(f"not a frame: magic {magic!r}, version {version}, nonce {right}")
    known = _KINDS.get(kind)
    if known is None:
        raise FrameError(f"frame kind {kind} is unknown")
    return known, flags, header_length, body_length
