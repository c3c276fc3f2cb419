"""How runs begin, wait, join, end and call each other, through the real server."""

from __future__ import annotations

import concurrent.futures
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import ROUTE, body_of, headers_of, metadata_of, poll, run, start


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker, a wall limit of 3 s and a short queue, so that waiting and ending can be seen."""
    need_server()
    running = start_server(
        tmp_path_factory.mktemp("single") / "data", "--limit-wall-ms", "3000", "--queue-length", "60", workers=1
    )
    yield running
    stop_server(running)


COUNT = """
def udf(name: str, seconds: float = 0):
    import time
    with open('/mount/' + name, 'a') as f: f.write('x')
    time.sleep(seconds)
    return len(open('/mount/' + name).read())
"""


def test_a_value_comes_back_with_its_metadata(server: Server) -> None:
    reply = run(server, "def udf(n: int = 2):\n    print('hello')\n    return {'n': n}", {"n": 5})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {"n": 5}
    metadata = metadata_of(reply)
    assert metadata["stdout"] == "hello\n" and metadata["has_exception"] is False and metadata["outcome"] == "ok"
    assert metadata["execution_time_seconds"] > 0


def test_an_exception_is_a_422_with_the_users_line_and_class(server: Server) -> None:
    reply = run(server, "def helper(x):\n    return 1 / x\n\ndef udf():\n    return helper(0)\n")
    assert reply.status_code == 422
    error = reply.json()
    assert set(error) == {"error_type", "message", "detail", "request_id", "run_id"}
    assert error["error_type"] == "user_error" and "ZeroDivisionError" in error["message"]
    assert "return 1 / x" in error["detail"]
    metadata = metadata_of(reply)
    assert (
        metadata["exception_class"] == "ZeroDivisionError"
        and metadata["lineno"] == 2
        and metadata["error_type"] == "runtime_error"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def udf(:\n    pass", "line 1"),
        ("x = 1", "udf"),
        ("import fused\n@fused.udf\ndef a(): return 1\n@fused.udf\ndef b(): return 2", "a"),
        ("import not_there_at_all\ndef udf(): return 1", "not_there_at_all"),
    ],
)
def test_code_that_cannot_run_is_a_422_that_says_why(server: Server, code: str, said: str) -> None:
    reply = run(server, code)
    assert reply.status_code == 422, reply.text
    assert said in reply.text


def test_a_parameter_that_cannot_be_read_is_named_with_value_and_type(server: Server) -> None:
    reply = run(server, "def udf(n: int): return n", {"n": "seven"})
    assert reply.status_code == 422
    assert reply.json()["error_type"] == "invalid_parameter"
    assert all(part in reply.json()["message"] for part in ("n", "seven", "int"))


def test_an_impossible_format_is_a_406_that_lists_the_possible_ones(server: Server) -> None:
    reply = run(server, "import pandas as pd\ndef udf(): return pd.DataFrame({'a': [1]})", fmt="png")
    assert reply.status_code == 406
    assert "parquet" in reply.json()["possible_formats"] and "parquet" in reply.json()["message"]


def test_a_run_over_its_time_is_ended_and_says_where_it_was(single: Server) -> None:
    begin = time.monotonic()
    reply = run(
        single,
        "import time\ndef udf():\n    print('before')\n    while True:\n        time.sleep(0.01)  # the slow line\n",
    )
    assert reply.status_code == 504 and reply.json()["error_type"] == "timeout"
    assert time.monotonic() - begin > 2.9
    metadata = metadata_of(reply)
    assert (
        metadata["error_type"] == "timeout_error" and "3 s" in metadata["errormsg"] and metadata["stdout"] == "before\n"
    )
    folder = wait_for_folder(single, metadata["log_dir"])
    stderr = (folder / "stderr.log").read_text()
    assert "outcome: timeout" in stderr and 'last Python line: File "f.py", line 5 in udf' in stderr, stderr
    assert json.loads((folder / "metadata.json").read_text())["execution_time_seconds"] > 2.9
    assert run(single, "def udf(): return 1").json() == 1


def test_a_crash_names_its_signal_and_the_next_run_is_unharmed(server: Server) -> None:
    reply = run(server, "import ctypes\ndef udf():\n    ctypes.string_at(0)\n")
    assert reply.status_code == 422 and reply.json()["error_type"] == "crashed"
    metadata = metadata_of(reply)
    assert "signal 11" in metadata["errormsg"]
    stderr = (wait_for_folder(server, metadata["log_dir"]) / "stderr.log").read_text()
    assert "signal: SIGSEGV (11)" in stderr and "line 3 in udf" in stderr, stderr
    assert run(server, "def udf(): return 1").json() == 1


def test_a_process_that_leaves_without_a_result_is_never_a_success(server: Server) -> None:
    reply = run(server, "import os\ndef udf(): os._exit(0)")
    assert (
        reply.status_code == 422
        and reply.json()["error_type"] == "no_result"
        and "exit code 0" in reply.json()["message"]
    )


def test_start_answers_202_while_it_runs_and_the_poll_gives_the_result(server: Server) -> None:
    run_id, reply = start(server, "import time\ndef udf():\n    time.sleep(3)\n    return 'done'")
    assert reply.status_code == 202 and reply.headers["x-fused-run-id"] == run_id
    while (answer := poll(server, run_id)).status_code == 202:
        pass
    assert answer.status_code == 200 and answer.json() == "done"
    assert poll(server, run_id).json() == "done"  # answered again


def test_polling_failures_are_422_whatever_they_are(single: Server) -> None:
    run_id, reply = start(single, "import time\ndef udf(): time.sleep(60)")
    while reply.status_code == 202:
        reply = poll(single, run_id)
    assert reply.status_code == 422 and metadata_of(reply)["error_type"] == "timeout_error"


def test_a_run_id_is_joined_while_it_runs_and_answered_again_afterwards(server: Server) -> None:
    name = f"joined-{uuid.uuid4()}"
    run_id = str(uuid.uuid4())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: start(server, COUNT, run_id, {"name": name, "seconds": 1})[1], range(4)))
    assert [reply.json() for reply in replies] == [1, 1, 1, 1]
    assert start(server, COUNT, run_id, {"name": name})[1].json() == 1


def test_after_a_failure_the_same_id_starts_a_new_attempt_with_its_own_folder(server: Server) -> None:
    name = f"attempt-{uuid.uuid4()}"
    code = COUNT.replace(
        "return len", "if len(open('/mount/' + name).read()) < 2: raise ValueError('first')\n    return len"
    )
    run_id, first = start(server, code, None, {"name": name})
    assert first.status_code == 422
    second = start(server, code, run_id, {"name": name})[1]
    assert second.status_code == 200 and second.json() == 2
    assert metadata_of(first)["log_dir"].endswith(run_id) and metadata_of(second)["log_dir"].endswith(run_id + ".2")
    wait_for_folder(server, metadata_of(second)["log_dir"])


def test_the_run_of_a_caller_who_goes_away_is_ended(single: Server) -> None:
    name = f"away-{uuid.uuid4()}"
    code = COUNT.replace("return len", "open('/mount/' + name, 'a').write('finished')\n    return len")
    with pytest.raises(requests.Timeout):
        run(single, code, {"name": name, "seconds": 2}, timeout=0.7)
    assert run(single, "def udf(): return 1", timeout=2).json() == 1  # the slot is free at once
    time.sleep(2)
    assert (single.data / "mount" / name).read_text() == "x"


def test_beyond_the_queue_callers_get_429_with_retry_after(tmp_path: Path) -> None:
    need_server()
    small = start_server(tmp_path / "data", "--queue-length", "2", workers=1)
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(
                pool.map(lambda _: run(small, "import time\ndef udf():\n    time.sleep(0.5)\n    return 1"), range(8))
            )
        codes = [reply.status_code for reply in replies]
        assert codes.count(200) == 3 and codes.count(429) == 5, codes
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert refused.headers["retry-after"] == "1" and refused.json()["error_type"] == "too_many_requests"
    finally:
        stop_server(small)


CHILD = "import fused\nchild = fused.load('''\nimport fused\n@fused.udf\ndef udf(n: int = 0):\n    return n + 1\n''')\n"


def test_twenty_parents_with_three_children_each_on_one_worker_end(single: Server) -> None:
    code = CHILD + "def udf(n: int):\n    return sum(fused.run(child, n=n + i) for i in range(3))\n"
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: run(single, code, {"n": n}), range(20)))
    assert [reply.status_code for reply in replies] == [200] * 20, [
        reply.text[:300] for reply in replies if reply.status_code != 200
    ][:2]
    assert [reply.json() for reply in replies] == [3 * n + 6 for n in range(20)]
    assert time.monotonic() - begin < 60


DEEP = """
import fused
@fused.udf
def udf(depth: int, code: str):
    if depth <= 1:
        return "bottom"
    return fused.run(fused.load(code), depth=depth - 1, code=code)
"""


def test_functions_may_call_each_other_five_deep_and_not_six(single: Server) -> None:
    assert run(single, DEEP, {"depth": 5, "code": DEEP}).json() == "bottom"
    reply = run(single, DEEP, {"depth": 6, "code": DEEP})
    assert reply.status_code == 422 and "limit is 5" in reply.text


def test_finished_results_take_a_bounded_memory(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data")
    try:

        def shared_mib() -> int:
            status = Path(f"/proc/{server.pid}/status").read_text()
            return int(status.split("RssShmem:")[1].split()[0]) >> 10

        code = "def udf(n: int = 0):\n    print('p' * 500_000)\n    return 'x' * (12 << 20)"
        ids = []
        most = 0
        for _ in range(30):
            run_id, reply = start(server, code)
            while reply.status_code == 202:
                reply = poll(server, run_id)
            assert reply.status_code == 200
            ids.append(run_id)
            most = max(most, shared_mib())
        tell(f"30 results of 12 MiB: at most {most} MiB of them mapped at once")
        assert 100 < most <= 256 + 2 * 12
        assert poll(server, ids[-1]).status_code == 200, "the newest are answered again"
        gone = poll(server, ids[0])
        assert gone.status_code == 404 and "unknown" in gone.json()["message"]
    finally:
        stop_server(server)


def test_a_fresh_worker_has_run_nothing(server: Server) -> None:
    code = (
        "import builtins\ndef udf():\n    seen = getattr(builtins, 'seen_by_fresh', False)\n"
        "    builtins.seen_by_fresh = True\n    return seen"
    )
    for _ in range(3):
        assert run(server, code, **{"Fused-Fresh-Worker": "true"}).json() is False


def test_head_asks_for_everything_but_the_body(server: Server) -> None:
    code = "import fused\n@fused.udf\ndef udf(): return [1, 2, 3]"
    record = requests.post(
        server.api + "/udf/new",
        json={"slug": "headed", "udf_body": json.dumps({"name": "headed", "code": code}), "udf_type": "auto"},
        headers=headers_of(server),
        timeout=120,
    ).json()
    token = requests.post(
        server.api + "/udf-access-token/new", json={"udf_id": record["id"]}, headers=headers_of(server), timeout=120
    ).json()["token"]
    url = f"{server.api}/realtime-shared/{token}/run/file.json"
    body = requests.get(url, timeout=120)
    head = requests.head(url, timeout=120)
    assert head.status_code == 200 and head.content == b"" and head.headers["content-length"] == str(len(body.content))
    assert body.headers["access-control-allow-origin"] == "*"
    again = requests.get(url, headers={"If-None-Match": body.headers["etag"]}, timeout=120)
    assert again.status_code == 304 and again.content == b""


def wait_for_folder(server: Server, log_dir: str, seconds: float = 60) -> Path:
    folder = server.data / log_dir.lstrip("/")
    deadline = time.monotonic() + seconds
    while not folder.exists():
        assert time.monotonic() < deadline, f"{folder} did not appear"
        time.sleep(0.02)
    return folder


def test_the_direct_form_ignores_query_parameters_of_the_protocol(server: Server) -> None:
    reply = requests.post(
        server.api + ROUTE + "?fused_cache_disable_stream=true&cache_max_age=0",
        json=body_of("def udf(**kw): return sorted(kw)"),
        headers=headers_of(server),
        timeout=120,
    )
    assert reply.json() == []
