"""Requests of the running function to its own server, by frames instead of a socket: no port, no token in the open."""

from __future__ import annotations

import itertools
import threading
from typing import Any

from .connection import Closed, Connection, to_json
from .frames import Kind

# Of the whole process, so that a late reply to an earlier run's request is never taken for one of the next.
_numbers = itertools.count(1)


class Channel:
    """The way from a running function to its server; several threads of a run may use it at once."""

    def __init__(self, connection: Connection, changed: threading.Condition) -> None:
        self._connection = connection
        self._changed = changed  # the same one for every run: to make one costs more than all else here
        self._replies: dict[int, tuple[int, dict[str, str], Any] | None] = {}
        self._somebody_reads = False
        self._broken: str | None = None

    def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes | bytearray | memoryview = b"",
    ) -> tuple[int, dict[str, str], Any]:
        """Sends one request and waits for its reply: ``(status, headers, body)``; the body is bytes-like.

        ConnectionError when the run is over or the server has gone.
        """
        with self._changed:
            if self._broken:
                raise ConnectionError(self._broken)
            number = next(_numbers)
            self._replies[number] = None
        header = to_json({"call": number, "method": method, "target": target, "headers": dict(headers or {})})
        self._connection.send(Kind.CALL, header, body)
        return self._wait(number)

    def _wait(self, number: int) -> tuple[int, dict[str, str], Any]:
        while True:
            with self._changed:
                while True:
                    reply = self._replies[number]
                    if reply is not None:
                        del self._replies[number]
                        return reply
                    if self._broken:
                        raise ConnectionError(self._broken)
                    if not self._somebody_reads:
                        self._somebody_reads = True
                        break
                    self._changed.wait()
            self._read_one()

    def _read_one(self) -> None:
        frame, broken = None, None
        try:
            frame = self._connection.read()
        except (Closed, OSError) as error:
            broken = f"the server has gone ({error or 'closed'})"
        finally:
            with self._changed:
                self._somebody_reads = False
                if broken:
                    self._broken = broken
                elif frame is not None:
                    self._deliver(*frame)
                self._changed.notify_all()

    def _deliver(self, kind: Kind, header: Any, body: Any) -> None:
        if kind is Kind.LEAVE:
            self.leave_asked = True
        elif kind is Kind.CALL_REPLY and header.get("call") in self._replies:
            self._replies[header["call"]] = (int(header.get("status", 500)), header.get("headers") or {}, body)
        # A reply that nobody waits for any more is dropped: its caller's thread was interrupted.

    leave_asked = False

    def end(self) -> list[int]:
        """The run is over: later requests fail. Gives the numbers of those still under way."""
        with self._changed:
            self._broken = "the run that made this request is over"
            self._changed.notify_all()
            return list(self._replies)


class _Now:
    __slots__ = ("channel",)  # not a name of the module: as in context_state.py
    channel: Channel | None


_now = _Now()
_now.channel = None


def current() -> Channel | None:
    """The channel of the run that goes on in this process, or None."""
    return _now.channel


def set_current(channel: Channel | None) -> None:
    """For the worker: which run goes on."""
    _now.channel = channel
