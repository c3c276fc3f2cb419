"""``fused cache --data``: what a server keeps, listed and checked from outside, while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from fused._cli import main
from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of

CODE = """
import fused

@fused.cache
def inner(x):
    return {"x": x}

@fused.udf
def large(n: int = 100_000):
    inner(n)
    return {"text": "x" * n}
"""


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_server()
    running = start_server(tmp_path_factory.mktemp("keeping") / "data", "--cache-max-age", "90d", workers=2)
    yield running
    stop_server(running)


def ask(server: Server, n: int) -> requests.Response:
    reply = requests.post(
        f"{server.api}{ROUTE}", json=body_of(CODE, {"n": n}, name="large"), headers=headers_of(server), timeout=60
    )
    assert reply.status_code == 200 and reply.json() == {"text": "x" * n}
    return reply


def large_files(server: Server, count: int) -> list[Path]:
    """They are written behind the reply."""
    deadline = time.monotonic() + 120
    while len(found := sorted((server.data / "cache" / "large").glob("*/*"))) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


@pytest.fixture
def command(keeping: Server, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(action: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["cache", action, *arguments, "--data", str(keeping.data)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_large_results_of_a_server_are_listed_checked_and_left_to_it(
    keeping: Server, command: Callable[..., tuple[int, str, str]]
) -> None:
    for n in (100_000, 300_000):
        ask(keeping, n)
    files = large_files(keeping, 2)
    rows = json.loads(command("ls", "--json")[1])
    results = {row["name"]: row for row in rows if row["folder"] == "(results)"}
    assert set(results) == {path.name for path in files}
    assert {row["kind"] for row in results.values()} == {"json"}
    assert sorted(row["bytes"] // 100_000 for row in results.values()) == [1, 3]
    assert all(row["content_type"] == "application/json" and len(row["run_id"]) == 36 for row in results.values())
    assert all(row["max_age_s"] == 90 * 86400 and not row["expired"] for row in results.values())
    assert len([row for row in rows if row["folder"] != "(results)"]) == 2, "what the function itself keeps"
    assert "(results)" in command("info")[1]
    assert f"name: {files[0].name}" in command("show", files[0].name[:9])[1]
    code, _, error = command("rm", files[0].name)
    assert code == 1 and "fused cache invalidate" in error and files[0].exists()
    assert command("verify")[:2] == (
        0, "2 good, 0 of others or with a damaged header, 0 damaged, 2 large results of the server good\n"
    )  # fmt: skip


def test_a_damaged_large_result_is_found_from_outside_and_computed_again(
    keeping: Server, command: Callable[..., tuple[int, str, str]]
) -> None:
    ask(keeping, 500_000)
    large_files(keeping, 1)
    (path,) = (path for path in large_files(keeping, 1) if path.stat().st_size > 490_000)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    code, text, _ = command("verify")
    assert code == 1 and "1 damaged" in text and str(path) in text
    assert command("verify", "--remove")[0] == 0 and not path.exists()
    ask(keeping, 500_000)
