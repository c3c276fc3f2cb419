"""``fused._send_hooks``: the process that tells an address or a mailbox."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import fused
from fused import _send_hooks

JOB = {"job_id": "j", "job_name": "density", "status": "failed", "error": "it broke", "total_tasks": 1}


def tell(kind: str, target: str, **environment: str) -> dict[str, Any]:
    order = json.dumps({"kind": kind, "target": target, "key": "j/0", "job": JOB})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FUSED_")}
    done = subprocess.run(
        [sys.executable, "-m", "fused._send_hooks"],
        input=order + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**kept, "PYTHONPATH": str(Path(fused.__file__).parents[1]), **environment},
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append({"path": self.path, "body": json.loads(body), **dict(self.headers.items())})
            self.send_response(int(self.path.rpartition("/")[2]))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", came
    server.shutdown()
    server.server_close()


def test_an_address_gets_the_jobs_record(web: tuple[str, list[dict[str, Any]]]) -> None:
    url, came = web
    assert tell("url", f"{url}/204", FUSED_DOWNLOAD_PRIVATE="1") == {"error": None}
    assert came[0]["body"] == JOB
    assert came[0]["Idempotency-Key"] == "j/0"


def test_what_may_pass_is_tried_again_and_what_does_not_is_not(web: tuple[str, list[dict[str, Any]]]) -> None:
    url, _ = web
    for status, final in ((404, True), (302, True), (429, False), (503, False)):
        answer = tell("url", f"{url}/{status}", FUSED_DOWNLOAD_PRIVATE="1")
        assert str(status) in answer["error"]
        assert answer["final"] is final, status
    assert tell("url", "http://127.0.0.1:1/x", FUSED_DOWNLOAD_PRIVATE="1")["final"] is False


def test_a_private_address_is_refused(web: tuple[str, list[dict[str, Any]]]) -> None:
    url, came = web
    answer = tell("url", f"{url}/204")
    assert "not a public address" in answer["error"]
    assert answer["final"] is True
    assert came == []


class Mail(socketserver.StreamRequestHandler):
    """A mail server without STARTTLS that keeps every line it is sent."""

    lines: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        data = False
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            self.lines.append(line)
            if data:
                data = line != "."
                if not data:
                    self.wfile.write(b"250 kept\r\n")
                continue
            word = line.partition(" ")[0].upper()
            data = word == "DATA"
            answers = {
                "DATA": b"354 go on",
                "QUIT": b"221 bye",
                "EHLO": b"250-here\r\n250 AUTH PLAIN",
                "AUTH": b"235 ok",
            }
            self.wfile.write(answers.get(word, b"250 fine") + b"\r\n")
            if word == "QUIT":
                return


@pytest.fixture
def mail_server() -> Iterator[str]:
    Mail.lines = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_mailbox_gets_a_message_and_without_a_mail_server_it_is_said(mail_server: str) -> None:
    url = f"smtp://{mail_server}"
    answer = tell("email", "ann@example.org", FUSED_SMTP_URL=url, FUSED_SMTP_FROM="server@example.org")
    assert answer == {"error": None}
    assert "Subject: job density: failed" in Mail.lines
    assert "error: it broke" in Mail.lines
    assert any("server@example.org" in line for line in Mail.lines)
    assert not any(line.startswith("AUTH") for line in Mail.lines)
    assert "FUSED_SMTP_URL" in tell("email", "ann@example.org")["error"]


def test_a_password_is_sent_in_clear_to_this_machine_only(mail_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSED_SMTP_URL", f"smtp://fused:secret@{mail_server}")
    _send_hooks.mail("ann@example.org", "j/0", JOB)
    assert any(line.startswith("AUTH PLAIN") for line in Mail.lines)
    Mail.lines = []
    monkeypatch.setattr(_send_hooks, "_is_this_machine", lambda _: False)
    with pytest.raises(OSError, match=r"127\.0\.0\.1 offers no STARTTLS"):
        _send_hooks.mail("ann@example.org", "j/0", JOB)
    assert not any(line.startswith("AUTH") for line in Mail.lines)


def test_an_answer_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dripping(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while True:
                    self.request.sendall(b"HTTP/1.1 200 fine\r\nx: ")
                    ended.wait(0.02)

    ended = threading.Event()
    monkeypatch.setenv("FUSED_DOWNLOAD_PRIVATE", "1")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s"), _send_hooks.within(0.2):
            _send_hooks.post(f"http://127.0.0.1:{server.server_address[1]}/", "j/0", JOB)
        server.shutdown()
    order = json.dumps({"kind": "url", "target": "http://example.org", "key": "j/0", "job": JOB})
    monkeypatch.setattr(_send_hooks, "SECONDS", 0.05)
    monkeypatch.setattr(_send_hooks, "post", lambda *_: time.sleep(60))
    monkeypatch.setattr("sys.stdin", io.StringIO(order + "\n"))
    told = io.StringIO()
    monkeypatch.setattr("sys.stdout", told)
    _send_hooks.main()
    assert json.loads(told.getvalue()) == {"error": "TimeoutError: it took longer than 0.05 s", "final": False}
