"""What becomes of a batch: the cache, an owner who vanishes, a server that is killed, the protocol and its refusals."""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

import fused
from fused._submit.batch import HEAD
from fused.errors import FusedError
from tests.conftest import Server, need_server, start_server, stop_server
from tests.until import until

CODE = """import time
from pathlib import Path
@fused.udf
def udf(n: int = 0, wait: float = 0.0, gate: str = ""):
    time.sleep(wait)
    while gate and not Path(gate).exists():
        time.sleep(0.01)
    if n < 0:
        raise ValueError(n)
    return {"n": n, "at": time.time()}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the test's own, that keeps results."""
    need_server()
    running = start_server(tmp_path / "data", "--cache-max-age", "1h")
    monkeypatch.setenv("FUSED_BASE_URL", running.base_url)
    monkeypatch.setenv("FUSED_AUTH_TOKEN", running.token)
    yield running
    stop_server(running)


def ask(server: Server, method: str, path: str, value: Any = None, token: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token if token is None else token}"}
    return requests.request(method, f"{server.base_url}/api/v1/batches{path}", json=value, headers=headers, timeout=60)


def opened(server: Server, **wishes: Any) -> str:
    udf = {"name": "f", "type": "geopandas_v2", "code": "import fused\n" + CODE, "headers": [], "parameters": {}}
    order = {"step_config": json.dumps({"type": "udf", "udf": udf}), "format": "json", **wishes}
    reply = ask(server, "POST", "", order)
    assert reply.status_code == 201, reply.text
    return f"/{reply.json()['batch_id']}"


def records_of(body: bytes) -> list[tuple[int, int, int]]:
    """Index, attempts and status of each call of a chunk."""
    magic, count, length = HEAD.unpack_from(body)
    assert magic == b"FBR1"
    at = HEAD.size + 16 * count
    index = struct.unpack_from(f"<{count}I", body, at)
    attempts = struct.unpack_from(f"<{count}H", body, at + 8 * count)
    status = struct.unpack_from(f"<{count}B", body, at + 10 * count)
    assert len(body) == HEAD.size + 27 * count + length
    return list(zip(index, attempts, status, strict=True))


def taken(server: Server, batch: str, calls: int, seconds: float = 60) -> dict[int, tuple[int, int]]:
    """Asks until so many calls have ended; none may come twice."""
    found: dict[int, tuple[int, int]] = {}
    cursor, deadline = 0, time.monotonic() + seconds
    while len(found) < calls:
        assert time.monotonic() < deadline, found
        reply = ask(server, "GET", f"{batch}/results?after={cursor}&wait_ms=2000")
        assert reply.status_code == 200, reply.text
        cursor = json.loads(reply.headers["x-fused-batch"])["cursor"]
        for index, attempts, status in records_of(reply.content) if reply.content else ():
            assert index not in found
            found[index] = attempts, status
    return found


def folders(server: Server, batch: str) -> list[Path]:
    return [path for path in (server.data / "mount/fused-system/logs").glob(f"*/*/*{batch}") if path.is_dir()]


def test_a_batch_asked_again_answers_call_by_call_from_what_is_kept(own: Server) -> None:
    udf = fused.load(CODE)
    first = fused.submit(udf, [{"n": n} for n in range(100)])
    values = first.results()
    first._engine.join()

    def kept() -> bool:
        again = fused.submit(udf, [{"n": 1}, {"n": 2}])
        return [again.results(), [again[index].attempts() for index in (0, 1)]] == [values[1:3], [0, 0]]

    until(kept)
    more = fused.submit(udf, [{"n": n} for n in range(90, 110)] + [{"n": -1}])
    more.wait()
    assert [more[index].result() for index in range(10)] == values[90:]
    assert [more[index].attempts() for index in range(21)] == [0] * 10 + [1] * 11
    assert more.any_failed()
    fresh = fused.submit(udf, [{"n": 1}], cache=False)
    assert fresh.results() != values[1:2] and fresh[0].attempts() == 1
    other = fused.submit(udf, [{"n": 1}], wait=0.001)
    other.wait()
    assert other[0].attempts() == 1
    assert fused.submit(fused.load(CODE.replace("ValueError(n)", "KeyError(n)")), [{"n": 1}])[0].result() != values[1]


def test_a_large_piece_is_answered_from_what_is_kept_each_call_once_beside_calls_that_are_new(own: Server) -> None:
    calls = 12_000  # more than are answered without others having their turn
    fast = {"calls": [[0, calls]], "piece": 0}
    first = opened(own)
    assert ask(own, "POST", f"{first}/calls", {**fast, "columns": {"n": list(range(calls))}}).status_code == 200
    taken(own, first, calls)
    assert ask(own, "POST", f"{first}/close").status_code == 200

    def again(values: list[int]) -> dict[int, tuple[int, int]]:
        batch = opened(own)
        reply = ask(own, "POST", f"{batch}/calls", {**fast, "columns": {"n": values}})
        assert reply.json()["taken"] == calls
        found = taken(own, batch, calls)
        assert ask(own, "POST", f"{batch}/cancel").json()["finished"] == calls
        assert ask(own, "POST", f"{batch}/close").status_code == 200
        return found

    until(lambda: again(list(range(calls))) == dict.fromkeys(range(calls), (0, 2)))
    mixed = again([n if n % 3 else calls + n for n in range(calls)])
    assert mixed == {n: (0 if n % 3 else 1, 2) for n in range(calls)}


def test_a_piece_sent_again_has_no_effect_and_a_chunk_is_given_again(own: Server) -> None:
    batch = opened(own)
    piece = {"piece": 0, "calls": [[0, 50]], "columns": {"n": list(range(50))}}
    for _ in range(3):
        assert ask(own, "POST", f"{batch}/calls", piece).json()["taken"] == 50
    assert taken(own, batch, 50) == dict.fromkeys(range(50), (1, 2))
    first = ask(own, "GET", f"{batch}/results?after=0")
    assert first.content == ask(own, "GET", f"{batch}/results?after=0").content
    assert ask(own, "POST", f"{batch}/close").status_code == 200
    assert ask(own, "POST", f"{batch}/calls", {**piece, "piece": 1}).status_code == 409
    until(lambda: folders(own, batch))
    assert len(pd.read_parquet(folders(own, batch)[0] / "calls.parquet")) == 50


def test_refusals_say_what_is_allowed(own: Server) -> None:
    assert ask(own, "POST", "", {"format": "json"}).status_code == 400
    batch = opened(own)
    for value, expected in (
        ({"piece": 0, "calls": [[0, 2]], "columns": {"n": [1]}}, "1 values for 2 calls"),
        ({"piece": 1, "calls": [[0, 1]], "columns": {"n": [1]}}, "came before piece 0"),
        ({"calls": []}, "'piece'"),
        ([1], "is expected there"),
    ):
        reply = ask(own, "POST", f"{batch}/calls", value)
        assert reply.status_code in (400, 409) and expected in reply.json()["message"], reply.text
    for wishes, expected in (({"max_workers": 0}, "1 to 1024"), ({"retries_failures": 3}, "true")):
        reply = ask(own, "POST", "", {"step_config": "{}", **wishes})
        assert reply.status_code == 400 and expected in reply.json()["message"]
    assert ask(own, "GET", f"{batch}/results?after=7").status_code == 400
    assert ask(own, "POST", f"{batch}/cancel", {"calls": ["a"]}).status_code == 400
    assert ask(own, "GET", f"{batch}/results", token="nobody").status_code == 401
    unknown = ask(own, "GET", "/00000000-0000-4000-8000-000000000000/results")
    assert unknown.status_code == 404 and "no batch" in unknown.json()["message"]
    piece = {"piece": 0, "calls": [[0, 1]], "columns": {"n": [1], "wait": [5]}}
    assert ask(own, "POST", f"{batch}/calls", piece).status_code == 200
    assert ask(own, "POST", f"{batch}/calls", {**piece, "piece": 1}).status_code == 409  # the call has not ended
    assert ask(own, "POST", f"{batch}/cancel", {}).status_code == 200
    assert taken(own, batch, 1)[0][1] == 5


def test_too_much_at_once_is_put_off(own: Server) -> None:
    batch = opened(own, max_workers=1)
    piece = {"piece": 0, "calls": [[0, 1]], "rows": [{"n": 1, "gate": "/mount/gate"}]}
    assert ask(own, "POST", f"{batch}/calls", piece).status_code == 200
    filler = "x" * (9 << 20)
    codes = []
    for number in range(1, 6):
        large = {"piece": number, "calls": [[number, 1]], "rows": [{"n": 1, "filler": filler}]}
        reply = ask(own, "POST", f"{batch}/calls", large)
        codes.append(reply.status_code)
        if reply.status_code == 429:
            assert reply.headers["retry-after"] and "waiting already" in reply.json()["message"]
            break
    (own.data / "mount" / "gate").touch()
    assert codes == [200, 200, 200, 429]


def test_a_killed_server_is_a_clear_error_and_retry_runs_the_rest(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    udf = fused.load(CODE)
    pool = fused.submit(udf, [{"n": n, "wait": 0.05} for n in range(100)])
    until(lambda: pool.table.finished >= 5)
    os.kill(own.pid, signal.SIGKILL)
    own.process.wait()
    with pytest.raises(FusedError, match=r"pool\.retry"):
        pool.wait()
    kept = pool.table.finished
    assert 5 <= kept < 100
    again = start_server(own.data)
    try:
        monkeypatch.setenv("FUSED_BASE_URL", again.base_url)
        pool.retry()
        pool.wait()
        assert pool.all_succeeded() and [pool[n].result()["n"] for n in range(100)] == list(range(100))
    finally:
        stop_server(again)


def test_a_server_that_stops_tells_its_batches_and_keeps_what_they_did(own: Server) -> None:
    batch = opened(own)
    calls = {"piece": 0, "calls": [[0, 40]], "columns": {"n": list(range(40)), "wait": [0.1] * 40}}
    assert ask(own, "POST", f"{batch}/calls", calls).status_code == 200
    until(lambda: json.loads(ask(own, "GET", f"{batch}/results").headers["x-fused-batch"])["finished"] >= 4)
    last = json.loads(ask(own, "GET", f"{batch}/results").headers["x-fused-batch"])["cursor"]
    replies: list[requests.Response] = []

    def wait() -> None:
        cursor = last
        while not replies or replies[-1].status_code == 200:
            replies.append(ask(own, "GET", f"{batch}/results?after={cursor}&wait_ms=20000"))
            cursor = json.loads(replies[-1].headers.get("x-fused-batch", "{}")).get("cursor", cursor)

    waits = threading.Thread(target=wait)
    waits.start()
    time.sleep(0.2)
    assert stop_server(own) == 0
    waits.join()
    assert replies[-1].status_code == 503 and "stopping" in replies[-1].json()["message"]
    again = start_server(own.data)
    try:
        until(lambda: folders(again, batch))
        table = pd.read_parquet(folders(again, batch)[0] / "calls.parquet")
        assert len(table) == 40 and (table["status"] == "success").sum() >= 4
        assert set(table["status"]) == {"success", "cancelled"}
    finally:
        stop_server(again)


def test_many_small_calls_spill_and_arrive_once_each(own: Server) -> None:
    calls = 60_000
    udf = fused.load("@fused.udf\ndef udf(n: int):\n    return str(n) * 60\n")
    pool = fused.submit(udf, range(calls), cache=False)
    pool.wait()
    assert pool.all_succeeded() and (pool.table.attempts == 1).all()
    for index in range(0, calls, 997):
        assert pool[index].result() == str(index) * 60
