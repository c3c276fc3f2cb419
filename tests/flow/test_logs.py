"""The log of every run, through the real server: the seed's four files, failures, kills, what must not stand there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from fused import load
from fused.models import UdfJobStepConfig
from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell

FILES = ("metadata.json", "udf.json", "stdout.log", "stderr.log")
APPEARS_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # on a busy machine; a test of the promised second says so itself


def run(server: Server, code: str, run_id: str | None = None, **parameters: Any) -> requests.Response:
    step = UdfJobStepConfig(udf=load(code).set_parameters(parameters)).model_dump_json()
    return requests.post(
        f"{server.api}/realtime/test/api/v1/run/udf",
        json={"step_config": step, "format": "json", "profile": False},
        headers={"Authorization": f"Bearer {server.token}", "Fused-Run-Id": run_id or str(uuid.uuid4())},
        timeout=60,
    )


def folders_of(server: Server, run_id: str) -> list[Path]:
    return sorted((server.data / "mount/fused-system/logs").glob(f"*/*/*/{run_id}*"))


def folder_of(server: Server, run_id: str, patience: float = PATIENCE_SECONDS) -> Path:
    deadline = time.monotonic() + patience
    while not (found := folders_of(server, run_id)):
        assert time.monotonic() < deadline, f"no log folder of {run_id} after {patience} s"
        time.sleep(0.005)
    return found[0]


def inside(path: Path, server: Server) -> str:
    """The path as functions see it."""
    return "/mount/" + str(path.relative_to(server.data / "mount"))


HELLO = """@fused.udf
def udf(n: int = 1):
    print("hello", n)
    return n + 1
"""


def test_a_run_has_the_four_files_within_a_second_of_its_reply(server: Server) -> None:
    run_id = str(uuid.uuid4())
    run(server, HELLO, n=0)  # so that nothing is done for the first time
    before = datetime.now(UTC)
    reply = run(server, HELLO, run_id, n=41)
    assert reply.status_code == 200, reply.text
    folder = folder_of(server, run_id, APPEARS_SECONDS)
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["user_email"] == "owner@localhost"
    assert metadata["collection_name"] == "default"
    assert metadata["request_id"] == run_id
    assert metadata["outcome"] == "ok"
    assert 0 < metadata["execution_time_seconds"] < 30
    assert metadata["parameters"] == {"n": 41}
    assert json.loads((folder / "udf.json").read_text())["code"].strip() == HELLO.strip()
    assert (folder / "stdout.log").read_text() == "hello 41\n"
    assert (folder / "stderr.log").read_text() == ""
    date, minute, email, _ = folder.parts[-4:]
    assert email == "owner@localhost"
    began = datetime.strptime(date + minute, "%Y-%m-%d%H%M").replace(tzinfo=UTC)
    assert abs((began - before).total_seconds()) < 90


def test_stderr_of_a_run_that_succeeded_stands_marked_in_stdout_in_order(server: Server) -> None:
    code = """@fused.udf
def udf():
    import os, sys
    print("one")
    print("two", file=sys.stderr)
    os.write(1, b"three\\n")
    os.write(2, b"fo")
    os.write(2, b"ur\\n")
    return 1
"""
    run_id = str(uuid.uuid4())
    assert run(server, code, run_id).status_code == 200
    folder = folder_of(server, run_id)
    assert (folder / "stderr.log").read_text() == "", "non-empty means that an error occurred"
    assert (folder / "stdout.log").read_text() == "one\n[stderr] two\nthree\n[stderr] four\n"


@pytest.mark.parametrize(
    ("body", "outcome", "expected"),
    [
        ("raise ValueError(f'bad {6 * 7}')", "user_error", ["ValueError: bad 42", "line 4"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed", ["signal", "11"]),
        ("import os; os._exit(3)", "no_result", ["no_result"]),
        ("import ctypes; ctypes.string_at(0)", "crashed", ["signal", "11"]),
    ],
)
def test_a_run_that_failed_says_in_stderr_log_what_happened(
    server: Server, body: str, outcome: str, expected: list[str]
) -> None:
    run_id = str(uuid.uuid4())
    reply = run(server, f"@fused.udf\ndef udf():\n    print('so far', flush=True)\n    {body}\n", run_id)
    assert reply.status_code == 422
    folder = folder_of(server, run_id)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["outcome"] == outcome
    assert isinstance(metadata["execution_time_seconds"], float)
    assert (folder / "stdout.log").read_text() == "so far\n"
    text = (folder / "stderr.log").read_text()
    for part in expected:
        assert part in text, text


def test_a_second_attempt_of_a_failed_request_has_a_folder_of_its_own(server: Server) -> None:
    run_id = str(uuid.uuid4())
    code = "@fused.udf\ndef udf():\n    raise RuntimeError('again')\n"
    assert run(server, code, run_id).status_code == 422
    assert run(server, code, run_id).status_code == 422
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(folders_of(server, run_id)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [folder.name for folder in folders_of(server, run_id)] == [run_id, f"{run_id}.2"]


def test_both_samples_of_the_seed_run_inside_a_function(server: Server) -> None:
    run_id = str(uuid.uuid4())
    assert run(server, HELLO, run_id).status_code == 200
    folder = folder_of(server, run_id)
    today = folder.parts[-4]
    listing = """@fused.udf
def udf(datestr: str = "2026-05-12"):
    import glob
    import pandas as pd
    dirs = glob.glob(f"/mount/fused-system/logs/{datestr}/*/*/*")
    df = pd.DataFrame({"file_path": dirs})
    df["hhmm"] = df["file_path"].apply(lambda x: x.split("/")[5])
    df["user"] = df["file_path"].apply(lambda x: x.split("/")[6])
    df["request_id"] = df["file_path"].apply(lambda x: x.split("/")[7])
    return df
"""
    reply = run(server, listing, datestr=today)
    assert reply.status_code == 200, reply.text
    rows = [row for row in reply.json() if row["request_id"] == run_id]
    assert rows == [
        {"file_path": inside(folder, server), "hhmm": folder.parts[-3], "user": "owner@localhost", "request_id": run_id}
    ]
    reading = f'''@fused.udf
def udf():
    import json
    path = "{inside(folder, server)}"
    with open(f"{{path}}/metadata.json") as f:
        meta = json.load(f)
    with open(f"{{path}}/stderr.log") as f:
        stderr = f.read()
    print(meta["udf_name"], meta["execution_time_seconds"])
    print(stderr or "no errors")
'''
    second = str(uuid.uuid4())
    assert run(server, reading, second).status_code in (200, 204)
    name, seconds = (folder_of(server, second) / "stdout.log").read_text().splitlines()[0].rsplit(" ", 1)
    assert name
    assert float(seconds) > 0
    assert (folder_of(server, second) / "stdout.log").read_text().endswith("no errors\n")


def test_control_characters_from_strangers_are_escaped_in_the_json_files(server: Server) -> None:
    naughty = "\x1b[2J\x00\x9b31m\u2028\r\nforged: line\x7f"
    code = "@fused.udf\ndef udf(text: str):\n    raise ValueError(text)\n"
    run_id = str(uuid.uuid4())
    assert run(server, code, run_id, text=naughty).status_code == 422
    raw = (folder_of(server, run_id) / "metadata.json").read_text()
    metadata = json.loads(raw)
    assert metadata["parameters"]["text"] == naughty
    assert metadata["error_message"] == naughty
    assert not any(c in raw for c in "\x1b\x00\x9b\u2028\x7f\r")


def test_a_share_token_stands_in_no_log(server: Server) -> None:
    udf = load(HELLO)
    udf.name = f"shared_{uuid.uuid4().hex[:8]}"
    import fused

    fused.options.base_url, fused.options.auth_token = server.base_url, server.token
    try:
        udf.to_fused()
        token = udf.create_access_token().token
    finally:
        fused.options.base_url = fused.options.auth_token = None
    reply = requests.get(
        f"{server.api}/realtime-shared/{token}/run/file", params={"format": "json", "n": 5}, timeout=60
    )
    assert reply.status_code == 200, reply.text
    failing = requests.get(f"{server.api}/realtime-shared/{token}/run/file", params={"n": "x"}, timeout=60)
    assert failing.status_code == 422
    time.sleep(APPEARS_SECONDS)
    searched = 0
    for root in (server.data / "mount", server.data / "journal"):
        for file in root.rglob("*"):
            if file.is_file():
                searched += 1
                assert token.encode() not in file.read_bytes(), file
    assert searched > len(FILES)
    assert token not in "".join(server.lines)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[list[Server]]:
    need_server()
    started: list[Server] = []
    yield started
    for server in started:
        stop_server(server)


def test_every_answered_run_has_its_folder_after_kill_9(own_server: list[Server], tmp_path: Path) -> None:
    data = tmp_path / "data"
    answered: list[str] = []
    late = 0
    for _ in range(3):
        server = start_server(data, workers=2)
        own_server.append(server)
        for earlier in answered:
            late += 0 if folders_of(server, earlier) else 1
        for _ in range(20):
            run_id = str(uuid.uuid4())
            assert run(server, HELLO, run_id).status_code == 200
            answered.append(run_id)
        server.process.kill()
        server.process.wait()
    server = start_server(data, workers=2)
    own_server.append(server)
    for run_id in answered:
        folder = folder_of(server, run_id)
        assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
        assert len(folders_of(server, run_id)) == 1, "replay makes no second folder"
    tell(f"3 kills, {len(answered)} answered runs, all have their folder")


def test_a_closed_server_leaves_an_empty_journal(own_server: list[Server], tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", workers=2)
    own_server.append(server)
    run_ids = [str(uuid.uuid4()) for _ in range(10)]
    for run_id in run_ids:
        assert run(server, HELLO, run_id).status_code == 200
    stop_server(server)
    assert not list((tmp_path / "data/journal").glob("*.journal"))
    for run_id in run_ids:
        assert len(folders_of(server, run_id)) == 1
