"""The lines of a run as they are written: Server-Sent Events, taken up again where the connection breaks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from fused import _transport
from fused.errors import TransportError

Show = Callable[[str, str], Any]  # stream ("stdout", "stderr"), line

SILENCE_SECONDS = 40.0  # the server sends a comment every 15 s
RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)


def print_line(stream: str, line: str) -> None:
    """What ``follow_logs=True`` does with each line."""
    print(line, file=sys.stderr if stream == "stderr" else None, flush=True)


def follow(path: str, show: Show, deadline: float, is_expected: Callable[[], bool] = lambda: False) -> int:
    """Shows the run's lines until it ends, ``deadline`` (of the monotonic clock) has come or the server says no more.

    ``path``: of its events. ``is_expected``: may a run that is not known yet still come. Gives how many lines were
    shown. Never raises for the server or the network: the result tells what there is to tell.
    """
    last, shown, failures = "", 0, 0
    while time.monotonic() < deadline:
        try:
            with _transport.stream(path, {"Last-Event-ID": last} if last else {}, SILENCE_SECONDS) as reply:
                if reply.status == 404 and is_expected():
                    time.sleep(RETRY_SECONDS[0])
                    continue
                if reply.status not in _transport.BUSY and reply.status != 200:
                    return shown
                for kind, number, data in events(reply.pieces if reply.status == 200 else iter(())):
                    last, failures = number or last, 0
                    if kind == "end":
                        return shown
                    if kind == "log":
                        show(str(data["stream"]), str(data["message"]))
                        shown += 1
                    elif kind == "gap":
                        show("stderr", f"[… {data['message']} …]")
                    if time.monotonic() > deadline:
                        return shown
        except TransportError:
            pass
        if failures == len(RETRY_SECONDS):
            return shown
        time.sleep(RETRY_SECONDS[failures])
        failures += 1
    return shown


def events(pieces: Iterator[bytes]) -> Iterator[tuple[str, str, Any]]:
    """Kind, id and data (JSON) of each event; a comment is ``("", "", None)``."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        for text in whole:
            found: dict[str, str] = {}
            for line in text.decode("utf-8", "replace").split("\n"):
                name, _, value = line.partition(": ")
                found[name] = value
            yield found.get("event", ""), found.get("id", ""), json.loads(found["data"]) if "data" in found else None
