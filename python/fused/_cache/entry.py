"""One entry is one file: header, a JSON note about it, padding to 64 bytes, body.

The header ends in a keyed checksum of itself and holds one of note and body, both under the owner's key: an entry that
was cut, changed, planted, copied from another name or made by somebody else does not pass, and nothing of it is read.
All numbers are little-endian. The layout is described in docs/reference/cache.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

MAGIC = b"FUSEDFC1"
# magic, kind, note bytes, body offset, body bytes, created (wall ns), created (boot ns), boot id, max age s,
# computing ns, key, checksum of note and body
_HEAD = struct.Struct("<8sIIQQqq16sQQ32s32s")
HEAD_BYTES = _HEAD.size + 32
ALIGNMENT = 64
READ_WHOLE_MAX = 1 << 18  # below it reading is cheaper than mapping
THREAD_MIN = 4 << 20  # from here on checksum and writing go side by side
NOTE_BYTES_MAX = 1 << 20
SETTLED_NS = 20_000_000  # two ticks of the kernel's slowest clock for file times
SETTLED_COARSE_NS = 2_000_000_000  # where file times are whole milliseconds or seconds


class Damaged(Exception):
    """The file is no entry of this key and owner."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands in front of a body."""

    kind: int
    note_bytes: int
    body_offset: int
    body_bytes: int
    created_ns: int
    boot_ns: int
    boot_id: bytes
    max_age_s: int
    computing_ns: int
    key: bytes
    digest: bytes

    def pack(self, check: bytes) -> bytes:
        head = _HEAD.pack(
            MAGIC, self.kind, self.note_bytes, self.body_offset, self.body_bytes, self.created_ns, self.boot_ns,
            self.boot_id, self.max_age_s, self.computing_ns, self.key, self.digest,
        )  # fmt: skip
        return head + blake3(head, key=check).digest()


def unpack(data: Any, check: bytes | None, file_bytes: int) -> Head:
    """Reads a header; ``check=None`` believes it, for listings."""
    if len(data) < HEAD_BYTES or bytes(data[:8]) != MAGIC:
        raise Damaged("it is no entry")
    if check is not None and blake3(data[: _HEAD.size], key=check).digest() != data[_HEAD.size : HEAD_BYTES]:
        raise Damaged("its header is damaged, or somebody else's")
    head = Head(*_HEAD.unpack_from(data)[1:])
    if head.note_bytes > NOTE_BYTES_MAX or head.body_offset < HEAD_BYTES + head.note_bytes:
        raise Damaged("its header is damaged")
    if head.body_offset + head.body_bytes != file_bytes:
        raise Damaged(f"it has {file_bytes} bytes instead of {head.body_offset + head.body_bytes}")
    return head


@dataclass(frozen=True, slots=True)
class FileState:
    """Which content a path has: another one has another state."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def is_settled(state: FileState) -> bool:
    """Is the last change so long ago that another one would show in the file's times."""
    newest = max(state.ctime_ns, state.mtime_ns)
    return time.time_ns() - newest > (SETTLED_NS if newest % 1_000_000 else SETTLED_COARSE_NS)


def state_of(found: os.stat_result) -> FileState:
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


# --- clocks ---------------------------------------------------------------------------------------------------------


def boot_id() -> bytes:
    """Tells boots of machines apart; zeros where the kernel does not say."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return bytes.fromhex(text.strip().replace("-", ""))[:16].ljust(16, b"\0")
    except (OSError, ValueError):
        return bytes(16)


class Clocks:
    """Time of day, and time since the boot, which nobody can set."""

    CLOCK_AHEAD_S_MAX = 86_400

    def __init__(self) -> None:
        self.boot_id = boot_id()

    def wall_ns(self) -> int:
        return time.time_ns()

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def age_s(self, head: Head) -> float:
        """Seconds since the entry was made; by the time of day only across boots. Infinite for one from the future."""
        if any(self.boot_id) and head.boot_id == self.boot_id:
            return (self.boot_ns() - head.boot_ns) / 1e9
        age = (self.wall_ns() - head.created_ns) / 1e9
        if age >= 0:
            return age
        return 0.0 if age > -self.CLOCK_AHEAD_S_MAX else float("inf")


clocks = Clocks()


# --- reading --------------------------------------------------------------------------------------------------------


class Verified:
    """Files whose bodies were checked by this process, by their state: their checksum is not made again."""

    COUNT_MAX = 4096

    def __init__(self) -> None:
        self._seen: dict[FileState, None] = {}
        self._lock = threading.Lock()

    def __contains__(self, state: FileState) -> bool:
        return state in self._seen

    def add(self, state: FileState) -> None:
        """A state that may still be changed within one tick of the file system's clock is not remembered."""
        if not is_settled(state):
            return
        with self._lock:
            self._seen[state] = None
            while len(self._seen) > self.COUNT_MAX:
                del self._seen[next(iter(self._seen))]


verified = Verified()


@dataclass(slots=True)
class Entry:
    """An entry that passed: its body is a writable view that nobody else sees change."""

    head: Head
    note: dict[str, Any]
    body: memoryview
    state: FileState


def read(path: str, key: bytes | None, check: bytes) -> Entry | None:
    """The entry; None when there is none. ``Damaged`` for what is not one of ``key``; ``OSError`` as it comes."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file)
        size = found.st_size
        if (found.st_mode & 0o170000) != 0o100000 or size < HEAD_BYTES:
            raise Damaged("it is no entry")
        state = state_of(found)
        if size <= READ_WHOLE_MAX:
            content = bytearray(size)
            if os.readv(file, [content]) != size:
                raise Damaged("it was cut while it was read")
            data = memoryview(content)
        else:
            head = unpack(os.pread(file, HEAD_BYTES, 0), check, size)  # before anything large is touched
            data = map_private(file, size)
    finally:
        os.close(file)
    head = unpack(bytes(data[:HEAD_BYTES]), check, size)
    if key is not None and head.key != key:
        raise Damaged("it was copied from another key")
    known = size > READ_WHOLE_MAX and state in verified
    if not known:
        if checksum(check, [data[HEAD_BYTES:]]) != head.digest:
            raise Damaged("its content is damaged, or somebody else's")
        if size > READ_WHOLE_MAX:
            verified.add(state)
    note = json.loads(bytes(data[HEAD_BYTES : HEAD_BYTES + head.note_bytes]))
    return Entry(head, note, data[head.body_offset :], state)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def map_private(file: int, size: int) -> memoryview:
    """The file in memory, copy-on-write; unlike ``mmap.mmap`` without a descriptor for as long as it lives."""
    address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, file, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    content = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(content, _libc.munmap, address, size).atexit = False
    return memoryview(content).cast("B")


def checksum(check: bytes, parts: Sequence[Any]) -> bytes:
    found = blake3(key=check)
    for part in parts:
        found.update(part)
    return found.digest()


# --- writing --------------------------------------------------------------------------------------------------------


def note_and_padding(note: dict[str, Any]) -> tuple[bytes, int]:
    """The note's text with padding behind it, and where the body begins."""
    text = json.dumps(note, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    offset = -(-(HEAD_BYTES + len(text)) // ALIGNMENT) * ALIGNMENT
    return text, offset


def write(folder: Path, name: str, check: bytes, head: Head, note: dict[str, Any], body: Sequence[Any]) -> None:
    """Puts the entry into its place at once: readers see the old one, none, or this one whole.

    Nothing is synced: after a power failure the checksum tells a torn entry, and it is computed again.
    """
    text, offset = note_and_padding(note)
    parts = [text, bytes(offset - HEAD_BYTES - len(text)), *body]
    size = sum(len(part) if isinstance(part, bytes) else part.nbytes for part in parts)
    draft = f"{folder}/.{name}.{os.urandom(8).hex()}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            digest = _write_body(file, check, parts, size)
            complete = Head(
                head.kind, len(text), offset, HEAD_BYTES + size - offset, head.created_ns, head.boot_ns,
                head.boot_id, head.max_age_s, head.computing_ns, head.key, digest,
            )  # fmt: skip
            os.pwrite(file, complete.pack(check), 0)
            os.rename(draft, f"{folder}/{name}")
        finally:
            os.close(file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _write_body(file: int, check: bytes, parts: list[Any], size: int) -> bytes:
    if size < THREAD_MIN:
        _write_all(file, parts)
        return checksum(check, parts)
    digests: list[bytes] = []
    beside = threading.Thread(target=lambda: digests.append(checksum(check, parts)), name="fused-checksum")
    beside.start()
    try:
        os.posix_fallocate(file, 0, HEAD_BYTES + size)
        _write_all(file, parts)
    finally:
        beside.join()
    return digests[0]


def _write_all(file: int, parts: list[Any]) -> None:
    at = HEAD_BYTES
    views = [memoryview(part).cast("B") for part in parts if len(memoryview(part))]
    while views:
        written = os.pwritev(file, views[:512], at)
        at += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]
