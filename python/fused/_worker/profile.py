"""Time and hits of each line of a function's own text."""

from __future__ import annotations

import sys
import threading
import time
from types import CodeType, FrameType
from typing import Any

LINES_MAX = 20_000


class LineProfile:
    """Counts while it is entered. A line's time holds that of what it calls, whose lines count as well."""

    def __init__(self, filename: str, lines: list[str]) -> None:
        self._filename = filename
        self._lines = lines
        self._hits: dict[int, int] = {}
        self._ns: dict[int, int] = {}
        self._open: dict[int, tuple[int, int]] = {}
        self._codes: dict[CodeType, bool] = {}

    def __enter__(self) -> LineProfile:
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        ours = self._codes.get(code)
        if ours is None:
            ours = self._codes[code] = code.co_filename == self._filename
        return self._in_frame if ours else None

    def _in_frame(self, frame: FrameType, event: str, argument: Any) -> Any:
        now = time.perf_counter_ns()
        key = id(frame)
        before = self._open.pop(key, None)
        if before is not None:
            line, since = before
            self._ns[line] = self._ns.get(line, 0) + now - since
        if event == "line":
            line = frame.f_lineno
            self._hits[line] = self._hits.get(line, 0) + 1
            self._open[key] = (line, time.perf_counter_ns())
        elif event == "exception" and before is not None:
            self._open[key] = (before[0], time.perf_counter_ns())
        return self._in_frame

    def result(self) -> dict[str, Any]:
        """``{"file", "total_ms", "lines": [{"line", "hits", "ms", "source"}]}``, lines in order."""
        lines = [
            {
                "line": line,
                "hits": hits,
                "ms": round(self._ns.get(line, 0) / 1e6, 4),
                "source": self._lines[line - 1].rstrip("\n") if 0 < line <= len(self._lines) else "",
            }
            for line, hits in sorted(self._hits.items())[:LINES_MAX]
        ]
        return {"file": self._filename, "total_ms": round(sum(self._ns.values()) / 1e6, 4), "lines": lines}
