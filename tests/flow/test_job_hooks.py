"""Who is told when a job has ended: an address, a function, a mailbox; through the real server."""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._transport import call_json
from fused.errors import NotFoundError, ServerError
from tests.conftest import Server, start_server, stop_server


@pytest.fixture(autouse=True)
def connected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)


@fused.udf
def double(n: int = 1):
    if n < 0:
        raise ValueError(f"{n} is negative")
    return 2 * n


class Told:
    """A server that is told; it refuses as often as `refuse` says."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.refuse = 0
        self.came = threading.Event()
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told.keys.append(self.headers["idempotency-key"])
                refused = told.refuse > 0
                told.refuse -= 1
                self.send_response(503 if refused else 204)
                self.end_headers()
                if not refused:
                    told.records.append(json.loads(body))
                    told.came.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/told"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_end_is_told_to_an_address_also_after_a_refusal_and_a_restart(tmp_path: Path, told: Told) -> None:
    environment = {"FUSED_DOWNLOAD_PRIVATE": "1"}
    own = start_server(tmp_path / "data", environment=environment)
    fused.options.base_url, fused.options.auth_token = own.base_url, own.token
    try:
        told.refuse = 1
        job = double(n=1).run_remote(on_finish=told.url, name="told")
        job.wait_for_job(timeout=60)
        deadline = time.monotonic() + 120
        while not told.keys:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(own.pid, 9)
        own.process.wait()
        own = start_server(tmp_path / "data", environment=environment)
        fused.options.base_url = own.base_url
        assert told.came.wait(60)
        assert told.records[0]["job_id"] == job.job_id
        assert told.records[0]["status"] == "done"
        assert len(set(told.keys)) == 1
    finally:
        stop_server(own)


def test_a_private_address_is_not_told_unless_the_server_says_so(told: Told) -> None:
    job = double(n=1).run_remote(on_finish=told.url)
    job.wait_for_job(timeout=60)
    deadline = time.monotonic() + 120
    while True:
        hooks = call_json("GET", f"/api/v1/jobs/{job.job_id}", "asking")["hooks"]
        if hooks and hooks[0]["state"] == "failed":
            break
        assert time.monotonic() < deadline, hooks
        time.sleep(0.1)
    assert "not a public address" in hooks[0]["error"]
    assert told.records == []


def test_an_end_runs_a_function() -> None:
    @fused.udf
    def write_down(job_id: str, status: str, name: str, error: str = ""):
        from pathlib import Path

        Path(f"/mount/ended-{job_id}").write_text(f"{name} {status}")

    @fused.udf
    def read_down(job_id: str):
        from pathlib import Path

        path = Path(f"/mount/ended-{job_id}")
        return path.read_text() if path.exists() else None

    saved = write_down.to_fused("write_down_hook", overwrite=True)
    job = double(n=1).run_remote(on_finish=saved, name="watched")
    job.wait_for_job(timeout=60)
    deadline = time.monotonic() + 60
    while (found := fused.run(read_down, job_id=job.job_id, engine="remote")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert found == "watched done"
    with pytest.raises(NotFoundError, match="no_such_function"):
        double(n=1).run_remote(on_finish="no_such_function")
    with pytest.raises(ServerError, match="FUSED_SMTP_URL"):
        double(n=1).run_remote(on_finish="mailto:ann@example.org")


def test_an_end_is_written_to_a_mailbox_where_there_is_a_mail_server(tmp_path: Path) -> None:
    lines: list[str] = []
    came = threading.Event()

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            data = False
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                lines.append(line)
                if data and line != ".":
                    continue
                word = line.partition(" ")[0].upper()
                data = word == "DATA"
                self.wfile.write({"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(word, b"250 fine\r\n"))
                if word == "QUIT":
                    came.set()
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as post_office:
        post_office.daemon_threads = True
        threading.Thread(target=post_office.serve_forever, args=(0.01,), daemon=True).start()
        url = f"smtp://127.0.0.1:{post_office.server_address[1]}"
        own = start_server(tmp_path / "data", "--smtp-from", "jobs@example.org", environment={"FUSED_SMTP_URL": url})
        fused.options.base_url, fused.options.auth_token = own.base_url, own.token
        try:
            job = double(n=-1).run_remote(name="mailed", send_status_email=True, on_finish="mailto:ann@example.org")
            job.wait_for_job(timeout=60)
            assert came.wait(30)
            deadline = time.monotonic() + 120
            while any(each["state"] != "done" for each in hooks_of(job.job_id)):
                assert time.monotonic() < deadline, hooks_of(job.job_id)
                time.sleep(0.1)
        finally:
            stop_server(own)
            post_office.shutdown()
    text = "\n".join(lines)
    assert "Subject: job mailed: failed" in text
    assert {"rcpt TO:<ann@example.org>", "rcpt TO:<owner@localhost>"} <= {line for line in lines if "TO:" in line}


def hooks_of(job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call_json("GET", f"/api/v1/jobs/{job_id}", "asking")["hooks"]
    return found
