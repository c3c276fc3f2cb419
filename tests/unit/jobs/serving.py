"""A server of a few lines on loopback that answers as an object says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import fused
from fused import _options


def serving(known: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    """``known.answer`` answers on loopback, and ``fused`` asks there."""
    for name in ("FUSED_BASE_URL", "FUSED_AUTH_TOKEN", "FUSED_AUTH_TOKEN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FUSED_HOME", str(tmp_path / ".fused"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one piece: the client's kernel waits with its acknowledgement else

        def act(self) -> None:
            known.body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path, _, query = self.path.partition("?")
            status, kind, body, headers = known.answer(self.command, path, query)
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = act

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    fused.options.base_url = known.url
    fused.options.auth_token = "secret"
    yield known
    server.shutdown()
    server.server_close()
    for name in _options.OPTIONS:
        setattr(fused.options, name, None)
    fused.options.reload()
