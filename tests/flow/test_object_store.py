"""A server with a real object store behind: history files follow, functions download and cache there."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of
from tests.object_store import KEYS, ObjectStore

HISTORY = "fused-users/default/fused-system/history"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    need_server()
    made = ObjectStore(tmp_path_factory.mktemp("objects") / "weed")
    made.start()
    yield made
    made.stop()


def serve(data: Path, store: ObjectStore, **environment: str) -> Server:
    return start_server(data, "--s3-endpoint", store.endpoint, environment={**KEYS, **environment})


def save(server: Server, name: str, function_id: str | None = None) -> str:
    body = {"slug": name, "udf_body": json.dumps({"name": name, "code": f"def udf(): return '{uuid.uuid4()}'"})}
    path = f"by-id/{function_id}" if function_id else "new"
    reply = requests.post(
        f"{server.api}/udf/{path}", json={**body, "udf_type": "auto"}, headers=headers_of(server), timeout=120
    )
    assert reply.ok, reply.text
    return str(reply.json()["id"])


def history(server: Server) -> dict[str, Any]:
    reply = requests.get(f"{server.base_url}/health", headers=headers_of(server), timeout=120)
    return dict(reply.json()["history"])


def until(server: Server, what: Callable[[dict[str, Any]], bool], seconds: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not what(seen := history(server)):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def local(server: Server) -> dict[str, bytes]:
    top = server.data / "s3"
    return {str(path.relative_to(top)): path.read_bytes() for path in (top / HISTORY).rglob("*.json")}


def test_saves_are_acknowledged_and_their_history_follows_whatever_is_down_or_killed(tmp_path: Path) -> None:
    """The store is away, the server is killed, the store comes back: every object is there, to the byte."""
    store = ObjectStore(tmp_path / "weed")
    store.start()
    server = serve(tmp_path / "data", store)
    try:
        identity = save(server, "hello")
        seen = until(server, lambda seen: seen["backlog"] == 0 and seen["sent"] == 1)
        assert seen["object_store"] == store.endpoint and seen["trouble"] == ""
        store.stop()
        for _ in range(3):
            save(server, "hello", identity)
        seen = until(server, lambda seen: seen["trouble"] != "")
        assert seen["backlog"] == 3 and seen["failed"] >= 1
        assert sum("history files wait for" in line for line in server.lines) == 1, "said once"
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait()
        server = serve(tmp_path / "data", store)
        assert history(server)["backlog"] == 3, "it is on the disk"
        store.start()
        until(server, lambda seen: seen["backlog"] == 0)
        files = local(server)
        assert len(files) == 4 and store.names(HISTORY) == sorted(files)
        assert {name: store.get(name) for name in files} == files
        metrics = requests.get(f"{server.base_url}/metrics", headers=headers_of(server), timeout=120).text
        assert "\nfused_history_backlog_objects 0" in metrics
    finally:
        stop_server(server)
        store.stop()


def test_a_store_that_is_set_up_later_is_sent_what_was_saved_before(tmp_path: Path, store: ObjectStore) -> None:
    server = start_server(tmp_path / "data")
    save(server, "early")
    assert history(server) == {"object_store": "", "backlog": 0, "sent": 0, "failed": 0, "trouble": ""}
    stop_server(server)
    server = serve(tmp_path / "data", store)
    try:
        until(server, lambda seen: seen["backlog"] == 0 and seen["sent"] == 1)
        (name,) = local(server)
        assert store.get(name) == local(server)[name]
    finally:
        stop_server(server)


DOWNLOAD = """
import fused
def udf(key: str = "data.bin"):
    with open(fused.download(f"s3://inputs/{key}", f"fetched/{key}"), "rb") as file:
        return len(file.read())
"""


def run(server: Server, code: str, name: str = "f", **parameters: object) -> requests.Response:
    return requests.post(
        server.api + ROUTE, params={"cache_max_age": "0"}, json=body_of(code, parameters, name=name),
        headers=headers_of(server), timeout=90,
    )  # fmt: skip


def test_functions_have_the_keys_where_the_server_says_so_and_not_otherwise(tmp_path: Path, store: ObjectStore) -> None:
    store.put("inputs/data.bin", bytes(100_000))
    server = serve(tmp_path / "with keys", store, FUSED_SHARE_S3_KEYS="1")
    try:
        assert run(server, DOWNLOAD).json() == 100_000
        assert (server.data / "mount/fetched/data.bin").stat().st_size == 100_000
    finally:
        stop_server(server)
    server = serve(tmp_path / "without", store)
    try:
        reply = run(server, DOWNLOAD)
        assert reply.status_code == 422 and "credentials" in reply.json()["message"], reply.text
        seen = run(server, "def udf():\n    import os\n    return [n for n in os.environ if n.startswith('AWS')]")
        assert seen.json() == ["AWS_ENDPOINT_URL"]
    finally:
        stop_server(server)


CACHED = """
import fused

@fused.cache(storage="object")
def work(x):
    with open("/mount/work.log", "a") as log:
        log.write("x")
    return {"x": x}

def udf(x: int = 1):
    import warnings
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        value = work(x)
    return {"value": value, "said": [str(each.message) for each in said]}
"""


def test_entries_in_the_s3_home_outlive_the_mount_and_damaged_ones_are_made_again(
    tmp_path: Path, store: ObjectStore
) -> None:
    server = serve(tmp_path / "data", store, FUSED_SHARE_S3_KEYS="1")
    log = server.data / "mount/work.log"
    folder = server.data / "mount/fused-system/cached_data/stored"

    def ask() -> Any:
        reply = run(server, CACHED, "stored", x=3)
        assert reply.status_code == 200, reply.text
        return reply.json()

    try:
        assert [ask() for _ in range(2)] == [{"value": {"x": 3}, "said": []}] * 2 and log.read_text() == "x"
        (entry,) = folder.glob("data_*")
        below = "fused-users/default/fused-system/fused-cache/owner@localhost/stored/output"
        name = f"{below}/{entry.name.removeprefix('data_')}/entry"
        assert store.names(below) == [name] and store.get(name) == entry.read_bytes()
        entry.unlink()
        assert ask()["value"] == {"x": 3} and log.read_text() == "x", "it came back from the store"
        assert entry.read_bytes() == store.get(name)
        store.put(name, store.get(name)[:-1] + b"?")
        entry.unlink()
        assert ask()["value"] == {"x": 3} and log.read_text() == "xx", "nothing of a damaged one is used"
        assert store.get(name) == entry.read_bytes()
    finally:
        stop_server(server)


def test_without_an_object_store_entries_are_kept_on_the_mount_and_that_is_said(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data")
    try:
        first, second = (run(server, CACHED, "stored", x=3).json() for _ in range(2))
        assert first["value"] == second["value"] == {"x": 3}
        assert any("no object store" in text for text in first["said"])
        assert (server.data / "mount/work.log").read_text() == "x"
    finally:
        stop_server(server)
