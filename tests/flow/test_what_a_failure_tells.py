"""What a run that went wrong leaves for its author: in the reply, in stderr.log, in metadata.json."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.flow.calls import ROUTE, body_of, headers_of, metadata_of, run

ENDS = {
    "timeout": """
@fused.udf(limits={"wall_seconds": 1})
def udf():
    import subprocess
    inner(subprocess)

def inner(subprocess):
    subprocess.run(["sleep", "30"])
""",
    "crashed": """
@fused.udf
def udf():
    import ctypes
    inner(ctypes)

def inner(ctypes):
    ctypes.string_at(0)
""",
}


def folder_of(server: Server, log_dir: str, seconds: float = 60) -> Path:
    folder = server.data / log_dir.lstrip("/")
    deadline = time.monotonic() + seconds
    while not folder.exists():
        assert time.monotonic() < deadline, f"{folder} did not appear"
        time.sleep(0.02)
    return folder


def metadata_json(server: Server, log_dir: str) -> dict[str, Any]:
    return json.loads((folder_of(server, log_dir) / "metadata.json").read_text())


def test_a_memory_error_has_a_post_mortem_with_limit_peak_and_line(server: Server) -> None:
    reply = run(server, "def udf():\n    n = 10**12\n    return bytearray(n)\n")
    said = metadata_of(reply)
    assert reply.status_code == 422 and said["outcome"] == "out_of_memory"
    assert "may use 4294967296 bytes of memory" in reply.json()["message"]
    text = (folder_of(server, said["log_dir"]) / "stderr.log").read_text()
    assert "Traceback" in text and "return bytearray(n)" in text
    ended = text.split("--- how this run ended ---")[1]
    assert "limit: memory of 4294967296 bytes" in ended
    assert "peak memory: " in ended
    assert 'last Python line: File "f.py", line 3, in udf' in ended
    assert said["stderr"] == text


@pytest.mark.parametrize("outcome", ENDS)
def test_the_last_line_is_the_functions_own_and_our_frames_are_cut(server: Server, outcome: str) -> None:
    said = metadata_of(run(server, ENDS[outcome].lstrip()))
    assert said["outcome"] == outcome
    text = said["stderr"]
    assert 'last Python line: File "f.py", line 7 in inner' in text
    assert 'File "f.py", line 4 in udf' in text
    assert "_worker" not in text
    # Those of libraries stay: they say what the function waited for.
    assert ("subprocess.py" if outcome == "timeout" else "ctypes") in text


def test_a_failure_leads_from_the_reply_to_its_log(server: Server) -> None:
    reply = run(server, "def udf(): return 1 / 0", **{"X-Request-Id": "asked-by-the-test"})
    body = reply.json()
    assert body["request_id"] == reply.headers["x-request-id"] == "asked-by-the-test"
    log_dir = metadata_of(reply)["log_dir"]
    assert log_dir.endswith("/" + body["run_id"])
    kept = metadata_json(server, log_dir)
    assert kept["request_id"] == body["run_id"] and kept["x_request_id"] == "asked-by-the-test"
    assert kept["share_token_id"] is None


def save(server: Server, name: str, code: str) -> dict[str, Any]:
    udf = {"name": name, "type": "geopandas_v2", "code": code, "headers": [], "entrypoint": "udf", "parameters": {}}
    body = {"slug": name, "udf_body": json.dumps(udf), "udf_type": "auto"}
    return dict(requests.post(server.api + "/udf/new", json=body, headers=headers_of(server), timeout=120).json())


def test_a_text_that_is_a_saved_function_is_logged_as_it(server: Server) -> None:
    code = "@fused.udf\ndef udf(n: int = 1): return n"
    record = save(server, "logged_by_id", code)

    def logged(sent: str) -> dict[str, Any]:
        body = body_of(sent, name="logged_by_id")
        step = json.loads(body["step_config"])
        step["udf"] |= {"metadata": {"fused:id": record["id"]}, "entrypoint": "udf"}
        body["step_config"] = json.dumps(step)
        reply = requests.post(server.api + ROUTE, json=body, headers=headers_of(server), timeout=60)
        return metadata_json(server, metadata_of(reply)["log_dir"])

    same = logged(code)
    assert (same["udf_id"], same["revision"]) == (record["id"], record["revision"])
    changed = logged(code + "  # changed since")
    assert (changed["udf_id"], changed["revision"]) == (None, None)


def test_the_run_of_a_share_token_says_which(server: Server) -> None:
    inner = save(server, "shared_inner", "@fused.udf\ndef udf(): return 1")
    outer = save(server, "shared_outer", "import fused\n@fused.udf\ndef udf(): return fused.run('shared_inner')")
    made = requests.post(
        server.api + "/udf-access-token/new", json={"udf_id": outer["id"]}, headers=headers_of(server), timeout=120
    ).json()
    reply = requests.get(f"{server.api}/realtime-shared/{made['token']}/run/file.json", timeout=60)
    assert reply.json() == 1, reply.text
    kept = metadata_json(server, metadata_of(reply)["log_dir"])
    assert kept["udf_id"] == outer["id"] and kept["share_token_id"] == made["id"]
    day = folder_of(server, metadata_of(reply)["log_dir"]).parents[2]
    deadline = time.monotonic() + 60
    while True:
        every = [json.loads(file.read_text()) for file in day.glob("*/*/*/metadata.json")]
        nested = [one for one in every if one["udf_name"] == "shared_inner"]
        if nested:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [one["share_token_id"] for one in nested] == [made["id"]]
    assert nested[0]["udf_id"] == inner["id"], "a run by name is logged with its id"
    assert made["token"] not in json.dumps(every)
