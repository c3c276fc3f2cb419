"""`@fused.cache`, `fused.download` and `fused.file_path` inside functions, on a real server."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of, run
from tests.processes import children_of
from tests.unit.download.conftest import CONTENT, Web

COUNTED = """
import fused

@fused.cache
def work(x, seconds=0.0):
    import time
    with open("/mount/{log}", "a") as log:
        log.write("x")
    time.sleep(seconds)
    return {{"x": x}}

@fused.udf
def {name}(x: int = 1, seconds: float = 0.0, reset: bool = False):
    return work(x, seconds, reset=reset)
"""


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_server()
    running = start_server(tmp_path_factory.mktemp("cached") / "data", workers=3)
    yield running
    stop_server(running)


def ask(server: Server, code: str, name: str, **parameters: object) -> requests.Response:
    """A run that no result cache answers."""
    return requests.post(
        f"{server.api}{ROUTE}",
        params={"cache_max_age": "0"},
        json=body_of(code, parameters, name=name),
        headers=headers_of(server),
        timeout=60,
    )


def value_of(reply: requests.Response) -> object:
    assert reply.status_code == 200, reply.text
    return reply.json()


def counted(server: Server, name: str) -> tuple[str, Path]:
    return COUNTED.format(log=f"{name}.log", name=name), server.data / "mount" / f"{name}.log"


def entries(server: Server, name: str) -> list[Path]:
    return sorted((server.data / "mount" / "fused-system" / "cached_data" / name).glob("data_*"))


def test_a_value_is_computed_once_and_lies_where_the_seed_says(cached: Server) -> None:
    code, log = counted(cached, "where")
    for _ in range(5):
        assert value_of(ask(cached, code, "where", x=3)) == {"x": 3}
    assert log.read_text() == "x"
    assert len(entries(cached, "where")) == 1
    assert re.fullmatch("data_[0-9a-f]{64}", entries(cached, "where")[0].name)
    assert value_of(ask(cached, code, "where", x=3, reset=True)) == {"x": 3}
    assert log.read_text() == "xx" and len(entries(cached, "where")) == 1


def test_several_workers_compute_a_value_once(cached: Server) -> None:
    code, log = counted(cached, "several")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: ask(cached, code, "several", x=1, seconds=0.5), range(6)))
    assert [value_of(reply) for reply in replies] == [{"x": 1}] * 6
    assert log.read_text() == "x"


def test_another_worker_and_another_start_of_the_server_find_it(tmp_path: Path) -> None:
    need_server()
    for _ in range(2):
        server = start_server(tmp_path / "data", workers=2)
        try:
            code, log = counted(server, "again")
            for _ in range(3):
                assert value_of(ask(server, code, "again", x=1)) == {"x": 1}
        finally:
            stop_server(server)
    assert log.read_text() == "x"
    assert (tmp_path / "data" / "cache-key").stat().st_mode & 0o777 == 0o600


def test_when_a_worker_is_killed_while_it_computes_the_next_caller_computes(cached: Server) -> None:
    code, log = counted(cached, "killed")
    code = code.replace("@fused.cache\n", "@fused.cache(cache_key_exclude=['seconds'])\n")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cached, code, "killed", x=1, seconds=50)
        deadline = time.monotonic() + 120
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (holder,) = (pid for pid in children_of(cached.pid) if has_the_locks_open(pid))
        second = pool.submit(ask, cached, code, "killed", x=1)
        while sum(map(has_the_locks_open, children_of(cached.pid))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(holder, signal.SIGKILL)
        assert value_of(second.result()) == {"x": 1}
        assert first.result().status_code == 422 and "crashed" in first.result().text
    assert log.read_text() == "xx"


def has_the_locks_open(pid: int) -> bool:
    """Does this process compute or wait for another that does."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any("/.locks-" in link for link in links)


def test_entries_of_others_and_damaged_ones_are_misses_and_nothing_of_them_runs(cached: Server) -> None:
    code, log = counted(cached, "damage")
    value_of(ask(cached, code, "damage", x=1))
    value_of(ask(cached, code, "damage", x=2))
    one, two = entries(cached, "damage")
    content = one.read_bytes()
    shutil.copy(two, one)
    for x in (1, 2):
        assert value_of(ask(cached, code, "damage", x=x)) == {"x": x}
    assert log.read_text() == "xxx"
    planted = b"cos\nsystem\n(S'touch /mount/planted'\ntR."
    for path in entries(cached, "damage"):
        path.write_bytes(content[:300] + planted)
    for x in (1, 2):
        assert value_of(ask(cached, code, "damage", x=x)) == {"x": x}
    assert log.read_text() == "xxxxx" and not (cached.data / "mount" / "planted").exists()


def test_the_key_is_in_no_file_that_a_function_can_read(cached: Server) -> None:
    code = """
import fused
@fused.udf
def look():
    import glob, os
    from fused._cache import secret
    from fused.context import get_global_context
    key = get_global_context().values["cache_secret"]
    found = []
    for top in ("/mount", "/tmp", os.path.expanduser("~"), os.getcwd()):
        for folder, _, names in os.walk(top):
            for name in names:
                try:
                    with open(os.path.join(folder, name), "rb") as file:
                        data = file.read()
                except OSError:
                    continue
                if key.encode() in data or bytes.fromhex(key) in data:
                    found.append(os.path.join(folder, name))
    return {"found": found, "length": len(key)}
"""
    assert value_of(ask(cached, code, "look")) == {"found": [], "length": 64}


def test_tables_come_back_and_may_be_changed(cached: Server) -> None:
    code = """
import fused
@fused.cache
def table(rows):
    import numpy, pandas
    return pandas.DataFrame({"a": numpy.arange(rows), "s": "text"})

@fused.udf
def tables(rows: int = 10):
    found = table(rows)
    before = int(found["a"].sum())
    found.loc[:, "a"] = 0
    return before
"""
    for rows in (10, 200_000):
        for _ in range(4):
            assert value_of(ask(cached, code, "tables", rows=rows)) == rows * (rows - 1) // 2


def test_path_below_mount_is_the_folder_itself(cached: Server) -> None:
    code = """
import fused
@fused.cache(path="/mount/custom_path/")
def work():
    return 5

@fused.udf
def custom():
    return work()
"""
    assert value_of(ask(cached, code, "custom")) == 5
    assert len(list((cached.data / "mount" / "custom_path").glob("data_*"))) == 1


def test_file_path_is_below_mount(cached: Server) -> None:
    code = """
import fused
@fused.udf
def paths(path: str = "testing"):
    return fused.file_path(path)
"""
    assert value_of(ask(cached, code, "paths")) == "/mount/testing"
    assert (cached.data / "mount" / "testing").is_dir()
    for path in ("../x", "/etc/passwd", "a/../../x"):
        reply = ask(cached, code, "paths", path=path)
        assert reply.status_code == 422 and ("leads out" in reply.text or "not below" in reply.text)


DOWNLOAD = """
import fused
@fused.udf
def fetch(url: str, path: str = "tmp/data.bin"):
    path = fused.download(url, path)
    return [path, len(open(path, "rb").read())]
"""


def test_download_refuses_the_server_s_own_network(cached: Server) -> None:
    web = Web()
    try:
        reply = ask(cached, DOWNLOAD, "fetch", url=f"{web.url}/file")
        assert reply.status_code == 422 and "not a public address" in reply.text
        reply = ask(cached, DOWNLOAD, "fetch", url=f"{cached.base_url}/health")
        assert reply.status_code == 422 and "not a public address" in reply.text
        assert not web.asked
    finally:
        web.shutdown()


def test_forty_runs_download_once_where_private_addresses_are_allowed(tmp_path: Path) -> None:
    need_server()
    web = Web()
    web.delay = 0.5
    server = start_server(tmp_path / "data", workers=4, environment={"FUSED_DOWNLOAD_PRIVATE": "1"})
    try:
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            replies = list(pool.map(lambda _: ask(server, DOWNLOAD, "fetch", url=f"{web.url}/file"), range(40)))
        assert [value_of(reply) for reply in replies] == [["/mount/tmp/data.bin", len(CONTENT)]] * 40
        assert web.asked["/file"] == 1
        assert (tmp_path / "data" / "mount" / "tmp" / "data.bin").read_bytes() == CONTENT
    finally:
        stop_server(server)
        web.shutdown()


def test_a_warm_worker_is_kept_and_says_nothing_on_stderr(cached: Server) -> None:
    code, _ = counted(cached, "quiet")
    pids = set()
    code = code.replace("return work(x, seconds, reset=reset)", "import os; work(x); return os.getppid(), os.getpid()")
    for _ in range(6):
        reply = ask(cached, code, "quiet", x=1)
        pids.add(str(value_of(reply)))
        assert "Warning" not in reply.headers["x-fused-metadata"]
    assert len(pids) <= 3


def test_a_function_run_with_the_plain_call_helper_uses_it_as_well(cached: Server) -> None:
    code, log = counted(cached, "plain")
    assert run(cached, code, {"x": 4}).json() == {"x": 4}
    assert log.read_text() == "x"
