"""Children of this process that have ended, reaped: of what forks workers on a server and of ``engine="local"``."""

from __future__ import annotations

import os
from collections.abc import Iterator


def ended_children() -> Iterator[tuple[int, int, int]]:
    """Process id, wait status and the most memory it had (KiB) of each that has ended by now."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status, usage.ru_maxrss
