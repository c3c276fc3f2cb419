"""One run after the other in a real worker."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from worker_harness import Result, TestWorker, TestZygote

from fused._worker.connection import Closed


def test_a_function_runs_and_its_text_is_sent_once(shared_worker: TestWorker) -> None:
    code = "@fused.udf\ndef udf(n: int = 1):\n    return n + 1\n"
    assert shared_worker.run(code, query=[["n", "41"]]).value == 42
    again = shared_worker.order(code, query=[["n", "1"]])
    assert "code" not in again["udf"]
    assert shared_worker.run(code, query=[["n", "1"]]).value == 2


def test_typed_values_win_over_the_query_and_both_over_saved_parameters(shared_worker: TestWorker) -> None:
    code = "def udf(a: int, b: int, c: int):\n    return [a, b, c]\n"
    result = shared_worker.run(
        code, query=[["a", "1"], ["b", "1"]], typed={"a": 2}, udf={"parameters": {"a": 3, "b": 3, "c": 3}}
    )
    assert result.value == [2, 1, 3]


@pytest.mark.parametrize(
    ("code", "entrypoint", "value"),
    [
        ("def one():\n    return 1\ndef udf():\n    return 2\n", "one", 1),
        ("def udf():\n    return 1\ndef udf():\n    return 2\n", "udf", 2),
        ("def helper():\n    return 0\n@fused.udf\ndef mine():\n    return 3\n", "udf", 3),
        ("def mine():\n    return 4\n", "udf", 4),
        ("import asyncio\nasync def udf():\n    await asyncio.sleep(0)\n    return 5\n", "udf", 5),
        ("@fused.udf(cache_max_age='1h', anything_new=3)\ndef udf():\n    return 6\n", "udf", 6),
        ("from fused import udf as decorate\n@decorate\ndef mine():\n    return 7\n", None, 7),
    ],
)
def test_the_entry_point_is_the_one_named_else_udf_else_the_only_one(
    shared_worker: TestWorker, code: str, entrypoint: str | None, value: int
) -> None:
    assert shared_worker.run(code, udf={"entrypoint": entrypoint}).value == value


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        ("def udf():\n  x = (\n", 2, "never closed"),
        ("@fused.udf\ndef a(): pass\n@fused.udf\ndef b(): pass\n", None, "a, b"),
        ("x = 1\n", None, "no function"),
        ("def udf():\n    return '\x00'\n", None, "null"),
        ("import sklearn_that_is_not_there\ndef udf(): pass\n", 1, "pip install sklearn-that-is-not-there"),
        ("def udf():\n    import cv2\n", 2, "pip install opencv-python-headless"),
        ("(" * 300 + ")" * 300 + "\ndef udf(): pass\n", 1, "nested"),
    ],
)
def test_code_that_cannot_run_says_why_and_where(
    shared_worker: TestWorker, code: str, line: int | None, words: str
) -> None:
    result = shared_worker.run(code)
    assert (result.outcome, result.error["line"]) == ("invalid_code", line)
    assert words in result.error["message"]
    assert result.replace is None


def test_a_traceback_holds_the_users_lines_only(shared_worker: TestWorker) -> None:
    code = (
        "import pandas as pd\ndef inner(f):\n    return f['missing']\ndef udf():\n"
        "    return inner(pd.DataFrame({'a': [1]}))\n"
    )
    result = shared_worker.run(code)
    assert result.outcome == "user_error"
    assert result.error["class"] == "KeyError"
    assert result.error["line"] == 3
    assert "return f['missing']" in result.error["traceback"]
    assert result.error["traceback"].count("File ") == result.error["traceback"].count('File "udf.py"') >= 2


@pytest.mark.parametrize(
    ("body", "outcome", "name"),
    [
        ("raise ValueError('é ' * 3)", "user_error", "ValueError"),
        ("import sys; sys.exit(3)", "user_error", "SystemExit"),
        ("raise KeyboardInterrupt", "user_error", "KeyboardInterrupt"),
        ("return udf()", "user_error", "RecursionError"),
        ("raise MemoryError('no more')", "out_of_memory", "MemoryError"),
        ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "user_error", "Odd"),
        ("raise ExceptionGroup('many', [ValueError(1), TypeError(2)])", "user_error", "ExceptionGroup"),
        ("return (n for n in range(3))", "not_serialisable", "NotSerialisable"),
    ],
)
def test_whatever_ends_a_function_is_an_outcome(shared_worker: TestWorker, body: str, outcome: str, name: str) -> None:
    result = shared_worker.run(f"def udf():\n    {body}\n")
    assert (result.outcome, result.error["class"], result.replace) == (outcome, name, None)
    assert shared_worker.run("def udf():\n    return 'next'\n").value == "next"


def test_a_long_message_is_cut_in_the_open(shared_worker: TestWorker) -> None:
    result = shared_worker.run("def udf():\n    raise ValueError('x' * 1_000_000)\n")
    assert "characters left out" in result.error["message"]
    assert len(result.error["message"]) < 70_000


def test_an_exception_in_a_cause_keeps_its_frames(shared_worker: TestWorker) -> None:
    code = (
        "def udf():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n"
        "        raise ValueError('bad') from e\n"
    )
    text = shared_worker.run(code).error["traceback"]
    assert "1 / 0" in text
    assert "direct cause" in text


def test_a_value_that_cannot_be_read_names_parameter_value_and_type(shared_worker: TestWorker) -> None:
    result = shared_worker.run("def udf(count: int):\n    return count\n", query=[["count", "many"]])
    assert result.outcome == "invalid_parameter"
    assert all(word in result.error["message"] for word in ("count", "many", "int"))
    missing = shared_worker.run("def udf(count: int):\n    return count\n")
    assert missing.outcome == "invalid_parameter"
    assert "count" in missing.error["message"]


def test_a_large_result_travels_in_a_sealed_memory_file_and_too_large_a_one_is_refused(
    shared_worker: TestWorker,
) -> None:
    code = "import numpy\ndef udf(n: int):\n    return numpy.arange(n, dtype='u1')\n"
    import numpy

    result = shared_worker.run(code, query=[["n", "3000000"]], formats=["npy"])
    assert numpy.load(io.BytesIO(result.body)).shape == (3_000_000,)
    refused = shared_worker.run(code, query=[["n", "3000000"]], formats=["npy"], limits={"result_bytes": 1_000_000})
    assert refused.outcome == "result_too_large"
    assert "1000000" in refused.error["message"]


def test_what_both_streams_got_is_told_in_order(shared_worker: TestWorker) -> None:
    shared_worker.printed()
    code = (
        "import sys, os, logging\nlogging.basicConfig(format='%(message)s')\n"
        "def udf():\n    print('one')\n    print('two', file=sys.stderr)\n    print('thrée \\udc80')\n"
        "    logging.warning('four')\n"
    )
    for _ in range(2):  # the second run's logging goes to the streams as well
        result = shared_worker.run(code)
        out, err = shared_worker.printed()
        assert out.decode() == "one\nthrée \\udc80\n"
        assert err == b"two\nfour\n"
        assert result.header["stream_order"] == [[1, 4], [2, 4], [1, len("thrée \\udc80\n".encode())], [2, 5]]
    assert shared_worker.run("def udf():\n    print('only')\n").header["stream_order"] is None
    shared_worker.printed()


def test_output_below_python_is_caught_too(shared_worker: TestWorker) -> None:
    code = (
        "import os, subprocess\ndef udf():\n    os.write(1, b'raw ')\n"
        "    subprocess.run(['sh', '-c', 'echo child; echo oops >&2'])\n"
    )
    shared_worker.run(code)
    out, err = shared_worker.printed()
    assert (out, err) == (b"raw child\n", b"oops\n")


def test_header_modules_are_there_for_their_run_only(shared_worker: TestWorker) -> None:
    headers = [
        {
            "module_name": "my_header",
            "source_code": "STATE = []\ndef twice(n):\n    STATE.append(n)\n    return [n * 2, len(STATE)]\n",
        }
    ]
    code = "import my_header\ndef udf(n: int = 2):\n    return my_header.twice(n)\n"
    for _ in range(3):
        assert shared_worker.run(code, headers=headers).value == [4, 1]
    gone = shared_worker.run("def udf():\n    import my_header\n")
    assert gone.outcome == "invalid_code"


def test_an_error_in_a_header_module_shows_its_line(shared_worker: TestWorker) -> None:
    headers = [{"module_name": "broken_header", "source_code": "def fail():\n    return 1 / 0\n"}]
    result = shared_worker.run("import broken_header\ndef udf():\n    return broken_header.fail()\n", headers=headers)
    assert 'File "broken_header.py", line 2' in result.error["traceback"]
    assert result.error["line"] == 3


def test_a_body_that_computes_is_executed_for_every_run(shared_worker: TestWorker) -> None:
    code = (
        "SEEN = []\nDEFAULTS = {}\ndef udf(x: int = 1, items: list = []):\n    SEEN.append(x)\n"
        "    items.append(x)\n    return [len(SEEN), len(items)]\n"
    )
    for _ in range(3):
        assert shared_worker.run(code).value == [1, 1]


@pytest.mark.parametrize(
    "body",
    [
        "COUNT = 0\ndef udf():\n    global COUNT\n    COUNT += 1\n    return COUNT\n",
        "def udf():\n    udf.count = getattr(udf, 'count', 0) + 1\n    return udf.count\n",
        "class Box:\n    pass\ndef udf():\n    Box.count = getattr(Box, 'count', 0) + 1\n    return Box.count\n",
        "def helper(kept=[]):\n    kept.append(1)\n    return len(kept)\ndef udf():\n    return helper()\n",
        "@fused.udf\ndef udf(kept: list = []):\n    kept.append(1)\n    return len(kept)\n",
    ],
)
def test_a_functions_own_state_starts_anew(shared_worker: TestWorker, body: str) -> None:
    assert [shared_worker.run(body).value for _ in range(3)] == [1, 1, 1]


def test_a_helper_under_lru_cache_keeps_its_value_in_a_warm_worker(shared_worker: TestWorker) -> None:
    body = (
        "import functools\n@functools.lru_cache(maxsize=1)\ndef table():\n    return []\n"
        "def udf():\n    table().append(1)\n    return len(table())\n"
    )
    assert [shared_worker.run(body).value for _ in range(3)] == [1, 2, 3]


def test_the_context_is_that_of_the_run(shared_worker: TestWorker) -> None:
    code = (
        "import fused\ndef udf():\n    c = fused.context\n"
        "    return [c.get_user_email(), c.get_owner_email(), c.get_header('X-Odd'),"
        " c.get_recursion_factor(), c.is_shared(), c.in_realtime(), c.in_batch(), c.get_run_id(), c.get_parameters()]\n"
    )
    context = {
        "user_email": "a@b",
        "owner_email": "o@b",
        "headers": {"x-odd": "1"},
        "recursion": 3,
        "share_token": "fsh_x",
    }
    value = shared_worker.run(code, context=context, query=[["q", "1"]]).value
    assert value == ["a@b", "o@b", "1", 3, True, True, False, "5a3c8a52-6f0e-4b62-9b0b-3f1a5d1e4a11", {"q": "1"}]
    outside = shared_worker.run(code).value
    assert outside[0] == "visitor@example.org"


def test_a_tile_run_hands_over_its_box(shared_worker: TestWorker) -> None:
    code = "import fused\ndef udf(bounds: fused.types.Bounds, z: int, x: int, y: int):\n    return [bounds, z, x, y]\n"
    bounds, *numbers = shared_worker.run(code, tile=[1, 1, 0]).value
    assert numbers == [1, 1, 0]
    assert bounds == pytest.approx([0, 0, 180, 85.0511], abs=1e-3)


def test_a_profile_counts_lines(shared_worker: TestWorker) -> None:
    code = "def udf():\n    total = 0\n    for n in range(10):\n        total += n\n    return total\n"
    profile = shared_worker.run(code, profile=True).header["profile"]
    hits = {line["line"]: line["hits"] for line in profile["lines"]}
    assert hits == {2: 1, 3: 11, 4: 10, 5: 1}
    assert profile["total_ms"] > 0
    assert shared_worker.run("import sys\ndef udf():\n    return sys.gettrace() is None\n").value is True


def test_requests_of_a_function_travel_through_the_workers_channel(shared_worker: TestWorker) -> None:
    code = (
        "import threading\nfrom fused._worker import channel\n"
        "def udf():\n    found = {}\n    ch = channel.current()\n"
        "    def ask(n):\n        status, headers, body = ch.request('POST', f'/echo/{n}', {'n': str(n)}, b'x' * n)\n"
        "        found[n] = [status, headers['n'], len(body)]\n"
        "    threads = [threading.Thread(target=ask, args=(n,)) for n in (1, 2, 3, 400_000)]\n"
        "    [t.start() for t in threads]; [t.join() for t in threads]\n    return sorted(found.items())\n"
    )

    def answer(call: dict, body: bytes) -> tuple[dict, bytes]:
        return {"status": 200, "headers": {"n": call["headers"]["n"]}}, bytes(body) * 2

    value = shared_worker.run(code, answer=answer).value
    assert value == [[n, [200, str(n), n * 2]] for n in (1, 2, 3, 400_000)]


def test_replies_in_any_order_reach_who_waits_for_them(shared_worker: TestWorker) -> None:
    from fused._worker.connection import to_json
    from fused._worker.frames import Kind

    code = (
        "from concurrent.futures import ThreadPoolExecutor\nfrom fused._worker import channel\n"
        "def udf():\n    ch = channel.current()\n    with ThreadPoolExecutor(4) as pool:\n"
        "        return list(pool.map(lambda n: ch.request('GET', f'/{n}')[2].decode(), range(4)))\n"
    )
    connection = shared_worker.connection
    connection.send(Kind.RUN, to_json(shared_worker.order(code)))
    calls = [connection.read()[1] for _ in range(4)]
    for call in reversed(calls):
        connection.send(
            Kind.CALL_REPLY, to_json({"call": call["call"], "status": 200, "headers": {}}), call["target"].encode()
        )
    kind, _, body = connection.read()
    assert kind is Kind.RESULT
    assert bytes(body) == b'["/0","/1","/2","/3"]'
    assert connection.read()[1]["replace"] is None


def test_after_the_run_the_channel_is_closed(shared_worker: TestWorker) -> None:
    code = (
        "from fused._worker import channel\nimport json\ndef udf():\n    json.kept = channel.current()\n    return 1\n"
    )
    assert shared_worker.run(code).value == 1
    assert (
        shared_worker.run(
            "from fused._worker import channel\nimport json\ndef udf():\n    return hasattr(json, 'kept')\n"
        ).value
        is False
    )


def test_a_forked_child_that_returns_has_no_part_in_the_protocol(worker: TestWorker) -> None:
    code = "import os\ndef udf():\n    os.fork()\n    return os.getpid()\n"
    result = worker.run(code)
    assert result.value == worker.pid
    assert worker.run(code).value == worker.pid


def test_the_imported_decorator_is_no_entry_point(shared_worker: TestWorker) -> None:
    assert shared_worker.run("from fused import udf\n@udf\ndef towns(): return 7\n").value == 7
    assert shared_worker.run("from fused import udf\n@udf\ndef udf(): return 8\n").value == 8
    several = shared_worker.run("from fused import udf\n@udf\ndef a(): return 1\n@udf\ndef b(): return 1\n")
    assert "a, b" in several.header["error"]["message"]


def test_describe_tells_the_functions_of_a_text_and_executes_nothing(shared_worker: TestWorker) -> None:
    code = (
        "import os\nfrom fused import udf as anything, udf\nos.environ['LEFT'] = '1'\nAGE = '1h'\n"
        "@fused.udf(cache_max_age=AGE, headers=['helper.py'], name='towns')\n"
        "def cities(country: str, n: int = 3): pass\n"
        "@udf\nasync def other(): pass\n"
        "def helper(): pass\n"
        "@udf(cache_max_age='2h')\ndef twice(): pass\ndef twice(): pass\n"
    )
    assert shared_worker.describe(code)["udfs"] == [
        {"entrypoint": "cities", "line": 6, "is_main": False, "headers": ["helper.py"], "name": "towns"},
        {"entrypoint": "other", "line": 8, "is_main": False},
    ]
    one = shared_worker.describe("import fused\n@fused.udf(cache_max_age='2h')\ndef only(): pass\n")["udfs"]
    assert one == [{"entrypoint": "only", "line": 3, "is_main": True, "cache_max_age": "2h"}]
    several = shared_worker.describe("@fused.udf\ndef a(): pass\n@fused.udf\ndef udf(): pass\n")["udfs"]
    assert [udf["is_main"] for udf in several] == [False, True]
    assert shared_worker.describe("x = 1\n")["udfs"] == []
    assert shared_worker.run("import os\ndef udf():\n    return os.environ.get('LEFT')\n").value is None
    assert "line 1" in shared_worker.describe("def udf(:\n")["error"]["message"]
    for too_much in ("x = " + "(" * 100_000, "x = " + "-" * 1_000_000 + "1", "\0"):
        assert shared_worker.describe(too_much)["error"]["class"] == "InvalidCode"
    assert shared_worker.run("def udf(): return 1\n").value == 1


def test_many_functions_on_one_worker_do_not_mix(shared_worker: TestWorker) -> None:
    for n in range(300):
        assert shared_worker.run(f"def udf():\n    return {n}\n", hash=f"many-{n}").value == n
    assert shared_worker.run("def udf():\n    return 0\n", hash="many-0").value == 0  # its text is still known


def test_a_worker_that_leaves_the_protocol_or_exits_is_seen_by_the_zygote(zygote: TestZygote) -> None:
    for body, status in (("os._exit(7)", 7 << 8), ("os.kill(os.getpid(), 11)", 11)):
        worker = zygote.worker()
        with pytest.raises((Closed, ConnectionError)):
            worker.run(f"import os\ndef udf():\n    {body}\n")
        exited = worker.ended()
        assert exited["status"] & ~0x80 == status
        assert exited["max_rss_bytes"] > 10 << 20
        worker.close()


def test_workers_end_when_the_zygote_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    zygote = TestZygote(tmp_path_factory.mktemp("own"))
    worker = zygote.worker()
    assert worker.run("def udf():\n    return 1\n").value == 1
    zygote.close()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{worker.pid}") and time.monotonic() < deadline:
        with Path(f"/proc/{worker.pid}/stat").open() as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                break  # its new parent has not reaped it yet
        time.sleep(0.01)
    else:
        assert not os.path.exists(f"/proc/{worker.pid}")


def test_defaults_of_the_decorator_lie_beneath_those_saved_with_the_function_and_those_beneath_a_call(
    shared_worker: TestWorker,
) -> None:
    decorated = "import fused\n@fused.udf(default_parameters={'n': 5, 'm': 1})\n"
    code = decorated + "def udf(n: int = 0, m: int = 0):\n    return [n, m]\n"
    assert shared_worker.run(code).value == [5, 1]
    assert shared_worker.run(code, udf={"parameters": {"m": 2}}).value == [5, 2]
    assert shared_worker.run(code, udf={"parameters": {"m": 2}}, query=[["n", "9"]]).value == [9, 2]


def test_an_entrypoint_that_is_not_there_is_named_with_those_that_are(shared_worker: TestWorker) -> None:
    result = shared_worker.run("def udf():\n    return 1\ndef area():\n    return 2\n", udf={"entrypoint": "aera"})
    assert result.header["outcome"] == "invalid_code"
    assert "'aera'" in result.header["error"]["message"] and "udf, area" in result.header["error"]["message"]


def test_a_function_knows_whether_a_share_token_opened_it(shared_worker: TestWorker) -> None:
    code = "import fused\ndef udf():\n    return [fused.context.is_shared(), fused.context.get_share_token()]\n"
    assert shared_worker.run(code, context={"share_token": False}).value == [False, None]
    assert shared_worker.run(code, context={"share_token": True}).value == [True, None]


def test_pid_memory_and_times_are_reported(shared_worker: TestWorker) -> None:
    code = "import time\ndef udf(n: int):\n    data = bytearray(n)\n    time.sleep(0.02)\n    return len(data)\n"
    small: Result = shared_worker.run(code, query=[["n", "1000"]])
    large: Result = shared_worker.run(code, query=[["n", str(100 << 20)]])
    again: Result = shared_worker.run(code, query=[["n", "1000"]])  # an earlier run's peak is not this one's
    grown = large.header["peak_memory_bytes"] - small.header["peak_memory_bytes"]
    assert 95 << 20 < grown < 120 << 20
    assert abs(again.header["peak_memory_bytes"] - small.header["peak_memory_bytes"]) < 20 << 20
    assert 20 <= small.header["execution_ms"] < 1_000


def test_memory_that_a_run_leaves_is_given_back_or_the_worker_is_replaced(worker: TestWorker) -> None:
    brief = "import numpy\ndef udf():\n    return float(numpy.ones(30_000_000).sum())\n"
    assert worker.run(brief, limits={"worker_growth_bytes": 64 << 20}).replace is None
    kept = (
        "import ctypes\ndef udf():\n    libc = ctypes.CDLL(None)\n    libc.malloc.restype = ctypes.c_void_p\n"
        "    libc.malloc.argtypes = [ctypes.c_size_t]\n    ctypes.memset(libc.malloc(100 << 20), 1, 100 << 20)\n"
    )
    assert "its memory grew by" in worker.run(kept, limits={"worker_growth_bytes": 64 << 20}).replace
