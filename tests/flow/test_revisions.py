"""Revisions and replay through a real server: SDK, command and plain HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import fused
from fused.errors import NotFoundError, RevisionError
from tests.conftest import PYTHON, ROOT, Server


@pytest.fixture(autouse=True)
def known(server: Server) -> Iterator[None]:
    fused.options.base_url, fused.options.auth_token = server.base_url, server.token
    yield
    fused.options.base_url = fused.options.auth_token = None


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fused", *arguments],
        env={**server.environment(), "PYTHONPATH": str(PYTHON)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def saved(body: str, name: str | None = None, message: str | None = None) -> Any:
    udf = fused.load(f"@fused.udf\ndef udf(n: int = 1):\n    {body}\n")
    return udf.to_fused(slug=name or f"r_{uuid.uuid4().hex[:8]}", overwrite=True, message=message)


def http(server: Server, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token}", **headers}
    return requests.request(method, server.base_url + path, json=body, headers=headers, timeout=60)


def test_every_save_is_a_revision_that_is_listed_loaded_run_and_lies_where_the_seed_has_it(server: Server) -> None:
    first = saved("return n + 1", message="first, größer")
    second = saved("return n + 2", first.name)
    assert second.revision and second.revision != first.revision
    history = second.history()
    assert [each.number for each in history] == [2, 1]
    assert [each.message for each in history] == ["", "first, größer"]
    assert [each.is_current for each in history] == [True, False]
    assert history[0].saved_by == "owner@localhost" and history[0].code_hash != history[1].code_hash
    assert len(second.history(1)) == 1
    for revision in (1, "1", history[1].id, history[1].id[:9], history[1].id.upper()):
        loaded = fused.load(first.name, revision=revision)
        assert "n + 1" in loaded.code and loaded.revision == history[1].id and loaded.id == second.id
        assert fused.run(loaded, n=5) == 6
    assert fused.run(first.name, n=5) == 7
    [file] = (server.data / "s3/fused-users/default/fused-system/history" / second.id).glob(f"*/{history[1].id}/*.json")
    assert "n + 1" in json.loads(file.read_text())["code"]
    with pytest.raises(NotFoundError, match="1 to 2"):
        fused.load(first.name, revision=3)
    with pytest.raises(ValueError, match="no saved function"):
        fused.load("@fused.udf\ndef udf():\n    return 1\n", revision=1)


def test_one_revision_has_addresses_of_its_own(server: Server) -> None:
    first = saved("return {'n': n, 'revision': 1}")
    saved("return {'n': n, 'revision': 2}", first.name)
    base = f"/api/v1/functions/{first.id}/revisions"
    for number in ("1", first.revision):
        for path in ("/run?n=3", "/run/file.json?n=3", "/run/run?n=3"):
            reply = http(server, "GET", f"{base}/{number}{path}")
            assert reply.status_code == 200 and reply.json() == {"n": 3, "revision": 1}, (path, reply.text)
    assert http(server, "POST", f"{base}/1/run", {"n": 4}).json() == {"n": 4, "revision": 1}
    reply = http(server, "GET", f"{base}/2/run?n=3")
    assert reply.json()["revision"] == 2 and json.loads(reply.headers["x-fused-metadata"])["has_exception"] is False
    for path in ("/3/run", "/nonsense/run", "/1/run/nonsense", "/1/run/tiles/1/9/0"):
        assert http(server, "GET", base + path).status_code in (400, 404, 422), path
    assert requests.get(f"{server.base_url}{base}/1/run", timeout=120).status_code == 401


def test_going_back_makes_a_new_revision_and_loses_none(server: Server) -> None:
    udf = saved("return 'one'")
    name = udf.name
    saved("return 'two'", name)
    assert udf.revert(1) is udf
    assert "one" in udf.code and fused.run(name) == "one"
    history = udf.history()
    assert [each.number for each in history] == [3, 2, 1]
    assert history[0].id == udf.revision and "revision 1" in history[0].message
    assert history[0].code_hash == history[2].code_hash
    udf.revert(history[1], message="no, two")
    assert fused.run(name) == "two" and udf.history(1)[0].message == "no, two"
    with pytest.raises(ValueError, match="another function"):
        saved("return 3").revert(history[1])


def test_a_save_over_an_old_revision_is_refused_where_asked_and_both_are_kept_where_not(server: Server) -> None:
    mine = saved("return 'mine'")
    theirs = fused.load(mine.name)
    theirs.code = theirs.code.replace("mine", "theirs")
    theirs.to_fused(if_revision=theirs.revision)
    mine.code = mine.code.replace("mine", "mine again")
    with pytest.raises(RevisionError, match="saved meanwhile") as refused:
        mine.to_fused(if_revision=mine.revision)
    assert refused.value.detail == theirs.revision and refused.value.status == 412
    assert fused.run(mine.name) == "theirs"
    mine.to_fused()
    assert fused.run(mine.name) == "mine again"
    assert [each.number for each in mine.history()] == [3, 2, 1]
    with pytest.raises(RevisionError):
        mine.revert(1, if_revision=theirs.revision)

    body = {"slug": mine.name, "udf_body": json.dumps(mine.to_json())}
    path = f"/server/v1/udf/by-id/{mine.id}"
    for tag in ('"none"', f'W/"{mine.revision}"', '""'):
        reply = http(server, "POST", path, body, **{"If-Match": tag})
        assert reply.status_code == 412 and reply.json()["detail"] == mine.revision, tag
        assert reply.headers["etag"] == f'"{mine.revision}"'
    current = mine.revision
    for tag in ("*", '"none", "{}"', "{}", '"{}-gzip"'):
        reply = http(server, "POST", path, body, **{"If-Match": tag.format(current)})
        assert reply.status_code == 200, (tag, reply.text)
        current = reply.json()["revision"]


def test_the_command_lists_compares_and_goes_back(server: Server, tmp_path: Path) -> None:
    name = saved("return 'one'", message="begin").name
    saved("return 'two'", name)
    listed = command(server, "udf", "history", name)
    assert listed.returncode == 0 and "begin" in listed.stdout and "2*" in listed.stdout, listed
    assert [each["number"] for each in json.loads(command(server, "udf", "history", name, "--json").stdout)] == [2, 1]
    for arguments in ((), ("1",), ("1", "2")):
        found = command(server, "udf", "diff", name, *arguments)
        assert found.returncode == 1 and "-    return 'one'" in found.stdout and "+    return 'two'" in found.stdout
        assert "\033" not in found.stdout, "colours are for terminals"
    assert command(server, "udf", "diff", name, "2", "2").returncode == 0
    file = tmp_path / "three.py"
    file.write_text("@fused.udf\ndef udf(n: int = 1):\n    return 'three'\n")
    assert "+    return 'three'" in command(server, "udf", "diff", name, "--file", str(file)).stdout
    back = command(server, "udf", "revert", name, "1", "-m", "back")
    assert back.returncode == 0 and "revision 3" in back.stdout, back
    assert fused.run(name) == "one"
    wrong = command(server, "udf", "revert", name, "9")
    assert wrong.returncode == 1 and "1 to 3" in wrong.stderr


def wait_for_log(server: Server, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for file in (server.data / "mount/fused-system/logs").glob(f"*/*/*/{run_id}/metadata.json"):
            return dict(json.loads(file.read_text()))
        time.sleep(0.02)
    raise AssertionError(f"no log of {run_id}")


def run_of(server: Server, name: str, query: str = "", leaf: str = "") -> str:
    reply = http(server, "GET", f"/api/v1/run/{name}{leaf}?{query}")
    run_id = reply.headers["x-fused-run-id"]
    wait_for_log(server, run_id)
    return run_id


def test_a_logged_run_is_repeated_and_says_what_is_no_longer_the_same(server: Server) -> None:
    udf = saved("return {'n': n}")
    run_id = run_of(server, udf.name, "n=3")
    log = wait_for_log(server, run_id)
    assert len(log["result_sha256"]) == 64 and len(log["environment"]) == 64 and log["tile"] is None
    found = fused.replay(run_id)
    assert found.is_same is True and found.changed == [] and found.result.data == {"n": 3}, found
    assert found.result.request_id != run_id and found.new_log["result_sha256"] == log["result_sha256"]

    saved("return {'n': -n}", udf.name)
    again = fused.replay(run_id[:13])
    assert again.is_same is True and again.result.data == {"n": 3}, "the code of then"
    assert any(line.startswith("function:") and "revision" in line for line in again.changed)
    udf.delete_saved()
    assert any("not saved any more" in line for line in fused.replay(run_id).changed)

    with pytest.raises(NotFoundError):
        fused.replay(str(uuid.uuid4()))
    for wrong in ("", "../x", "*"):
        with pytest.raises(ValueError, match="no request id"):
            fused.replay(wrong)


def test_a_replay_tells_another_result_a_failure_and_a_changed_file(server: Server) -> None:
    random = saved("import random; return random.random()")
    other = fused.replay(run_of(server, random.name))
    assert other.is_same is False and "another result" in other.difference()

    failing = saved("raise KeyError(n)")
    failed = fused.replay(run_of(server, failing.name, "n=3"))
    assert failed.is_same is True and failed.difference() == "the same failure"
    assert failed.new_log["error_class"] == "KeyError"

    file = server.data / "mount" / f"{uuid.uuid4().hex}.py"
    file.write_text("@fused.udf\ndef udf():\n    return 1\nVALUE = 1\n")
    reads = saved(f"return fused.load(fused.file_path({file.name!r})).VALUE")
    run_id = run_of(server, reads.name)
    assert [each["size"] for each in wait_for_log(server, run_id)["files"]] == [file.stat().st_size]
    assert fused.replay(run_id).changed == []
    file.write_text("@fused.udf\ndef udf():\n    return 1\nVALUE = 1000\n")
    changed = fused.replay(run_id)
    assert changed.is_same is False and any(file.name in line for line in changed.changed)
    os.unlink(file)
    gone = fused.replay(run_id)
    assert gone.is_same is False and "'ok' then" in gone.difference()


def test_tiles_and_formats_are_repeated_as_they_were(server: Server) -> None:
    udf = fused.load(
        "@fused.udf\ndef udf(bounds: fused.types.Bounds = None, k: str = ''):\n"
        "    import pandas as pd\n    return pd.DataFrame({'west': [bounds[0]], 'k': [k]})\n"
    ).to_fused(slug=f"r_{uuid.uuid4().hex[:8]}")
    reply = http(server, "GET", f"/api/v1/run/{udf.name}/tiles/3/4/2.parquet?k=a%20b")
    assert reply.status_code == 200, reply.text
    run_id = reply.headers["x-fused-run-id"]
    log = wait_for_log(server, run_id)
    assert log["tile"] == "3/4/2" and log["format"] == "parquet"
    found = fused.replay(run_id)
    assert found.is_same is True, found
    assert found.result.original_content == reply.content


def test_the_command_repeats_and_compares(server: Server) -> None:
    udf = saved("import pandas as pd; return pd.DataFrame({'k': ['a', 'b'], 'v': [1, n]})")
    one, two, three = (run_of(server, udf.name, f"n={n}", ".parquet") for n in (2, 3, 2))
    told = command(server, "replay", one)
    assert told.returncode == 0 and "the same" in told.stdout and "n='2'" in told.stdout, told
    differ = command(server, "replay", "--diff", one, two)
    assert differ.returncode == 1 and "row 1: v: 2 → 3" in differ.stdout, differ
    assert "1 cells differ in 2 rows" in differ.stdout
    equal = command(server, "replay", "--diff", one, three)
    assert equal.returncode == 0 and "same" in equal.stdout, equal
    assert "parameter n: '2' in A, '3' in B" in differ.stdout and "parameter" not in equal.stdout
    assert command(server, "replay").returncode == 1


def test_a_replay_and_a_comparison_tell_that_a_called_function_is_at_another_revision(server: Server) -> None:
    child = saved("return n + 1")
    for how in (f"fused.run({child.name!r}, n=n)", f"fused.load({child.name!r})(n)"):
        parent = saved(f"import fused; return {{'got': {how}}}")
        run_id = run_of(server, parent.name, "n=3")
        log = wait_for_log(server, run_id)
        assert log["functions"] == [{"id": child.id, "revision": child.revision}]
        assert fused.replay(run_id).changed == []
        before = child.revision
        child = saved("return n + 2", child.name)
        found = fused.replay(run_id)
        assert found.is_same is False
        (line,) = found.changed
        assert line == f"called function: {child.name!r} is at revision {child.revision} now, it was at {before}"
        differ = command(server, "replay", "--diff", run_id, run_of(server, parent.name, "n=3"))
        assert f"called function {child.name!r}: {before} in A, {child.revision} in B" in differ.stdout, differ
        child = saved("return n + 1", child.name)
