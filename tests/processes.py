"""What the kernel says of processes that tests look for."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int) -> list[int]:
    """All below it, children's children too."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                below = [int(each) for each in (task / "children").read_text().split()]
                found += below
                todo += below
        except OSError:
            continue
    return found


def is_alive(pid: int) -> bool:
    """It is there, and not only waits to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
