"""Limits that a function asks for itself: ``@fused.udf(limits=...)``, however it comes to be run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import headers_of, metadata_of, poll, run, start

LOOP = "import time\n@fused.udf(limits={'wall_seconds': 0.4})\ndef udf():\n    time.sleep(60)\n    return 1\n"


def limited(limits: str, body: str, head: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{head}\n@fused.udf(limits={limits})\ndef udf():\n{lines}\n"


def save(server: Server, name: str, code: str) -> None:
    body = {"slug": name, "udf_body": json.dumps({"name": name, "code": code}), "udf_type": "auto"}
    assert requests.post(f"{server.api}/udf/new", json=body, headers=headers_of(server)).status_code == 200


def check_timeout(reply: requests.Response) -> None:
    assert reply.status_code == 504, reply.text
    assert "limit of 0.4" in reply.text
    assert metadata_of(reply)["error_type"] == "timeout_error"


def test_the_wall_limit_holds_however_the_function_is_run(server: Server) -> None:
    check_timeout(run(server, LOOP))
    save(server, "own_wall_limit", LOOP)
    check_timeout(requests.get(f"{server.base_url}/api/v1/run/own_wall_limit", headers=headers_of(server), timeout=60))
    run_id, reply = start(server, LOOP)
    while reply.status_code == 202:
        reply = poll(server, run_id)
    assert reply.status_code == 422
    assert metadata_of(reply)["outcome"] == "timeout"
    assert run(server, "@fused.udf\ndef udf():\n    import time\n    time.sleep(0.6)\n    return 1").text == "1", (
        "the limit is of the function, not of the worker"
    )


def test_a_file_of_a_served_folder_may_limit_itself(tmp_path: Path) -> None:
    need_server()
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "sleepy.py").write_text("import fused\n" + LOOP)
    server = start_server(tmp_path / "data", str(folder), "--watch")
    try:
        address = f"{server.base_url}/api/v1/run/sleepy"
        check_timeout(requests.get(address, headers=headers_of(server), timeout=60))
        (folder / "sleepy.py").write_text("import fused\n" + LOOP.replace("0.4", "5").replace("60", "1"))
        deadline = time.monotonic() + 120
        while requests.get(address, headers=headers_of(server), timeout=60).text != "1":
            assert time.monotonic() < deadline
    finally:
        stop_server(server)


@pytest.mark.parametrize(
    ("limits", "body", "outcome", "says"),
    [
        ("{'memory_bytes': 60_000_000}", "x = bytearray(200_000_000)\nx[::4096] = b'x' * len(x[::4096])\n"
         "import time\ntime.sleep(30)", "out_of_memory", "60000000"),
        ("{'result_bytes': 1000}", "return 'x' * 5000", "result_too_large", "1000"),
        ("{'processes': 3}", "import threading, time\n"
         "[threading.Thread(target=time.sleep, args=(30,), daemon=True).start() for _ in range(8)]\ntime.sleep(30)",
         "limit_exceeded", "over the limit of 3"),
        ("{'files_made': 5}", "import tempfile, time, pathlib\nd = tempfile.mkdtemp()\n"
         "[pathlib.Path(d, str(i)).write_text('x') for i in range(50)]\ntime.sleep(30)", "limit_exceeded",
         "over the limit of 5"),
        ("{'disk_written_bytes': 1_000_000}", "import tempfile, time, pathlib\n"
         "pathlib.Path(tempfile.mkdtemp(), 'x').write_bytes(b'x' * 5_000_000)\ntime.sleep(30)", "limit_exceeded",
         "over the limit of 1000000"),
        ("{'descriptors': 40}", "return len([open('/dev/null') for _ in range(100)])", "user_error",
         "Too many open files"),
    ],
)  # fmt: skip
def test_each_limit_ends_a_run_that_goes_beyond_it(
    server: Server, limits: str, body: str, outcome: str, says: str
) -> None:
    reply = run(server, limited(limits, body))
    told = metadata_of(reply)
    assert told["outcome"] == outcome, reply.text
    assert says in reply.text + str(told["errormsg"])
    assert run(server, "@fused.udf\ndef udf():\n    return len([open('/dev/null') for _ in range(100)])").text == "100"


def test_output_beyond_the_limit_is_cut(server: Server) -> None:
    reply = run(server, limited("{'stream_bytes': 100}", "print('a' * 500)\nreturn 1"))
    assert reply.text == "1"
    assert "401 bytes cut: 100 are kept" in metadata_of(reply)["stdout"]


def test_more_than_the_server_gives_is_lowered_and_said(server: Server) -> None:
    reply = run(server, limited("{'wall_seconds': 100000, 'files_made': 7}", "return 1"))
    assert reply.text == "1"
    note = metadata_of(reply)["note"]
    assert "wall_seconds of 100000 is above this server's, which holds: 120" in note
    assert "files_made" not in note
    assert metadata_of(run(server, limited("{'files_made': 7}", "return 1")))["note"] is None


@pytest.mark.parametrize(
    ("limits", "says"),
    [("{'seconds': 1}", "wall_seconds, memory_bytes"), ("{'memory_bytes': -1}", "above 0"),
     ("{'files_made': 1.5}", "a whole number"), ("{'wall_seconds': True}", "a number of seconds"),
     ("{'wall_seconds': float('nan')}", "a number of seconds"), ("[1]", "a dictionary")],
)  # fmt: skip
def test_a_wrong_limit_is_named_with_those_there_are(server: Server, limits: str, says: str) -> None:
    reply = run(server, limited(limits, "return 1"))
    assert reply.status_code == 422
    assert says in reply.text


def test_the_sdk_keeps_them(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import fused

    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)

    @fused.udf(limits={"wall_seconds": 30, "memory_bytes": 2**30})
    def sdk_limits(n: int = 1) -> Any:
        return n

    assert sdk_limits.limits == {"wall_seconds": 30, "memory_bytes": 2**30}
    assert fused.run(sdk_limits, n=4) == 4
    sdk_limits.to_fused(overwrite=True)
    assert fused.load("sdk_limits").limits == {"wall_seconds": 30, "memory_bytes": 2**30}
    for wrong, says in (({"walls": 1}, "wall_seconds, memory_bytes"), ({"processes": 0}, "above 0")):
        with pytest.raises(ValueError, match=says):
            fused.udf(limits=wrong)
