"""Entries as files: written, read and checked by ``fused._native`` (core/cache/entry_file.hpp has the layout).

Here is what Python adds to it: the owner's keys, clocks, and the note as JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fused._cache.secret import Keys


def _load() -> Any:
    try:
        from fused import _native
    except ImportError:  # an installation that only talks to servers
        return None
    return _native


_native: Any = _load()

HEAD_BYTES: int = getattr(_native, "ENTRY_HEAD_BYTES", 0)
READ_WHOLE_MAX: int = getattr(_native, "ENTRY_READ_WHOLE_MAX", 0)  # larger files are mapped


def is_available() -> bool:
    """Can entries be read and written here at all."""
    return _native is not None


class _NoDamage(Exception):
    """Nothing is read without the native part."""


Damaged: type[Exception] = getattr(_native, "EntryDamaged", _NoDamage)
"""The file is no entry of this key and owner; the message says what is wrong with it."""


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

    def age_s(self, head: Any) -> float:
        """Seconds since the entry was made; by the time of day only across boots. Infinite for one from the future."""
        if any(self.boot_id) and head.boot_id == self.boot_id:
            return float(self.boot_ns() - head.boot_ns) / 1e9
        age = float(self.wall_ns() - head.created_ns) / 1e9
        if age >= 0:
            return age
        return 0.0 if age > -self.CLOCK_AHEAD_S_MAX else float("inf")


clocks = Clocks()


# --- files ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Entry:
    """An entry that passed: its body is a writable view that nobody else sees change.

    ``head`` has kind, created_ns, boot_ns, boot_id, max_age_s, computing_ns, key; ``state`` says which content the
    file has.
    """

    head: Any
    note: dict[str, Any]
    body: memoryview
    state: Any


def read(path: str | Path, key: bytes | None, check: bytes, again: bool = False) -> Entry | None:
    """The entry; None when there is none. ``Damaged`` for what is not one of ``key``; ``OSError`` as it comes.

    A large body is checked once for each state of its file and process; with ``again`` whatever was seen before.
    """
    found = _native.entry_read(path, key, check, again)
    if found is None:
        return None
    return Entry(found.head, json.loads(found.note), found.body, found.state)


def write(
    folder: str | Path,
    name: str,
    key: bytes,
    keys: Keys,
    kind: int,
    max_age_s: int,
    computing_ns: int,
    note: dict[str, Any],
    body: Sequence[Any],
) -> None:
    """Puts the entry into its place at once: readers see the old one, none, or this one whole.

    Nothing is synced: after a power failure the checksum tells a torn entry, and it is computed again.
    """
    text = json.dumps(note, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    _native.entry_write(
        f"{folder}/{name}", f"{folder}/.{name}.{os.urandom(8).hex()}", keys.check, kind, clocks.wall_ns(),
        clocks.boot_ns(), clocks.boot_id, max_age_s, computing_ns, key, text, body,
    )  # fmt: skip


def state_of(path: str | Path) -> Any:
    """Which content the path has: another one has another state. None where there is nothing."""
    return _native.file_state(path)


def is_verified(path: str | Path) -> bool:
    """Has this process checked the body of the file as it is now."""
    return bool(_native.entry_is_verified(path))


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry as a listing shows it: its header is believed unless the server's own checksum covers it."""

    path: str
    size: int
    created_ns: int
    max_age_s: int
    used_ns: int
    kind: int
    computing_ns: int
    by_server: bool
    head: Any  # None: of an earlier format
    note: dict[str, Any]

    def is_expired(self) -> bool:
        return self.head is None or clocks.age_s(self.head) > self.max_age_s


def look(path: str | Path) -> Seen | None:
    """None for what is no entry. One of an earlier format is shown as expired: nothing reads it any more."""
    try:
        found = _native.entry_look(path)
    except (OSError, Damaged):
        return None
    if found is None:
        return None
    if found.head is None:
        return Seen(str(path), found.state.size, found.state.mtime_ns, 0, found.used_ns, 0, 0, False, None, {})
    head = found.head
    try:
        note = json.loads(found.note)
    except ValueError:
        note = {}
    return Seen(
        str(path), found.state.size, head.created_ns, head.max_age_s, found.used_ns, head.kind, head.computing_ns,
        head.by_server, head, note if isinstance(note, dict) else {},
    )  # fmt: skip


def verify(path: str | Path, key: bytes | None, check: bytes | None) -> None:
    """``Damaged`` unless header and body pass, ``FileNotFoundError`` where nothing is. ``check=None``: the server's."""
    if _native.entry_read(path, key, check, True) is None and look(path) is None:
        raise FileNotFoundError(f"{str(path)!r} is not there")


def lock_of(folder: str | Path, name: str, principal: str) -> Any:
    """The lock of one entry: ``try_acquire``, ``share``, ``release``, ``begin_wait`` (core/cache/entry_lock.hpp).

    The byte of the folder's file is chosen by the entry's name.
    """
    return _native.EntryLock(f"{folder}/.locks-{principal}", int(name[:15], 16))
