"""A request that makes a job and comes again because its answer was lost: one job (Idempotency-Key)."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import fused
from fused._cli import main as fused_command
from fused.errors import TransportError
from tests.conftest import Server
from tests.flow.calls import headers_of
from tests.flow.jobs import get, wait

JOB = {"steps": [{"type": "udf", "udf": {"name": "f", "code": "@fused.udf\ndef udf(n: int = 1):\n    return n\n"}}]}


def submit(server: Server, key: str | None, name: str, token: str | None = None, **query: Any) -> requests.Response:
    headers = {
        "Authorization": f"Bearer {token or server.token}",
        **({"Idempotency-Key": key} if key is not None else {}),
    }
    body = {"config": {"name": name, **JOB}}
    return requests.post(f"{server.api}/run", params=query, json=body, headers=headers, timeout=60)


def named(server: Server, name: str) -> list[str]:
    """Ids of the jobs of this name."""
    return [each["job_id"] for each in get(server, "/api/v1/jobs?limit=1000")["jobs"] if each["job_name"] == name]


@pytest.fixture
def name() -> str:
    return f"twice-{uuid.uuid4()}"


def test_one_key_is_one_job_also_when_its_requests_come_at_once_and_after_its_end(server: Server, name: str) -> None:
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: submit(server, key, name), range(16)))
    assert {reply.status_code for reply in replies} == {200}, replies[0].text
    (job,) = {reply.json()["job_id"] for reply in replies}
    assert wait(server, job)["status"] == "done"
    again = submit(server, key, name)
    assert (again.json()["job_id"], again.json()["status"]) == (job, "done")
    assert named(server, name) == [job]
    assert len(get(server, f"/api/v1/jobs/{job}")["attempts"]) == 1
    assert list((server.data / "s3").glob(f"**/job-configs/*/{job}/file.json"))  # its files are not another's to remove


def test_a_key_is_of_one_request_and_of_one_user(server: Server, name: str) -> None:
    key = f"{name} with any text: é".encode().decode("latin-1")
    first = submit(server, key, name).json()["job_id"]
    for other in (submit(server, key, f"{name}-2"), submit(server, key, name, priority=3)):
        assert other.status_code == 422 and first in other.text and "Idempotency-Key" in other.text
    who = f"twice-{uuid.uuid4()}"
    user = {"email": f"{who}@example.org", "username": who, "role": "member"}
    made = requests.post(f"{server.base_url}/api/v1/users", json=user, headers=headers_of(server), timeout=30)
    token = made.json()["token"]
    theirs = submit(server, key, name, token)
    assert theirs.status_code == 200 and theirs.json()["job_id"] != first
    assert submit(server, None, name).json()["job_id"] != submit(server, None, name).json()["job_id"]


def test_retry_and_rerun_take_a_key_too(server: Server, name: str) -> None:
    job = submit(server, str(uuid.uuid4()), name).json()["job_id"]
    assert wait(server, job)["status"] == "done"
    key = {**headers_of(server), "Idempotency-Key": str(uuid.uuid4())}
    asked = [
        requests.post(f"{server.base_url}/api/v1/jobs/{job}/rerun", json={}, headers=key, timeout=30) for _ in range(3)
    ]
    (second,) = {reply.json()["job_id"] for reply in asked}
    assert second != job and len(named(server, name)) == 2
    refused = requests.post(f"{server.base_url}/api/v1/jobs/{second}/rerun", json={}, headers=key, timeout=30)
    assert refused.status_code == 422


def test_a_key_that_is_none(server: Server, name: str) -> None:
    refused = submit(server, "k" * 201, name)
    assert refused.status_code == 400 and "201 characters" in refused.text
    assert named(server, name) == []


@contextmanager
def losing(server: Server, answers: int) -> Iterator[str]:
    """The server's address behind a relay that loses the first answers to POST."""
    left = [answers]

    class Relay(BaseHTTPRequestHandler):
        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding")}
            reply = requests.request(self.command, server.base_url + self.path, data=body, headers=told, timeout=60)
            if self.command == "POST" and left[0] > 0:
                left[0] -= 1
                self.close_connection = True
                return
            self.send_response(reply.status_code)
            self.send_header("content-type", reply.headers["content-type"])
            self.send_header("content-length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_POST = relay

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    relay = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{relay.server_address[1]}"
    finally:
        relay.shutdown()
        relay.server_close()


@fused.udf
def one(n: int = 1):
    return n


def test_the_sdk_and_the_command_ask_again_and_make_one_job(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fused.options, "auth_token", server.token)
    monkeypatch.setattr(fused.options, "request_retry_base_delay", 0.01)
    with losing(server, 2) as url:
        monkeypatch.setattr(fused.options, "base_url", url)
        job = one(arg_list=[1, 2]).run_remote(name=name)
        assert job.wait_for_job(timeout=60).status == "done"
        assert named(server, name) == [job.job_id]
    with losing(server, 1) as url:
        monkeypatch.setattr(fused.options, "base_url", url)
        assert fused_command(["jobs", "rerun", job.job_id]) == 0
    assert len(named(server, name)) == 2
    assert capsys.readouterr().out.split()[-1] in named(server, name)


def test_who_gets_no_answer_at_all_is_told_that_the_job_may_be_there(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused.options, "auth_token", server.token)
    monkeypatch.setattr(fused.options, "request_retry_base_delay", 0.01)
    monkeypatch.setattr(fused.options, "request_max_retries", 2)
    with losing(server, 100) as url:
        monkeypatch.setattr(fused.options, "base_url", url)
        with pytest.raises(TransportError, match="fused jobs list"):
            one().run_remote(name=name)
    deadline = time.monotonic() + 120
    while len(named(server, name)) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
