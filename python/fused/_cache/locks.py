"""One download per file across processes: locks on bytes of one file a folder, which the kernel releases.

Downloads work without ``fused._native``; entries of ``@fused.cache`` have the same kind of lock from there
(core/cache/entry_lock.hpp). The byte is chosen by the file's name. The locks belong to the open file
(``F_OFD_SETLK``), so threads exclude each other as well, and they are gone with the process that held them, however it
ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import weakref
from pathlib import Path

_LOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux
_open: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """The lock of one file; ``try_acquire`` never waits."""

    __slots__ = ("__weakref__", "_byte", "_file", "_path", "held")

    def __init__(self, folder: Path, name: str, principal: str) -> None:
        self._path = f"{folder}/.locks-{principal}"
        self._byte = int(name[:15], 16)
        self._file = -1
        self.held = False

    def try_acquire(self) -> bool:
        """True when it is ours now. ``OSError`` where the folder or its file system has no locks."""
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _open.add(self)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, self._byte, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self.held = True
        return True

    def release(self) -> None:
        self.held = False
        if self._file >= 0:
            file, self._file = self._file, -1
            _open.discard(self)
            os.close(file)


def _in_child() -> None:
    """A forked child shares the open file: unless it closes its copy, the lock would outlive the holder."""
    for lock in list(_open):
        lock.release()


os.register_at_fork(after_in_child=_in_child)
