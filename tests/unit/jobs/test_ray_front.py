"""What is said of a cluster that cannot run our tasks, and what travels between nodes and server."""

from __future__ import annotations

import http.server
import io
import json
import platform
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fused._jobs import ray_front
from fused._jobs.node_client import Late, Lost, Refused, ServerClient, pack, unpack
from fused._jobs.ray_front import Unfit, check_nodes
from fused._version import __version__

NODE = {"name": "a (10.0.0.2)", "python": platform.python_version(), "fused": __version__, "error": None}
SIZES = {"cores": 2, "memory_bytes": 1, "node_memory_bytes": 1}


def test_a_cluster_like_ours_is_taken() -> None:
    check_nodes({"nodes": [NODE], **SIZES})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"python": "3.9.1"}, "node a (10.0.0.2) has Python 3.9.1, this server's functions run on"),
        ({"fused": "0.0.9"}, f"has fused 0.0.9, this server is {__version__}"),
        ({"error": "there is no folder /srv (--ray-mount)"}, "there is no folder /srv"),
    ],
)
def test_a_node_that_is_not_like_ours_is_named(changed: dict[str, str], said: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_nodes({"nodes": [NODE, NODE | changed], **SIZES})
    assert said in str(unfit.value)


def test_a_cluster_without_a_core_is_refused() -> None:
    with pytest.raises(Unfit, match="no node with a core"):
        check_nodes({"nodes": [NODE], **SIZES, "cores": 0})


class Odd:
    """A cluster that answers what nobody expected, and then as it should."""

    def __init__(self) -> None:
        self.submitted = threading.Event()
        self.answers: list[Any] = [["no object"], []]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.answers.pop(0)

    def submit(self, *_: Any) -> str:
        self.submitted.set()
        return "name"

    def status(self, name: str) -> tuple[str, str]:
        return "RUNNING", ""

    def stop(self, name: str) -> None:
        return


def test_an_answer_that_nobody_expected_is_said_and_the_driver_submitted_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ray_front, "PAUSE_MAX", 0.01)
    cluster: Any = Odd()
    driver = ray_front.Driver(cluster, "http://127.0.0.1:1", "token")
    assert cluster.submitted.wait(30)
    driver.stop()
    assert "AttributeError: 'str' object has no attribute 'get'" in capsys.readouterr().err


def test_an_order_that_fails_in_another_way_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("nodes")

    monkeypatch.setattr(ray_front, "look", broken)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"op": "look", "address": "http://127.0.0.1:1", "mount": ""}\n'))
    told = io.StringIO()
    monkeypatch.setattr("sys.stdout", told)
    ray_front.main()
    assert "KeyError" in json.loads(told.getvalue())["error"]


@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 1_000])
def test_what_is_packed_comes_out_as_it_was(body: bytes) -> None:
    assert unpack(pack({"a": "ä", "n": 2**60}, body)) == ({"a": "ä", "n": 2**60}, body)


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses that the server object holds, one after the other, the last for ever."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        statuses = self.server.statuses  # type: ignore[attr-defined]
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        body = json.dumps({"message": f"said {status}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def peer() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    ("statuses", "raised"), [([200], None), ([503, 200], None), ([409], Late), ([401], Late), ([500], Refused)]
)
def test_what_the_server_says_is_told_apart(
    peer: http.server.ThreadingHTTPServer, statuses: list[int], raised: type[Exception] | None
) -> None:
    peer.statuses = statuses  # type: ignore[attr-defined]
    client = ServerClient(f"http://127.0.0.1:{peer.server_port}", "token", 5)
    if raised is None:
        assert json.loads(client.post("/x", b"")) == {"message": "said 200"}
        return
    with pytest.raises(raised, match=f"said {statuses[-1]}"):
        client.post("/x", b"")


def test_a_server_that_is_not_there_is_lost_after_a_lease() -> None:
    client = ServerClient("http://127.0.0.1:1", "token", 0.3)
    with pytest.raises(Lost):
        client.post("/x", b"")
    assert client.is_lost
