"""What one may choose about the result cache: forgetting, errors, many files; and what it tells of itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.flow.cached import counting, get, save, serve, state, times
from tests.flow.calls import metadata_of, run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serve(tmp_path_factory)


def test_sdk_and_command_forget_a_function_and_a_tile(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import fused

    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)
    save(server, "told", counting("told", "return z * 100 + x * 10 + y", "z: int, x: int, y: int"))
    udf = fused.load("told")

    def ask() -> list[str]:
        return [state(get(server, f"/api/v1/run/owner@localhost/told/tiles/1/{x}/1.json"))[0] for x in (0, 1)]

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fused", "cache", "invalidate", *arguments], env=server.environment(),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    one, all_of_it = ["miss", "hit"], ["miss", "miss"]
    assert ask() == all_of_it
    for forget, left in (
        (lambda: udf.invalidate_cache(1, 0, 1), one),
        (lambda: udf.invalidate_cache(x=0, y=1, z=1), one),
        (lambda: udf.invalidate_cache(), all_of_it),
        (lambda: fused.api.invalidate_cache("told"), all_of_it),
        (lambda: fused.api.invalidate_cache(udf.id), all_of_it),
        (lambda: fused.api.invalidate_cache("owner@localhost/told", z=1, x=0, y=1), one),
        (lambda: command("told"), all_of_it),
        (lambda: command("told", "--tile", "1/0/1"), one),
    ):
        assert ask() == ["hit", "hit"]
        forget()
        assert ask() == left
    for wrong in ({"z": 1}, {"z": 1, "x": 0}, {"x": 0, "y": 1}):
        with pytest.raises(ValueError, match="z, x and y together"):
            udf.invalidate_cache(**wrong)
    with pytest.raises(fused.errors.ServerError) as refused:
        udf.invalidate_cache(1, 0, 9)
    assert refused.value.status == 422
    assert command("told", "--tile", "1/0").returncode == 1 and ask() == ["hit", "hit"]
    assert fused.run("told", z=1, x=0, y=1, _format="json", cache_reset=True) == 101
    with pytest.raises(ValueError, match="cache_reset"):
        fused.run("told", z=1, x=0, y=1, cache=False, cache_reset=True)


def test_a_function_may_have_its_errors_kept_for_a_short_time(server: Server) -> None:
    body = "with open('/mount/{0}', 'a') as f: f.write('x')\n    raise LookupError('no town ' + str(n))"
    code = "import fused\n@fused.udf(cache_errors='2s')\ndef udf(n: int = 1):\n    " + body.format("failed")
    first, second = run(server, code, {"n": 3}), run(server, code, {"n": 3})
    assert first.status_code == second.status_code == 422 and times(server, "failed") == 1
    assert state(first)[0] == "miss" and state(second) == ("hit", "")
    for key in ("error_type", "message", "detail"):
        assert first.json()[key] == second.json()[key]
    assert metadata_of(first) == metadata_of(second) and metadata_of(second)["exception_class"] == "LookupError"
    assert run(server, code, {"n": 4}).json()["message"] == "LookupError: no town 4"
    deadline = time.monotonic() + 120
    while state(last := run(server, code, {"n": 3}))[0] == "hit":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert state(last) == ("miss", "it failed the last time") and times(server, "failed") == 3
    # Not where the function does not say so, and not what the machine did.
    assert [state(run(server, code.replace("cache_errors='2s'", "")))[0] for _ in range(2)] == ["miss", "miss"]
    killed = "import fused\n@fused.udf(cache_errors='1m')\ndef udf():\n    import os\n    os.kill(os.getpid(), 9)\n"
    assert [state(run(server, killed))[0] for _ in range(2)] == ["miss", "miss"]


def test_hundreds_of_files_are_remembered_and_too_many_are_said(server: Server) -> None:
    folder = server.data / "mount" / "many"
    folder.mkdir()
    for i in range(1000):
        (folder / str(i)).write_text("1")
    code = (
        "def udf(n: int):\n    from fused._worker import uses\n    total = 0\n    for i in range(n):\n"
        "        uses.file(f'/mount/many/{i}')\n        total += i < 1000\n    return total\n"
    )
    assert run(server, code, {"n": 1000}).json() == 1000
    assert state(run(server, code, {"n": 1000})) == ("hit", "")
    (folder / "777").write_text("changed")
    assert state(run(server, code, {"n": 1000})) == ("miss", "file '/mount/many/777'")
    for _ in range(2):
        where, why = state(run(server, code, {"n": 5000}))
        assert where == "miss" and why.endswith("; not stored: it read more than 4096 files")


def test_figures_of_the_cache_stand_in_health_and_metrics(server: Server) -> None:
    def health() -> dict[str, Any]:
        return dict(get(server, "/health").json()["cache"])

    before = health()
    code = counting("figures", "return 'x' * n")
    for n in (1, 1, 1, 70_000):
        run(server, code, {"n": n})
    deadline = time.monotonic() + 120
    while (after := health())["entries"] < before["entries"] + 2:
        assert time.monotonic() < deadline, after
        time.sleep(0.05)
    assert after["hits"] - before["hits"] == 2 and after["misses"] - before["misses"] == 2
    assert after["bytes"] > before["bytes"] + 70_000 and after["bytes"] < after["limit_bytes"]
    assert after["memory_entries"] > before["memory_entries"] and after["memory_bytes"] > 0
    assert after["stored"] >= before["stored"] + 2 and after["trouble"] == "" and after["damaged"] == 0
    text = get(server, "/metrics").text
    for line in (
        f'fused_cache_answers_total{{answer="hit"}} {after["hits"]}',
        f'fused_cache_answers_total{{answer="miss"}} {after["misses"]}',
        f'fused_cache_entries{{place="disk"}} {after["entries"]}',
        "fused_cache_evictions_total 0",
        "fused_cache_not_storing 0",
    ):
        assert f"\n{line}\n" in text, line
    assert "cache" not in requests.get(f"{server.base_url}/health", timeout=120).json(), "not for strangers"
