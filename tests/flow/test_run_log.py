"""The lines of a realtime run, followed while it runs: Server-Sent Events, polling, the SDK and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of, poll, start
from tests.flow.jobs import until

# Goes on when a file is there: what was printed before is read while it runs.
GATED = """\
@fused.udf
def udf(gate: str, fail: bool = False):
    import os, sys, time
    print('first')
    print('warned', file=sys.stderr)
    print('no end yet', end='')
    while not os.path.exists(gate):
        time.sleep(0.01)
    print(', now it has\\nlast')
    if fail:
        raise ValueError('as it was asked')
    return 7
"""


class Gate:
    """A file that the function waits for, as the function and as the test see it."""

    def __init__(self, server: Server) -> None:
        name = f"gate-{uuid.uuid4()}"
        self.inside = f"/mount/{name}"
        self._file = server.data / "mount" / name

    def open(self) -> None:
        self._file.write_text("")


@pytest.fixture
def gate(server: Server) -> Iterator[Gate]:
    made = Gate(server)
    yield made
    made.open()


def begin(server: Server, gate: Gate, run_id: str | None = None, **parameters: Any) -> str:
    """A run that was begun with 202 at once; a result of the same call may be shared."""
    run_id = run_id or str(uuid.uuid4())
    reply = requests.post(
        f"{server.api}{ROUTE}/start",
        params={"cache_max_age": 3600},
        json=body_of(GATED, {"gate": gate.inside, **parameters}),
        headers=headers_of(server, run_id, Prefer="respond-async"),
        timeout=120,
    )
    assert reply.status_code == 202, reply.text
    return run_id


def events(reply: requests.Response) -> Iterator[tuple[str, str, Any]]:
    """Kind, id and data of each event, as soon as it is there."""
    rest = b""
    while piece := reply.raw.read1(1 << 16):
        *whole, rest = (rest + piece).split(b"\n\n")
        for text in whole:
            found = dict(line.split(": ", 1) for line in text.decode().split("\n") if not line.startswith(":"))
            if found:
                yield found["event"], found.get("id", ""), json.loads(found["data"])
    assert rest == b"", rest


def follow(server: Server, run_id: str, query: str = "", token: str | None = None, **headers: str) -> requests.Response:
    asked = headers_of(server, **headers) if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(
        f"{server.base_url}/api/v1/runs/{run_id}/logs{query}", headers=asked, stream=True, timeout=(5, 60)
    )


def lines(server: Server, run_id: str, **query: Any) -> dict[str, Any]:
    reply = requests.get(
        f"{server.base_url}/api/v1/runs/{run_id}/lines", params=query, headers=headers_of(server), timeout=120
    )
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def shown(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["stream"], line["message"]) for line in found["lines"]]


WHOLE = [("stdout", "first"), ("stderr", "warned"), ("stdout", "no end yet, now it has"), ("stdout", "last")]


def same_lines(found: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    """Two pipes have no order between them where both are written at once; each has its own."""
    for stream in ("stdout", "stderr"):
        assert [line for line in found if line[0] == stream] == [line for line in wanted if line[0] == stream]


def test_lines_come_while_the_run_goes_on_and_the_end_says_how_it_ended(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    with follow(server, run_id) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        coming = events(reply)
        found = [next(coming), next(coming)]
        assert poll(server, run_id).status_code == 202  # it waits for the gate: what came, came before its end
        gate.open()
        found += list(coming)
    assert found[-1][0] == "end" and found[-1][2]["outcome"] == "ok" and found[-1][2]["cached"] is False
    same_lines([(data["stream"], data["message"]) for kind, _, data in found if kind == "log"], WHOLE)
    assert [number for _, number, _ in found[:-1]] == ["1", "2", "3", "4"]
    times = [data["timestamp"] for _, _, data in found[:-1]]
    assert times == sorted(times) and abs(times[0] / 1000 - time.time()) < 120
    assert poll(server, run_id).json() == 7


def test_who_comes_after_the_end_reads_all_of_it_for_as_long_as_the_result_is_kept(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    gate.open()
    until(lambda: poll(server, run_id).status_code == 200)
    with follow(server, run_id) as reply:
        found = list(events(reply))
    same_lines([(data["stream"], data["message"]) for kind, _, data in found if kind == "log"], WHOLE)
    assert found[-1][0] == "end"
    with follow(server, run_id, **{"Last-Event-ID": "3"}) as reply:
        assert [(kind, number) for kind, number, _ in events(reply)] == [("log", "4"), ("end", "")]


def test_polling_goes_on_behind_what_was_read(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    until(lambda: len(lines(server, run_id)["lines"]) == 2)
    first = lines(server, run_id, limit=1)
    assert (len(first["lines"]), first["next"], first["left_out"], first["end"]) == (1, 1, 0, None)
    gate.open()
    ended = until(lambda: (now := lines(server, run_id, since=1))["end"] and now)
    same_lines(shown(first) + shown(ended), WHOLE)
    assert ended["next"] == 4 and ended["end"]["outcome"] == "ok"
    assert lines(server, run_id, since_ms=ended["lines"][-1]["timestamp"] + 1)["lines"] == []
    with follow(server, run_id, "?follow=false") as reply:
        assert sum(kind == "log" for kind, _, _ in events(reply)) == 4


def test_a_failure_is_told_with_its_message(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate, fail=True)
    gate.open()
    with follow(server, run_id) as reply:
        end = list(events(reply))[-1][2]
    assert (end["outcome"], end["error_class"], end["message"]) == ("user_error", "ValueError", "as it was asked")


def test_a_direct_request_with_an_id_is_followed_by_another(server: Server, gate: Gate) -> None:
    run_id, answer = str(uuid.uuid4()), []

    def ask() -> None:
        body = body_of(GATED, {"gate": gate.inside})
        answer.append(requests.post(server.api + ROUTE, json=body, headers=headers_of(server, run_id), timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: follow(server, run_id, "?follow=false").status_code == 200)
    with follow(server, run_id) as reply:
        coming = events(reply)
        assert next(coming)[0] == "log"
        gate.open()
        assert list(coming)[-1][0] == "end"
    asking.join()
    assert answer[0].json() == 7


def test_reading_keeps_a_started_run_alive_and_leaving_ends_only_the_reading(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    reply = follow(server, run_id)
    next(events(reply))
    reply.close()  # in the middle
    gate.open()
    assert until(lambda: lines(server, run_id)["end"])["outcome"] == "ok"


def test_many_readers_read_the_same(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    found: list[list[tuple[str, str, Any]]] = []

    def read() -> None:
        with follow(server, run_id) as reply:
            found.append(list(events(reply)))

    readers = [threading.Thread(target=read) for _ in range(20)]
    for reader in readers:
        reader.start()
    gate.open()
    for reader in readers:
        reader.join()
    assert len(found) == 20 and all(each == found[0] for each in found)


PRINTS = """\
@fused.udf
def udf(count: int):
    for i in range(count):
        print(f'line {i} ' + 'x' * 100)
    return count
"""


def test_a_slow_reader_of_many_lines_is_told_what_is_missing(server: Server) -> None:
    run_id, _ = start(server, PRINTS, parameters={"count": 200_000})
    with follow(server, run_id) as reply:
        until(lambda: poll(server, run_id).status_code == 200)  # nothing is read meanwhile
        found = list(events(reply))
    gaps = sum(data["left_out"] for kind, _, data in found if kind == "gap")
    logs = [data["message"].split()[1] for kind, _, data in found if kind == "log"]
    assert found[-1][0] == "end" and logs[0] == "0" and logs[-1] == "199999"
    assert len(logs) + gaps == 200_000 and gaps > 0
    print(f"{len(logs)} lines read, {gaps} left out")


def test_callers_who_join_a_run_read_its_lines(server: Server, gate: Gate) -> None:
    first = begin(server, gate)
    until(lambda: len(lines(server, first)["lines"]) == 2)
    found = lines(server, first)["lines"]
    second = begin(server, gate)  # the same call: it waits for the first
    assert until(lambda: lines(server, second)["lines"]) == found  # with their times: those of the first
    gate.open()
    assert until(lambda: lines(server, second)["end"])["outcome"] == "ok"
    same_lines(shown(lines(server, second)), WHOLE)


def test_a_stored_result_has_no_lines(server: Server) -> None:
    ends = []
    for _ in range(2):
        run_id = str(uuid.uuid4())
        reply = requests.post(
            f"{server.api}{ROUTE}/start",
            params={"cache_max_age": 3600},
            json=body_of(PRINTS, {"count": 17}),
            headers=headers_of(server, run_id),
            timeout=120,
        )
        assert reply.status_code in (200, 202), reply.text
        found = until(lambda run_id=run_id: (now := lines(server, run_id))["end"] and now)
        ends.append((len(found["lines"]), found["end"]["cached"]))
    assert ends == [(17, False), (0, True)]


def test_what_is_wrong_is_named(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    for path, code, word in (
        (f"{uuid.uuid4()}/logs", 404, "unknown"),
        ("no-uuid/lines", 404, "UUID"),
        (f"{run_id}/logs?follow=maybe", 400, "follow"),
        (f"{run_id}/logs?since_ms=soon", 400, "since_ms"),
        (f"{run_id}/lines?since=-1", 400, "since"),
        (f"{run_id}/lines?limit=0", 400, "10000"),
    ):
        reply = requests.get(f"{server.base_url}/api/v1/runs/{path}", headers=headers_of(server), timeout=120)
        assert reply.status_code == code and word in reply.json()["message"], (path, reply.text)
    reply = follow(server, run_id, **{"Last-Event-ID": "x"})
    assert reply.status_code == 400 and "Last-Event-ID" in reply.json()["message"]


def test_nobody_reads_the_run_of_another(server: Server, gate: Gate) -> None:
    run_id = begin(server, gate)
    assert follow(server, run_id, token="").status_code == 401
    assert follow(server, run_id, token="no-such-token").status_code == 401
    name = f"reader-{uuid.uuid4().hex[:8]}"
    made = requests.post(
        f"{server.base_url}/api/v1/users",
        json={"email": f"{name}@localhost", "username": name, "role": "member"},
        headers=headers_of(server),
        timeout=120,
    )
    assert made.status_code < 300, made.text
    for suffix in ("logs", "lines"):
        reply = requests.get(
            f"{server.base_url}/api/v1/runs/{run_id}/{suffix}",
            headers={"Authorization": f"Bearer {made.json()['token']}"},
            timeout=120,
        )
        assert reply.status_code == 404, reply.text


# ---- the SDK and the command line

ASKS = """\
import fused, sys
@fused.udf
def udf(n: int):
    import sys, time
    for i in range(3):
        print(f'step {i}')
        time.sleep(0.2)
    print('to stderr', file=sys.stderr)
    return n * 2
"""


def python(server: Server, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FUSED_BASE_URL": server.api, "FUSED_AUTH_TOKEN": server.token}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_sdk_prints_lines_while_the_function_runs(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "asks.py"
    file.write_text(ASKS)
    ran = python(
        server,
        "import fused, time\n"
        f"f = fused.load({str(file)!r})\n"
        "seen = []\n"
        "value = fused.run(f, n=4, cache=False, follow_logs=lambda stream, line: seen.append((time.time(), line)))\n"
        "ended = time.time()\n"
        "assert value == 8, value\n"
        "assert [line for _, line in seen] == ['step 0', 'step 1', 'step 2', 'to stderr'], seen\n"
        "assert ended - seen[0][0] > 0.3, 'the first line came with the end'\n"
        "print('value', fused.run(f, n=5, cache=False, follow_logs=True))\n"
        "token = f.to_fused(overwrite=True) or f.create_access_token().token\n"
        "print('shared', fused.run(token, n=6, cache=False, follow_logs=True))\n",
    )
    assert ran.returncode == 0, ran.stderr
    steps = "step 0\nstep 1\nstep 2\n"
    assert ran.stdout == f"{steps}value 10\n{steps}shared 12\n"
    assert ran.stderr.count("to stderr\n") == 2


def test_a_failure_in_a_followed_run_is_raised_and_printed_once(server: Server) -> None:
    ran = python(
        server,
        "import fused\n"
        "f = fused.load('@fused.udf\\ndef udf():\\n    print(\\'before\\')\\n    raise KeyError(\\'gone\\')\\n')\n"
        "try:\n    fused.run(f, follow_logs=True)\n"
        "except fused.errors.UdfError as error:\n    assert error.child_exception_class == 'KeyError', error\n"
        "else:\n    raise SystemExit('no error')\n",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "before\n"


def test_the_command_follows_on_stderr(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "asks.py"
    file.write_text(ASKS)
    environment = {**os.environ, "FUSED_BASE_URL": server.api, "FUSED_AUTH_TOKEN": server.token}
    ran = subprocess.run(
        [sys.executable, "-m", "fused", "run", str(file), "n=21", "--follow", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "42" and ran.stderr == "step 0\nstep 1\nstep 2\nto stderr\n"


def test_a_server_that_leaves_ends_the_reading_and_the_reader_can_tell(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    try:
        run_id = begin(server, Gate(server))
        with follow(server, run_id) as reply:
            coming = events(reply)
            assert next(coming)[0] == "log"
            server.process.send_signal(signal.SIGTERM)
            assert "end" not in [kind for kind, _, _ in coming]  # it was not over
        assert server.process.wait(timeout=60) == 0
    finally:
        stop_server(server)


def test_a_killed_server_is_an_end_of_the_stream_and_the_sdk_says_what_happened(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    gate = Gate(server)
    code = (
        "import fused\n"
        f"f = fused.load({GATED!r})\n"
        "try:\n"
        f"    fused.run(f, gate={gate.inside!r}, follow_logs=True)\n"
        "except fused.errors.TransportError as error:\n    print('told:', str(error)[:60])\n"
    )
    environment = {**os.environ, "FUSED_BASE_URL": server.api, "FUSED_AUTH_TOKEN": server.token}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "first\n"
        server.process.kill()
        server.process.wait()
        assert client.stdout.read().startswith("told: GET ")
    stop_server(server)
