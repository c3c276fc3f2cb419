"""From a node, or the driver, to the server: HTTP that is tried again for as long as the lease lasts."""

from __future__ import annotations

import http.client
import json
import struct
import threading
import time
from typing import Any
from urllib.parse import urlsplit

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
_LENGTH = struct.Struct("<I")


class Late(Exception):
    """The server wants nothing more of this: it is over, begun again elsewhere, or another life of the server."""


class Lost(Exception):
    """The server was not reached for a whole lease."""


class Refused(Exception):
    """The server did not understand, or failed at it."""


def pack(header: dict[str, Any], body: Any = b"") -> bytes:
    text = json.dumps(header).encode()
    return b"".join((_LENGTH.pack(len(text)), text, body))


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = _LENGTH.unpack_from(data)[0]
    header: dict[str, Any] = json.loads(data[4 : 4 + length])
    return header, data[4 + length :]


class ServerClient:
    """Requests of any thread, each thread with a connection of its own."""

    def __init__(self, url: str, token: str, lease_seconds: float) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self.lease_seconds = lease_seconds
        self.last_heard = time.monotonic()  # the last request that was answered had begun then
        self._threads = threading.local()

    @property
    def is_lost(self) -> bool:
        return time.monotonic() - self.last_heard > self.lease_seconds

    def post(self, path: str, body: bytes, *, timeout: float = 20.0, once: bool = False) -> bytes:
        """The answer's body. What was sent may arrive twice where an answer was lost, but with ``once``: then Lost."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                status, answer = self._send(path, body, timeout)
            except (OSError, http.client.HTTPException) as error:
                if once or self.is_lost:
                    raise Lost(f"{self.url} could not be reached: {type(error).__name__}: {error}") from None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if status in (401, 403, 404, 409):
                raise Late(_message(answer))
            self.last_heard = max(self.last_heard, began)
            if status in (429, 503, 507):  # it is there, and has no room now
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            if status != 200:
                raise Refused(f"HTTP {status}: {_message(answer)}")
            return answer

    def ask(self, path: str, body: dict[str, Any], *, timeout: float = 20.0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.post(path, json.dumps(body).encode(), timeout=timeout))
        return answer

    def _send(self, path: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            parts = urlsplit(self.url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = self._threads.connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except BaseException:
            connection.close()
            self._threads.connection = None
            raise


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode("utf-8", "replace")
