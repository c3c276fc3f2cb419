"""`fused serve FOLDER --watch`: every .py with @fused.udf is an endpoint at once, reloaded on save."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.until import until

SOURCE = "import fused\n\n@fused.udf\ndef udf(n: int = 1):\n    return n * {factor}\n"


def ask(server: Server, name: str, query: str = "n=5") -> requests.Response:
    url = f"{server.base_url}/api/v1/run/owner@localhost/{name}.json?{query}"
    return requests.get(url, headers={"Authorization": f"Bearer {server.token}"}, timeout=60)


def eventually(server: Server, name: str, wanted: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        reply = ask(server, name)
        seen = reply.json() if reply.status_code == 200 else reply.status_code
        if seen == wanted:
            return
        assert time.monotonic() < deadline, f"{name} answered {seen}, not {wanted}"
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["", "/", "/."])
def test_files_are_endpoints_and_follow_every_save(tmp_path: Path, end: str) -> None:
    need_server()
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "times.py").write_text(SOURCE.format(factor=2))
    (folder / "helper.py").write_text("def nothing(): pass\n")
    (folder / "broken.py").write_text("import fused\n@fused.udf\ndef udf(:\n")
    server = start_server(tmp_path / "data", f"{folder}{end}", "--watch")
    try:
        assert ask(server, "times").json() == 10
        assert ask(server, "helper").status_code == 404
        broken = ask(server, "broken")
        assert broken.status_code == 422 and "line 3" in broken.text
        (folder / "times.py").write_text(SOURCE.format(factor=3))
        eventually(server, "times", 15)
        (folder / "added.py").write_text(SOURCE.format(factor=7))
        eventually(server, "added", 35)
        (folder / "added.py").rename(folder / "renamed.py")
        eventually(server, "renamed", 35)
        eventually(server, "added", 404)
        (folder / "renamed.py").unlink()
        eventually(server, "renamed", 404)
    finally:
        stop_server(server)
    until(lambda: any("no longer served" in line and "renamed" in line for line in server.lines))  # the last one
    told = [line for line in server.lines if "function 'times'" in line]
    assert ["serving" in told[0], *("reloaded" in line for line in told[1:])] == [True, True], told


DECORATED = """
import fused
from fused import udf

@udf(name="towns", headers=["lib/helper.py", "beside.py"], default_parameters={"n": 7})
def udf_of_towns(n: int = 1):
    import beside, helper
    return [n, beside.VALUE, helper.VALUE]
"""
SEVERAL = """
from fused import udf

@udf
def second(): return "second"

@udf(name="third one")
def third(): return "third"

@udf
def udf(): return "main"

def no_endpoint(): return "none"
"""


def test_what_the_decorator_says_counts_and_headers_are_watched(tmp_path: Path) -> None:
    need_server()
    folder = tmp_path / "functions"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "helper.py").write_text("VALUE = 1\n")
    (folder / "beside.py").write_text("VALUE = 2\n")
    (folder / "file.py").write_text(DECORATED)
    (folder / "several.py").write_text(SEVERAL)
    (folder / "unclear.py").write_text(SEVERAL.replace("def udf(", "def first("))
    server = start_server(tmp_path / "data", str(folder), "--watch")
    try:
        eventually(server, "towns", [5, 2, 1])
        assert ask(server, "towns", "").json() == [7, 2, 1]
        for name in ("file", "beside", "no_endpoint", "udf", "helper"):
            assert ask(server, name).status_code == 404, name
        eventually(server, "several", "main")
        eventually(server, "second", "second")
        eventually(server, "third one", "third")
        eventually(server, "first", "main")
        unclear = ask(server, "unclear")
        assert unclear.status_code == 422 and "second, third, first" in unclear.json()["message"]
        (folder / "lib" / "helper.py").write_text("VALUE = 10\n")
        eventually(server, "towns", [5, 2, 10])
        (folder / "beside.py").write_text("VALUE = 20\n")
        eventually(server, "towns", [5, 20, 10])
        (folder / "file.py").write_text(DECORATED.replace('name="towns", ', ""))
        eventually(server, "file", [5, 20, 10])
        eventually(server, "towns", 404)
        (folder / "several.py").write_text("import fused\n")
        for name in ("several", "third one"):
            eventually(server, name, 404)
        for number in range(150):
            (folder / f"many{number}.py").write_text(
                SOURCE.format(factor=number).replace("@fused.udf", "@ fused . udf")
            )
        eventually(server, "many149", 5 * 149, seconds=60)
    finally:
        stop_server(server)


def test_a_format_a_name_or_a_folder_that_is_wrong_is_told(tmp_path: Path) -> None:
    need_server()
    (tmp_path / "f.py").write_text(SOURCE.format(factor=2))
    server = start_server(tmp_path / "data", str(tmp_path))
    try:
        url = f"{server.base_url}/api/v1/run/owner@localhost"
        headers = {"Authorization": f"Bearer {server.token}"}
        wrong = requests.get(f"{url}/f.docx", headers=headers, timeout=120)
        assert wrong.status_code == 400 and "docx" in wrong.json()["message"] and "parquet" in wrong.json()["message"]
        missing = requests.get(f"{url}/g.json", headers=headers, timeout=120)
        assert missing.status_code == 404 and "'g'" in missing.json()["message"]
        assert requests.get(f"{url}/f.json", timeout=120).status_code == 401
    finally:
        stop_server(server)
