"""What the kernel says of processes that tests look for."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """All below it, children's children too, each behind its parent. What ends meanwhile may be left out."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        for thread in _threads(one):
            with contextlib.suppress(OSError):  # it has ended: its children go to one that stays
                below = [int(each) for each in Path(f"/proc/{one}/task/{thread}/children").read_text().split()]
                found += below
                todo += below
    return found


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """It is there, and not only waits to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
