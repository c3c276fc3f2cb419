"""What a run's result depends on that is not in its request: files that it read, and whether it looked at who asks.

The result cache keeps it beside the result (docs/decisions/0004-result-cache.md): when a file changes, the result is
computed again; a result that depends on who asks, in a way that its text does not show, is not kept at all.
"""

from __future__ import annotations

import os
import threading
from typing import Any

FILES_MAX = 4096  # as kUsedFilesMax of the server

_lock = threading.Lock()
_files: dict[str, dict[str, Any] | None] = {}
_unstorable: list[str] = []  # at most one; not a name of the module: as in context_state.py


def begin() -> None:
    """A run begins: nothing is used yet."""
    with _lock:
        _files.clear()
        _unstorable.clear()


def file(path: str | os.PathLike[str]) -> None:
    """The result depends on this file: call it before the file is read. That it is missing counts as well."""
    name = os.path.abspath(os.fspath(path))
    try:
        found = os.stat(name)
        used = {"path": name, "size": found.st_size, "mtime_ns": str(found.st_mtime_ns), "inode": str(found.st_ino)}
    except OSError:
        used = {"path": name, "size": -1, "mtime_ns": "0", "inode": "0"}
    with _lock:
        if name in _files and _files[name] != used:
            _note("a file changed while the run read it")
        _files[name] = used
        if len(_files) > FILES_MAX:
            _note(f"it read more than {FILES_MAX} files")


def not_stored(why: str) -> None:
    """The result holds for this call alone."""
    with _lock:
        _note(why)


def _note(why: str) -> None:
    if not _unstorable:
        _unstorable.append(why)


def taken() -> dict[str, Any] | None:
    """For the worker, after a run: the member ``uses`` of its result."""
    with _lock:
        if not _files and not _unstorable:
            return None
        return {"files": list(_files.values()), "not_stored": _unstorable[0] if _unstorable else None}
