"""What is answered from the cache, what is not, and why, through the real server."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.cached import DAYS, counting, get, post, save, serve, state, times
from tests.flow.calls import headers_of, metadata_of, poll, run, start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serve(tmp_path_factory)


def test_asked_twice_it_runs_once_and_the_answer_is_the_first_ones(server: Server) -> None:
    code = counting("twice", "print('hello'); return {'n': n, 'at': time.time()}")
    first, second = run(server, code, {"n": 3}), run(server, code, {"n": 3})
    assert first.content == second.content and times(server, "twice") == 1
    assert state(first)[0] == "miss" and state(second) == ("hit", "")
    assert int(second.headers["x-fused-cache-age"]) >= 0 and second.headers["x-fused-cached"] == "true"
    assert metadata_of(first) == metadata_of(second) and metadata_of(second)["stdout"] == "hello\n"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-fused-run-id"] != first.headers["x-fused-run-id"]


def test_a_hit_makes_an_audit_record_and_no_log_folder(server: Server) -> None:
    code = counting("audited")
    first, second = run(server, code), run(server, code)
    of_first, of_second = (reply.headers["x-fused-run-id"] for reply in (first, second))
    deadline = time.monotonic() + 120
    record: dict[str, Any] = {}
    while not record and time.monotonic() < deadline:
        lines = [
            line for file in (server.data / "cache/hits").glob("*.jsonl") for line in file.read_text().splitlines()
        ]
        record = next((r for r in map(json.loads, lines) if of_second in r["request_ids"]), {})
        time.sleep(0.05)
    assert record["cached_from"] == of_first and record["cache"] is True and record["user_email"] == "owner@localhost"
    folders = {path.name for path in (server.data / "mount/fused-system/logs").glob("*/*/*/*")}
    assert of_second not in folders


def test_a_value_by_url_is_the_same_as_by_body(server: Server) -> None:
    save(server, "by-url", counting("by-url", "return [n, tags]", "n: int, tags: list"))
    path = "/api/v1/run/owner@localhost/by-url.json"
    assert state(get(server, path + "?n=3&tags=[1,%20%22a%22]"))[0] == "miss"
    reply = requests.post(
        server.base_url + path, json={"n": 3, "tags": [1, "a"]}, headers=headers_of(server), timeout=60
    )
    assert state(reply)[0] == "hit" and reply.json() == [3, [1, "a"]]
    assert state(get(server, path + "?n=%2B3&tags=[1,%22a%22]"))[0] == "hit"
    assert state(get(server, path + "?n=4&tags=[1,%22a%22]")) == ("miss", "parameter 'n'")
    assert state(get(server, path.replace(".json", ".csv") + "?n=3&tags=[1,%22a%22]"))[1] == "format"


def test_comments_and_layout_do_not_bust_it_and_code_does(server: Server) -> None:
    code = "import fused\ndef helper():\n    return 1\n\n@fused.udf(cache_max_age='2d')\n" + counting("comments")
    assert state(run(server, code))[0] == "miss"
    for same in (
        code.replace("return n", "return n  # what it is"),
        code.replace("return n", "return (n)"),
        code.replace("cache_max_age='2d'", "cache_max_age='3d'"),
        code.replace("return 1", "return 2"),  # nobody calls it
        "# head\n\n" + code,
    ):
        assert state(run(server, same))[0] == "hit", same
    assert state(run(server, code.replace("return n", "return n + 1"))) == ("miss", "code")
    assert times(server, "comments") == 2


def test_errors_are_not_cached(server: Server) -> None:
    code = counting("errors", "raise ValueError(str(n))")
    assert [run(server, code).status_code for _ in range(2)] == [422, 422]
    assert times(server, "errors") == 2
    assert run(server, "def udf(:").status_code == 422


def test_the_call_beats_the_decorator_and_that_the_default(server: Server) -> None:
    never = "import fused\n@fused.udf(cache_max_age='0s')\n" + counting("never")
    assert [state(run(server, never))[0] for _ in range(2)] == ["miss", "miss"]
    assert state(run(server, never))[1] == "off: the function's cache_max_age is 0"
    assert [state(post(server, never, query="cache_max_age=1h"))[0] for _ in range(2)] == ["miss", "hit"]
    code = counting("ages")
    assert [state(post(server, code, query="cache_max_age=0"))[0] for _ in range(2)] == ["miss", "miss"]
    assert [state(run(server, code))[0] for _ in range(2)] == ["miss", "hit"]
    deadline = time.monotonic() + 120  # the age is in whole seconds
    while state(post(server, code, query="cache_max_age=1s"))[0] == "hit" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert times(server, "ages") == 4
    assert state(post(server, code, query="cache_max_age=1d"))[0] == "hit"


@pytest.mark.parametrize("age", ["-1", "1.5h", "1w", "999999999d", "12 h", "h", "99999999999999999999s"])
def test_a_malformed_age_is_refused_by_name(server: Server, age: str) -> None:
    reply = post(server, "def udf(): return 1", query=f"cache_max_age={age}")
    assert reply.status_code == 400 and "s, m, h or d" in reply.json()["message"], reply.text


def test_reset_computes_anew_and_stores(server: Server) -> None:
    code = counting("reset", "return time.time()")
    first = run(server, code).content
    again = post(server, code, query="cache_reset=true")
    assert state(again) == ("miss", "reset") and again.content != first
    assert run(server, code).content == again.content


def test_explain_runs_nothing_and_says_why(server: Server) -> None:
    code = counting("explained")
    told = post(server, code, {"n": 1}, "explain_cache=1").json()
    assert told["cache"] == "miss" and "code" in told["why"] and times(server, "explained") == 0
    run(server, code, {"n": 1})
    told = post(server, code, {"n": 1}, "explain_cache=1").json()
    assert told["cache"] == "hit" and told["entry"]["bytes"] == 1 and set(told["parts"]) >= {"code", "parameters"}
    told = post(server, code, {"n": 2}, "explain_cache=1").json()
    assert told["cache"] == "miss" and told["why"] == ["parameter 'n'"] and times(server, "explained") == 1


def test_etag_head_and_if_none_match_work_from_the_cache(server: Server) -> None:
    save(server, "tagged", counting("tagged", "return {'n': n}"))
    path = "/api/v1/run/owner@localhost/tagged.json?n=5"
    first, second = get(server, path), get(server, path)
    assert state(second)[0] == "hit" and second.headers["etag"] == first.headers["etag"]
    unchanged = get(server, path, **{"If-None-Match": second.headers["etag"]})
    assert unchanged.status_code == 304 and unchanged.content == b""
    head = get(server, path, method="HEAD")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) == len(first.content)
    assert times(server, "tagged") == 1


def test_many_callers_at_once_are_one_run(server: Server) -> None:
    code = counting("at-once", "time.sleep(0.5); return time.time()")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: run(server, code), range(16)))
    assert len({reply.content for reply in replies}) == 1 and times(server, "at-once") == 1
    assert len({reply.headers["x-fused-run-id"] for reply in replies}) == 16


def test_all_callers_of_a_failing_run_get_its_error(server: Server) -> None:
    code = counting("fails-at-once", "time.sleep(0.5); raise ValueError('no')")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: run(server, code), range(8)))
    assert {reply.status_code for reply in replies} == {422} and times(server, "fails-at-once") == 1


def test_after_a_crash_one_of_the_callers_runs_it_once_more(server: Server) -> None:
    code = counting(
        "crashes",
        "time.sleep(0.5)\n    if len(open('/mount/crashes').read()) == 1: os.kill(os.getpid(), 9)\n    return 7",
    )
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: run(server, code), range(6)))
    assert sorted(reply.status_code for reply in replies) == [200] * 5 + [422]
    assert times(server, "crashes") == 2


def test_a_caller_who_leaves_does_not_end_the_run_of_the_others(server: Server) -> None:
    code = counting("left", "time.sleep(1.5); return 7")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:

        def impatient() -> None:
            with pytest.raises(requests.exceptions.ReadTimeout):
                run(server, code, timeout=0.7)

        leaver = pool.submit(impatient)
        time.sleep(0.2)
        stayer = pool.submit(run, server, code)
        leaver.result()
        assert stayer.result().json() == 7 and times(server, "left") == 1


def test_a_function_that_calls_itself_with_equal_parameters_does_not_wait_for_itself(server: Server) -> None:
    code = (
        "import fused\n@fused.udf\ndef udf(n: int = 1):\n    from fused import context\n"
        "    depth = context.get_recursion_factor()\n    return 1 if depth > 1 else 1 + fused.run('itself')\n"
    )
    save(server, "itself", code)
    assert get(server, "/api/v1/run/owner@localhost/itself.json").json() == 2


def test_a_run_that_is_too_deep_is_refused_also_where_its_answer_lies_ready(server: Server) -> None:
    code = counting("deep")
    assert state(run(server, code))[0] == "miss" and state(run(server, code))[0] == "hit"
    assert run(server, code, **{"Fused-Recursion": "6"}).status_code == 422


def test_polled_runs_come_from_the_cache_too(server: Server) -> None:
    code = counting("polled", "return time.time()")
    replies = []
    for _ in range(2):
        run_id, reply = start(server, code)
        while reply.status_code == 202:
            reply = poll(server, run_id)
        replies.append(reply)
    assert replies[0].content == replies[1].content and times(server, "polled") == 1
    assert replies[1].headers["x-fused-cached"] == "true"


def test_a_changed_child_makes_its_parent_a_miss(server: Server) -> None:
    child = save(server, "child", "def udf(): return 1")
    for name, body in (
        ("parent", "def udf():\n    import fused\n    return fused.run('child') + 10\n"),
        ("loader", "def udf():\n    import fused\n    return fused.load('child')() + 20\n"),
    ):
        save(server, name, body)
    paths = {name: f"/api/v1/run/owner@localhost/{name}.json" for name in ("parent", "loader")}
    for name, path in paths.items():
        assert state(get(server, path))[0] == "miss"
        assert state(get(server, path))[0] == "hit", name
    save(server, "child", "def udf(): return 2", child["id"])
    for name, expected in (("parent", 12), ("loader", 22)):
        reply = get(server, paths[name])
        assert reply.json() == expected and state(reply) == ("miss", f"function '{child['id']}'")
        assert state(get(server, paths[name]))[0] == "hit"


def test_a_changed_file_makes_the_result_a_miss(server: Server) -> None:
    data = server.data / "mount" / "input.txt"
    data.write_text("one")
    code = (
        "def udf():\n    from fused._worker import uses\n    uses.file('/mount/input.txt')\n"
        "    return open('/mount/input.txt').read()\n"
    )
    assert run(server, code).json() == "one" and state(run(server, code))[0] == "hit"
    data.write_text("two!")
    reply = run(server, code)
    assert reply.json() == "two!" and state(reply) == ("miss", "file '/mount/input.txt'")
    data.unlink()
    assert run(server, code).status_code == 422


def test_who_asks_is_in_the_key_where_the_code_looks(server: Server) -> None:
    code = "def udf():\n    import fused\n    return fused.context.get_header('x-colour')\n"
    assert run(server, code, **{"X-Colour": "red"}).json() == "red"
    blue = run(server, code, **{"X-Colour": "blue"})
    assert blue.json() == "blue" and state(blue) == ("miss", "caller")
    assert state(run(server, code, **{"X-Colour": "red"}))[0] == "hit"
    hidden = "def udf():\n    import fused\n    return getattr(fused, 'con' + 'text').get_header('x-colour')\n"
    assert [run(server, hidden, **{"X-Colour": colour}).json() for colour in ("red", "blue")] == ["red", "blue"]


def test_a_function_or_one_of_its_tiles_is_forgotten(server: Server) -> None:
    saved = save(server, "tiles", counting("tiles", "return z * 100 + x * 10 + y", "z: int, x: int, y: int"))
    tile = "/api/v1/run/owner@localhost/tiles/tiles/1/{x}/1.json"
    route = f"/server/v1/realtime-shared/local/udf-cache/by-id/{saved['id']}/delete"

    def ask() -> list[str]:
        return [state(get(server, tile.format(x=x)))[0] for x in (0, 1)]

    assert ask() == ["miss", "miss"] and ask() == ["hit", "hit"]
    assert get(server, route + "?z=1&x=0&y=1", "DELETE").status_code == 200
    assert state(get(server, tile.format(x=0))) == ("miss", "removed")
    assert ask() == ["hit", "hit"]
    assert get(server, f"/api/v1/functions/{saved['id']}/cache", "DELETE").json()["deleted"] is True
    assert ask() == ["miss", "miss"]
    assert get(server, route + "?z=1&x=0", "DELETE").status_code == 422
    assert get(server, route + "?z=1&x=0&y=9", "DELETE").status_code == 422
    assert get(server, route.replace(saved["id"], str(uuid.uuid4())), "DELETE").status_code == 404


def test_a_stale_tile_is_answered_at_once_where_it_was_asked_for(server: Server) -> None:
    save(server, "stale", counting("stale", "return time.time()", "z: int, x: int, y: int"))
    path = "/api/v1/run/owner@localhost/stale/tiles/1/0/0.json?cache_max_age=1s"
    asks = {"Cache-Control": "stale-while-revalidate=600"}
    first = get(server, path, **asks)
    deadline = time.monotonic() + 120
    while (reply := get(server, path, **asks)) and state(reply)[0] == "hit" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state(reply) == ("stale", "expired") and reply.content == first.content
    while times(server, "stale") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert get(server, path.replace("1s", "1h")).content != first.content


def test_a_share_token_may_say_that_nothing_is_cached(server: Server) -> None:
    saved = save(server, "shared", counting("shared"))
    for cache, expected in ((True, "hit"), (False, "miss")):
        made = requests.post(
            f"{server.api}/udf-access-token/new",
            json={"udf_id": saved["id"], "client_id": None, "cache": cache},
            headers=headers_of(server),
            timeout=120,
        ).json()
        replies = [
            requests.get(f"{server.api}/realtime-shared/{made['token']}/run/file?format=json", timeout=60)
            for _ in range(2)
        ]
        assert state(replies[1])[0] == expected, replies[1].headers


def test_results_survive_a_restart_and_kill_9_small_and_large(tmp_path: Path) -> None:
    need_server()
    small = counting("survives", "return time.time()")
    large = counting("survives-large", "return 'x' * 300_000 + str(time.time())")
    bodies: list[tuple[bytes, bytes]] = []
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        server = start_server(tmp_path / "data", *DAYS)
        try:
            bodies.append((run(server, small).content, run(server, large).content))
            new = run(server, counting("new"), {"n": len(bodies)})
            assert new.status_code == 200
            deadline = time.monotonic() + 120  # the disk is behind the answer
            while not list((server.data / "cache/large").glob("*/*")) and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.3)
            assert times(server, "survives") == times(server, "survives-large") == 1
        finally:
            if how == signal.SIGKILL:
                os.kill(server.pid, how)
                server.process.wait()
            stop_server(server)
    assert len(set(bodies)) == 1


def test_a_cache_folder_that_cannot_be_used_is_said_and_results_are_answered(tmp_path: Path) -> None:
    need_server()
    stop_server(start_server(tmp_path / "data", *DAYS))
    cache = tmp_path / "data" / "cache"
    cache.rename(tmp_path / "old")
    cache.symlink_to(tmp_path / "old")
    server = start_server(tmp_path / "data", *DAYS)
    try:
        code = counting("memory-only")
        assert [state(run(server, code))[0] for _ in range(2)] == ["miss", "hit"]
        assert sum("cached in memory only" in line for line in server.lines) == 1
    finally:
        stop_server(server)


def test_where_the_server_does_not_cache_a_call_may_ask_for_it(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data")  # 0s, as all tests
    try:
        code = counting("asked")
        assert [state(run(server, code))[0] for _ in range(2)] == ["miss", "miss"]
        assert [state(post(server, code, query="cache_max_age=1h"))[0] for _ in range(2)] == ["miss", "hit"]
    finally:
        stop_server(server)
