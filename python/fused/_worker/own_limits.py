"""Limits that a function asks for itself (``@fused.udf(limits=...)``): most are the server's to watch, so it is told;
open descriptors are the kernel's, in this process.
"""

from __future__ import annotations

import resource
from typing import Any

from . import code
from .connection import Connection, to_json
from .frames import Kind


class OwnLimits:
    """Of one run. Without limits it costs nothing."""

    def __init__(self, entry: Any, connection: Connection) -> None:
        self.asked: dict[str, Any] = (code.is_udf(entry) and getattr(entry, "limits", None)) or {}
        self._before: tuple[int, int] | None = None
        told = dict(self.asked)
        if getattr(entry, "on_timeout", None) is not None:
            told["on_timeout"] = entry.on_timeout
        if told:
            connection.send(Kind.LIMITS, to_json(told))

    def result_bytes(self, of_server: int) -> int:
        return min(of_server, int(self.asked.get("result_bytes", of_server)))

    def __enter__(self) -> None:
        wanted = self.asked.get("descriptors")
        if wanted is not None:
            self._before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, self._before[0]), self._before[1]))

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._before[0], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
