"""Entries of one folder: found (in memory, then on disk), put there, put aside when damaged, and cleared out."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused._cache import entry, place, values
from fused._cache.entry import Damaged, Seen, clocks
from fused._cache.errors import say_once
from fused._cache.secret import Keys

MEMORY_BYTES_MAX = 32 << 20
MEMORY_ENTRY_BYTES_MAX = 4 << 20
FAILURES = ".failures"
DRAFT_AGE_S_MAX = 3600
LOOK_S_MIN = 60
LOOKED_MAX = 256  # folders
FAILURE_AGE_S_MAX = 60


@dataclass(frozen=True, slots=True)
class Found:
    """A value that was kept, and how old it is."""

    value: Any
    age_s: float
    where: str


@dataclass(slots=True)
class _Kept:
    """A table as it was read, with the state of the file it was read from."""

    state: Any
    check: bytes
    head: Any
    value: Any
    is_settled: bool


class _Memory:
    """Small tables as they were read: a later hit is a copy of them, while the file is the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, path: str, keys: Keys) -> tuple[Any, Any] | None:
        kept = self._kept.get(path)
        if kept is None:
            return None
        try:
            same = keys.check == kept.check and entry.state_of(path) == kept.state
            if same and not kept.is_settled:
                same = self._is_still(path, kept)
        except (OSError, Damaged):
            same = False
        if not same:
            self.drop(path)
            return None
        with contextlib.suppress(KeyError):
            self._kept.move_to_end(path)
        return kept.head, kept.value.copy()

    @staticmethod
    def _is_still(path: str, kept: _Kept) -> bool:
        """Within one tick of the file system's clock a file may change without its times: its checksum is made anew."""
        settled = kept.state.is_settled
        found = entry.read(path, kept.head.key, kept.check)
        kept.is_settled = settled
        return found is not None and bool(found.head == kept.head)

    def put(self, path: str, state: Any, keys: Keys, head: Any, value: Any) -> bool:
        """Did it keep the value: then the caller must take a copy."""
        if state.size > MEMORY_ENTRY_BYTES_MAX:
            return False
        self.drop(path)
        with self._lock:
            self._kept[path] = _Kept(state, keys.check, head, value, False)
            self._bytes += state.size
            while self._bytes > MEMORY_BYTES_MAX:
                self._bytes -= self._kept.popitem(last=False)[1].state.size
        return True

    def drop(self, path: str) -> None:
        with self._lock:
            old = self._kept.pop(path, None)
            if old is not None:
                self._bytes -= old.state.size


memory = _Memory()


def find(folder: str, name: str, key: bytes, keys: Keys, max_age_s: int, newer_than_ns: int | None) -> Found | None:
    """The kept value; with ``newer_than_ns`` only one made after that moment of ``clocks.boot_ns``."""
    path = f"{folder}/data_{name}"
    kept = memory.get(path, keys)
    if kept is not None:
        age = clocks.age_s(kept[0])
        if age <= max_age_s and _is_newer(kept[0], newer_than_ns):
            return Found(kept[1], age, "memory")
        return None
    try:
        read = entry.read(path, key, keys.check)
        if read is None:
            return None
        age = clocks.age_s(read.head)
        if age > max_age_s or not _is_newer(read.head, newer_than_ns):
            return None
        value = values.decode(read.head.kind, read.note, read.body)
    except MemoryError:
        raise
    except Exception as error:  # whatever is wrong with a file: it is computed again
        _put_aside(folder, name, error)
        return None
    if read.head.kind == values.TABLE and memory.put(path, read.state, keys, read.head, value):
        value = value.copy()
    return Found(value, age, "disk")


def _is_newer(head: Any, than_ns: int | None) -> bool:
    return than_ns is None or bool(head.boot_id == clocks.boot_id and head.boot_ns >= than_ns)


def _put_aside(folder: str, name: str, error: Exception) -> None:
    path = f"{folder}/data_{name}"
    if isinstance(error, OSError) and error.errno != errno.ELOOP:  # a link where an entry should be
        place.not_kept(Path(folder), error)
        return
    with contextlib.suppress(OSError):
        os.rename(path, f"{folder}/.damaged-{name}")
    memory.drop(path)
    say_once(
        f"damaged {folder}",
        f"@fused.cache: {path!r} was put aside and is computed again: {error or type(error).__name__}",
    )


def put(
    folder: Path,
    name: str,
    key: bytes,
    keys: Keys,
    body: values.Body,
    note: dict[str, Any],
    max_age_s: int,
    computing_ns: int,
) -> None:
    """Stores a body; ``OSError`` when it cannot be."""
    entry.write(
        folder, f"data_{name}", key, keys, body.kind, max_age_s, computing_ns, {**note, **body.note}, body.parts
    )
    memory.drop(f"{folder}/data_{name}")


# --- failures, for those who wait -----------------------------------------------------------------------------------


def put_failure(folder: Path, name: str, key: bytes, keys: Keys, error: BaseException, text: str) -> None:
    """Tells other processes that wait for this entry how computing it ended."""
    try:
        body = values._pickled(error)
        values.decode(values.FAILURE, {}, memoryview(bytearray(b"".join(bytes(part) for part in body.parts))))
    except Exception:
        body = values._pickled(None)
    failures = folder / FAILURES
    with contextlib.suppress(OSError):
        failures.mkdir(mode=0o700, exist_ok=True)
        note = {"class": type(error).__name__, "message": str(error)[:10_000], "traceback": text[-100_000:]}
        entry.write(failures, name, key, keys, values.FAILURE, FAILURE_AGE_S_MAX, 0, note, body.parts)


def find_failure(
    folder: str, name: str, key: bytes, keys: Keys, newer_than_ns: int
) -> tuple[Any, dict[str, Any]] | None:
    """``(exception or None, what is known of it)`` of a computation that ended after that moment."""
    try:
        read = entry.read(f"{folder}/{FAILURES}/{name}", key, keys.check)
        if read is None or read.head.kind != values.FAILURE or not _is_newer(read.head, newer_than_ns):
            return None
        return values.decode(values.FAILURE, read.note, read.body), read.note
    except Exception:
        return None


# --- clearing out ---------------------------------------------------------------------------------------------------


def shrink(folder: Path, bytes_max: int) -> int:
    """Removes entries until the folder's are ``bytes_max`` at most: expired ones, then those not read for longest.

    Gives how many were removed. The newest entry stays unless it alone is too large.
    """
    rows = []
    total = 0
    for item in scan(folder):
        total += item.size
        rows.append((not item.is_expired(), max(item.used_ns, item.created_ns), item))
    rows.sort(key=lambda row: row[:2])
    removed = 0
    for _, _, item in rows:
        if total <= bytes_max:
            break
        with contextlib.suppress(FileNotFoundError):
            os.unlink(item.path)
            removed += 1
        memory.drop(item.path)
        total -= item.size
    return removed


def scan(folder: Path) -> list[Seen]:
    """All entries of a folder whose headers can be read; those of an earlier format as expired."""
    items = []
    try:
        names = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    with names:
        for found in names:
            if not found.name.startswith("data_"):
                continue
            item = entry.look(found.path)
            if item is not None:
                items.append(item)
    return items


_looked: dict[str, float] = {}  # when this process last saw whether a folder was swept


def sweep(folder: Path) -> None:
    """Removes what broken writers, damage and failures left behind, when it is old; at most once an hour a folder."""
    marker = f"{folder}/.swept"
    looked = _looked.get(marker)
    if looked is not None and time.monotonic() - looked < LOOK_S_MIN:
        return
    if len(_looked) >= LOOKED_MAX:
        _looked.clear()
    _looked[marker] = time.monotonic()
    now = time.time()
    try:
        if abs(now - os.stat(marker).st_mtime) < DRAFT_AGE_S_MAX:
            return
    except FileNotFoundError:
        pass
    with contextlib.suppress(OSError):
        Path(marker).touch(mode=0o600)
        for part in (folder, folder / FAILURES):
            with os.scandir(part) as names:
                for found in names:
                    hidden = found.name.startswith((".data_", ".damaged-")) or part.name == FAILURES
                    with contextlib.suppress(OSError):
                        if hidden and now - found.stat(follow_symlinks=False).st_mtime > DRAFT_AGE_S_MAX:
                            os.unlink(found.path)


def _forget_after_fork() -> None:
    memory._lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
