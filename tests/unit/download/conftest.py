"""A folder for files of its own, and a web server that misbehaves as told."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fused import _download, _download_http
from tests.conftest import PYTHON

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Web(ThreadingHTTPServer):
    """Serves ``CONTENT`` under names that say what is wrong; counts requests by path."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.content = CONTENT
        self.target = ""
        self.delay = 0.0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are expected."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked[path] += 1
        self.close_connection = True
        name = path.strip("/").partition("/")[0].replace("-", "_")
        getattr(self, f"on_{name}", self.on_file)(self.server.asked[path])

    def reply(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def on_file(self, _: int) -> None:
        time.sleep(self.server.delay)
        self.reply(200, self.server.content, ETag='"1"')

    def on_missing(self, _: int) -> None:
        self.reply(404, b"no such file")

    def on_forbidden(self, _: int) -> None:
        self.reply(403, b"<html>")

    def on_busy(self, time_: int) -> None:
        if time_ < 3:
            self.reply(503, b"later", Retry_After="0")
        else:
            self.on_file(0)

    def on_always_busy(self, _: int) -> None:
        self.reply(503, b"later")

    def on_too_short(self, _: int) -> None:
        self.reply(200, CONTENT[:-5], len(CONTENT))

    def on_breaks(self, _: int) -> None:
        """Half of what is left with each request; honours ranges of its own version."""
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        start = 0
        if wanted and self.headers.get("If-Range") == '"2"':
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        rest = CONTENT[start:]
        half = rest if len(rest) < 100_000 else rest[: len(rest) // 2]
        if start:
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.reply(206, half, len(rest), ETag='"2"', Content_Range=span)
        else:
            self.reply(200, half, len(rest), ETag='"2"')

    def on_breaks_and_changes(self, time_: int) -> None:
        """The version is another one when it is resumed."""
        content = CONTENT if time_ == 1 else CONTENT[::-1]
        self.reply(200, content[: 500_000 if time_ == 1 else None], len(content), ETag=f'"{time_}"')

    def on_hangs(self, _: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"x")
        self.wfile.flush()
        time.sleep(100)

    def on_resets(self, _: int) -> None:
        import socket
        import struct

        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def on_to(self, _: int) -> None:
        self.reply(302, b"", Location=self.server.target)

    def on_round(self, _: int) -> None:
        self.reply(302, b"", Location="/round")

    def on_chunked(self, _: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(CONTENT), 100_000):
            piece = CONTENT[at : at + 100_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if "cut" not in self.path:
            self.wfile.write(b"0\r\n\r\n")

    def on_gzip(self, _: int) -> None:
        import gzip

        half = len(CONTENT) // 2
        members = gzip.compress(CONTENT[:half]) + gzip.compress(CONTENT[half:])  # as pigz and bgzip write
        self.reply(200, members, Content_Encoding="gzip")

    def on_checksum(self, _: int) -> None:
        digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
        self.reply(200, CONTENT, Repr_Digest=f"sha-256=:{digest}:")

    def on_wrong_checksum(self, _: int) -> None:
        self.reply(200, CONTENT, Content_MD5=base64.b64encode(bytes(16)).decode())

    def on_password(self, _: int) -> None:
        expected = "Basic " + base64.b64encode(b"ann:se cret").decode()
        self.reply(200 if self.headers.get("Authorization") == expected else 401, CONTENT)

    def on_endless(self, _: int) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(CONTENT)

    def on_garbage(self, _: int) -> None:
        self.wfile.write(b"\0\1\2 not http\r\n\r\n")


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for files: ``$TMPDIR/fused``."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(PYTHON))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(_download, "WAIT_BETWEEN_S", 0.01)
    monkeypatch.setattr(_download_http, "STALL_S", 5.0)
    return tmp_path / "fused"
