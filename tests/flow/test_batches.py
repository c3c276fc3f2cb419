"""Many calls as one batch on the real server: what each call left, in order, whatever the others do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fused
from fused import _transport
from fused._submit import batch
from fused._submit.batch import BatchRun
from fused.errors import TransportError, UdfRuntimeError, UdfTimeoutError
from tests.conftest import Server, need_server, start_server, stop_server

WALL_SECONDS = 2


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_server()
    wall = str(WALL_SECONDS * 1_000)
    running = start_server(tmp_path_factory.mktemp("batches") / "data", "--limit-wall-ms", wall)
    before = {name: os.environ.get(name) for name in ("FUSED_BASE_URL", "FUSED_AUTH_TOKEN")}
    os.environ |= {"FUSED_BASE_URL": running.base_url, "FUSED_AUTH_TOKEN": running.token}
    yield running
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value
    stop_server(running)


pytestmark = pytest.mark.usefixtures("here")


@fused.udf
def act(n: int = 0, what: str = ""):
    import os
    import time

    if what == "print":
        print(f"call {n}")
        os.system(f"echo child {n} >&2")
    if what == "raise":
        raise KeyError(f"no {n}")
    if what == "exit":
        print("last words", flush=True)
        os._exit(3)
    if what == "crash":
        os.abort()
    if what == "hang":
        print("hanging", flush=True)
        time.sleep(60)
    if what == "sleep":
        time.sleep(0.3)
    return n * 2


def folder_of(here: Server, pool: Any) -> Path:
    """The log folder of the pool's batch, when it is there."""
    batch = pool._engine._path.rpartition("/")[2]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [path for path in (here.data / "mount/fused-system/logs").glob(f"*/*/*/{batch}*") if path.is_dir()]
        if found:
            assert len(found) == 1, found
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"there is no log folder of batch {batch}:\n" + "".join(here.lines[-20:]))


def test_a_thousand_calls_come_back_each_with_its_own_result() -> None:
    pool = fused.submit(act, [{"n": n} for n in range(1_000)])
    assert pool.results() == [2 * n for n in range(1_000)]
    assert isinstance(pool._engine, BatchRun)
    assert pool.status().to_dict() == {"success": 1_000}
    assert all(pool[index].attempts() == 1 for index in (0, 500, 999))
    assert all(seconds is not None for seconds in pool.times())


def test_values_arrays_and_frames_go_as_columns_and_calls_that_lack_something_as_rows() -> None:
    assert fused.submit(act, np.arange(5)).results() == [0, 2, 4, 6, 8]
    frame = pd.DataFrame({"n": [1, 2], "what": ["", 'ü\u2028"\\']})
    assert fused.submit(act, frame).results() == [2, 4]
    assert fused.submit(act, [{"n": 1}, {}, {"n": 3, "what": "x"}]).results() == [2, 0, 6]
    assert fused.submit(act, [{}, {}], n=4).results() == [8, 8]


def test_output_and_error_are_those_of_their_call(here: Server) -> None:
    items = [{"n": n, "what": {3: "print", 5: "raise"}.get(n, "")} for n in range(50)]
    pool = fused.submit(act, items)
    pool.wait()
    assert pool.status().to_dict() == {"success": 49, "error": 1}
    assert [index for index, log in enumerate(pool.logs()) if log] == [3]
    assert pool[3].logs() == "call 3\nchild 3\n"
    error = pool[5].exception()
    assert isinstance(error, UdfRuntimeError) and error.exception_class == "KeyError" and "no 5" in str(error)
    assert error.lineno == 10
    folder = folder_of(here, pool)
    assert sorted(path.name for path in folder.iterdir()) == [
        "calls.parquet", "metadata.json", "stderr.log", "stdout.log", "udf.json",
    ]  # fmt: skip
    told = json.loads((folder / "metadata.json").read_text())
    assert told["batch"] == {"calls": 50, "success": 49, "error": 1, "timeout": 0, "cancelled": 0, "from_cache": 0}
    assert told["outcome"] == "user_error" and "[call 3]\ncall 3\n" in (folder / "stdout.log").read_text()
    calls = pd.read_parquet(folder / "calls.parquet")
    assert calls["index"].tolist() == list(range(50)) and calls["arguments_sha256"].is_unique
    assert calls["status"].value_counts().to_dict() == {"success": 49, "error": 1}
    assert calls["stdout"][3] == "call 3\n" and calls["stderr"][3] == "child 3\n"
    assert json.loads(calls["error"][5])["class"] == "KeyError" and calls["error"].notna().sum() == 1
    assert (calls["attempts"] == 1).all() and (calls["seconds"] >= 0).all() and calls["started"].notna().all()


def test_a_call_that_ends_its_process_is_alone_in_that() -> None:
    items = [{"n": n, "what": {7: "exit", 11: "crash", 13: "hang"}.get(n, "")} for n in range(40)]
    pool = fused.submit(act, items, max_retry=0)
    pool.wait()
    assert pool.status().to_dict() == {"success": 37, "error": 2, "timeout": 1}
    assert [pool[n].result() for n in (0, 6, 8, 10, 12, 14, 39)] == [0, 12, 16, 20, 24, 28, 78]
    assert "exit code 3" in str(pool[7].exception()) and pool[7].logs() == "last words\n"
    assert "signal 6" in str(pool[11].exception())
    error = pool[13].exception()
    assert isinstance(error, UdfTimeoutError) and f"limit of {WALL_SECONDS}" in str(error)
    assert pool[13].logs() == "hanging\n"


def test_by_default_only_what_the_function_is_not_to_blame_for_is_tried_again() -> None:
    pool = fused.submit(act, [{"n": 1, "what": "raise"}, {"n": 2, "what": "exit"}, {"n": 3}])
    pool.wait()
    assert [pool[index].attempts() for index in range(3)] == [1, 3, 1]
    given = fused.submit(act, [{"n": 1, "what": "raise"}], max_retry=1)
    given.wait()
    assert given[0].attempts() == 2


def test_the_wall_limit_is_a_calls_and_not_a_groups() -> None:
    pool = fused.submit(act, [{"n": n, "what": "sleep"} for n in range(20)], max_workers=2)
    pool.wait()
    assert pool.all_succeeded(), pool.first_error()


def test_cancel_ends_what_runs_and_what_waits() -> None:
    pool = fused.submit(act, [{"n": n, "what": "sleep"} for n in range(200)])
    began = time.monotonic()
    while not pool.running() and time.monotonic() < began + 60:
        time.sleep(0.01)
    pool.cancel(wait=True)
    assert time.monotonic() - began < 120
    assert pool.done() and len(pool.cancelled()) > 150
    assert not pool.any_failed()


def test_one_call_can_be_cancelled_alone() -> None:
    pool = fused.submit(act, [{"n": 0, "what": "hang"}, *({"n": n, "what": "sleep"} for n in range(1, 8))])
    began = time.monotonic()
    while 0 not in pool.running() and time.monotonic() < began + 60:
        time.sleep(0.01)
    pool[0].cancel()
    pool[7].cancel()
    pool.wait()
    assert pool.status().to_dict() == {"success": 6, "cancelled": 2}
    assert sorted(pool.cancelled()) == [0, 7]


@pytest.mark.parametrize("calls", [None, [0]])
def test_a_cancel_that_is_lost_is_told_again(calls: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = []
    request = _transport.request

    def losing(method: str, path: str, *more: Any, **given: Any) -> Any:
        if path.endswith("/cancel") and len(lost) < 3:
            lost.append(path)
            raise TransportError("the connection was lost")
        return request(method, path, *more, **given)

    monkeypatch.setattr(_transport, "request", losing)
    monkeypatch.setattr(batch, "WAIT_SECONDS", 0.05)
    pool = fused.submit(act, [{"n": 0, "what": "hang"}], max_retry=0)
    with pool.table.changed:
        while pool[0].status() != "running":
            pool.table.changed.wait(0.01)
    pool.cancel_calls(calls)
    pool.wait()
    assert len(lost) == 3
    assert pool[0].status() == "cancelled"  # and no timeout: nobody waited for its end


def test_a_call_that_was_cancelled_too_late_is_tried_again() -> None:
    pool = fused.submit(
        act, [{"n": 0, "what": "raise"}, {"n": 1, "what": "sleep"}, {"n": 2, "what": "sleep"}], max_workers=1
    )
    with pool.table.changed:
        assert pool.table.changed.wait_for(lambda: pool[0].done(), 10)
    pool[0].cancel()
    assert pool[0].status() == "error"
    pool.retry()
    pool.wait()
    assert pool[0].status() == "error" and pool[0].attempts() == 2


def test_retry_runs_only_the_failed() -> None:
    pool = fused.submit(act, [{"n": n, "what": "raise" if n % 10 == 0 else ""} for n in range(100)])
    pool.wait()
    before = pool[1].attempts()
    pool.retry()
    pool.wait()
    assert pool[0].attempts() == 2 and pool[1].attempts() == before == 1
    assert pool.status().to_dict() == {"success": 90, "error": 10}


def test_code_that_cannot_be_loaded_is_the_failure_of_each_call() -> None:
    broken = fused.load("import no_such_module_anywhere\n@fused.udf\ndef udf(n: int = 1):\n    return n\n")
    pool = fused.submit(broken, [{"n": n} for n in range(30)])
    pool.wait()
    assert pool.status().to_dict() == {"error": 30}
    assert "no_such_module_anywhere" in str(pool[29].exception())
    fatal = fused.load("import os\nos.abort()\n@fused.udf\ndef udf(n: int = 1):\n    return n\n")
    pool = fused.submit(fatal, [{"n": n} for n in range(30)], max_retry=0)
    pool.wait()
    assert pool.status().to_dict() == {"error": 30} and "signal 6" in str(pool[0].exception())


def test_large_arguments_and_results_arrive_whole() -> None:
    @fused.udf
    def turn(text: str = ""):
        return text[::-1]

    texts = ["a" * n + "b" for n in (0, 70_000, 300_000, 5_000_000, 10, 12_000_000)]
    assert fused.submit(turn, texts).results() == [text[::-1] for text in texts]


def test_an_argument_that_cannot_travel_is_the_failure_of_its_call() -> None:
    pool = fused.submit(act, [{"n": 1}, {"n": object()}, {"n": 3}])
    pool.wait()
    assert pool[0].result() == 2 and pool[2].result() == 6
    assert isinstance(pool[1].exception(), TypeError)


def test_long_calls_do_not_wait_behind_each_other() -> None:
    """Groups grow while calls are short; what stands behind a long one is taken back for a free worker."""
    items = [{"n": n, "what": "sleep" if n >= 2_000 else ""} for n in range(2_008)]
    pool = fused.submit(act, items)
    pool.wait()
    assert pool.all_succeeded()
    began = pool.table.started[2_000:]
    workers_at_once = max(int(((began <= each) & (began + 0.3 > each)).sum()) for each in began)
    assert workers_at_once == 2
