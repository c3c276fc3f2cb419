"""Child processes, threads and descriptors that a run left behind."""

from __future__ import annotations

import _thread
import contextlib
import gc
import os
import sys
import threading
import time
from pathlib import Path

from fused import _native

from . import setup
from .names import Names

_THREAD_SECONDS_MAX = 0.05
_ALL_CHILDREN = 0x40000000  # __WALL


def end_children() -> str | None:
    """Ends and reaps whatever the run started. A text says why that was not possible."""
    ended = _native.end_children()
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG | _ALL_CHILDREN)[0] != 0:  # those that were cloned without SIGCHLD
            pass
    setup.collect_orphans()
    return "its child processes could not be ended" if ended < 0 else None


def end_threads(expected: int) -> str | None:
    """Waits a moment for Python threads to end; None when only sleeping threads of libraries are left."""
    deadline = time.monotonic() + _THREAD_SECONDS_MAX
    gc.collect()  # a pool that nobody holds any more tells its threads to end
    while True:
        ours = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        names = _native_thread_names() if not ours and python_threads() <= expected else []
        if not ours and python_threads() <= expected and not any(busy for _, busy in names):
            return None
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    left = [thread.name for thread in ours] or [name for name, busy in names if busy] or ["without a name"]
    return f"it left threads behind: {', '.join(left[:5])}"


def python_threads() -> int:
    """Threads that Python started and that have not ended, also those that have no ``threading.Thread``."""
    return _thread._count()


def _native_thread_names() -> list[tuple[str, bool]]:
    """Name of each other thread of this process, and whether it works."""
    found = []
    own = threading.get_native_id()
    for thread in os.listdir("/proc/self/task"):
        if int(thread) == own:
            continue
        with contextlib.suppress(OSError), Path(f"/proc/self/task/{thread}/stat").open("rb") as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
            found.append((name.decode(errors="replace"), rest.split()[0] in (b"R", b"D")))
    return found


def open_descriptors(folder: int) -> dict[int, str]:
    """Number and target of every open descriptor but the one that lists them."""
    found = {}
    os.lseek(folder, 0, os.SEEK_SET)
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(name, dir_fd=folder)
    return found


def judge_descriptors(before: dict[int, str], folder: int, names: Names) -> str | None:
    """None when the descriptors are the same, but for those that libraries keep for good; else what is wrong."""
    cleanup = getattr(sys.modules.get("subprocess"), "_cleanup", None)
    if cleanup is not None:
        cleanup()  # it holds children, with their pipes, whose end nobody waited for
    gc.collect()
    now = open_descriptors(folder)
    for number, target in before.items():
        if now.get(number) != target:
            return f"descriptor {number} is no longer {target}"
    left = [target for number, target in now.items() if number not in before and not _may_stay(target, names)]
    return f"it left {len(left)} descriptors open: {', '.join(left[:5])}" if left else None


def _may_stay(target: str, names: Names) -> bool:
    # A library's own data (PROJ's database) or its event loop's machinery; closing them under it would be worse.
    if target in ("anon_inode:[eventpoll]", "anon_inode:[eventfd]"):
        return True
    return target.startswith("/usr/share/") or names.is_trusted_path(target)
