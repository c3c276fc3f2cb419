"""``fused.download``: one fetch, a whole file or none, and errors that say what to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import fused
from fused import _download, _download_address, _download_http
from fused._download import DownloadError
from tests.unit.download.conftest import CONTENT, Web


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".part-" in path.name)


def test_a_file_is_fetched_the_first_time_only(web: Web, root: Path) -> None:
    path = fused.download(f"{web.url}/data.bin", "tmp/data.bin")
    assert path == f"{root}/tmp/data.bin" and isinstance(path, str)
    assert Path(path).read_bytes() == CONTENT
    assert fused.download(f"{web.url}/data.bin", "tmp/data.bin") == path
    assert web.asked["/data.bin"] == 1
    assert visible(root / "tmp") == ["data.bin"] and parts(root / "tmp") == []


def test_a_path_that_ends_in_a_slash_is_a_folder(web: Web, root: Path) -> None:
    assert fused.download(f"{web.url}/a/data%20x.bin?sig=1", "tmp/") == f"{root}/tmp/data x.bin"
    with pytest.raises(ValueError, match="no file name"):
        fused.download(f"{web.url}/", "tmp/")
    with pytest.raises(IsADirectoryError, match="end the path with"):
        fused.download(f"{web.url}/b", "tmp")


def test_another_address_for_the_same_path_is_fetched_anew(web: Web, root: Path) -> None:
    path = fused.download(f"{web.url}/one", "x")
    web.content = b"two"
    assert Path(fused.download(f"{web.url}/one", "x")).read_bytes() == CONTENT
    assert Path(fused.download(f"{web.url}/two", "x")).read_bytes() == b"two"
    Path(path).write_bytes(b"mine now")
    assert Path(fused.download(f"{web.url}/three", "x")).read_bytes() == b"mine now", (
        "a file that others put there stays"
    )


def test_a_writer_killed_before_its_rename_leaves_the_earlier_file_as_what_it_is(web: Web, monkeypatch: Any) -> None:
    path = fused.download(f"{web.url}/one", "x")
    web.content = CONTENT[::-1]  # of the same size

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        fused.download(f"{web.url}/two", "x")
    assert Path(path).read_bytes() == CONTENT
    assert Path(fused.download(f"{web.url}/two", "x")).read_bytes() == CONTENT[::-1]
    assert Path(fused.download(f"{web.url}/two", "x")).read_bytes() == CONTENT[::-1]


def test_forty_threads_fetch_once(web: Web) -> None:
    web.delay = 0.2
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(fused.download(f"{web.url}/f", "x/f"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40 and len(set(found)) == 1
    assert web.asked["/f"] == 1


SCRIPT = "import fused, sys\nprint(fused.download(sys.argv[1], sys.argv[2]))"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_forty_processes_fetch_once(web: Web, root: Path) -> None:
    web.delay = 1.0
    processes = [start(f"{web.url}/f", "x/f") for _ in range(40)]
    assert {process.communicate(timeout=120)[0] for process in processes} == {f"{root}/x/f\n"}
    assert web.asked["/f"] == 1


def test_when_the_one_who_fetches_is_killed_the_next_goes_on(web: Web, root: Path) -> None:
    holder = start(f"{web.url}/hangs", "x/f")
    deadline = time.monotonic() + 120
    while not web.asked["/hangs"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    waiter = start(f"{web.url}/file", "x/f")
    time.sleep(0.3)
    assert waiter.poll() is None and not (root / "x" / "f").exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert waiter.communicate(timeout=120)[0] == f"{root}/x/f\n"
    assert (root / "x" / "f").read_bytes() == CONTENT


def test_those_who_wait_get_the_error_of_the_one_who_tried(web: Web) -> None:
    errors: list[str] = []
    web.delay = 0.1
    begin = threading.Barrier(10)

    def call() -> None:
        begin.wait()
        try:
            fused.download(f"{web.url}/always-busy", "x/f")
        except DownloadError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 10 and len(set(errors)) == 1
    assert web.asked["/always-busy"] == _download.ATTEMPTS
    with pytest.raises(DownloadError):
        fused.download(f"{web.url}/always-busy", "x/f")
    assert web.asked["/always-busy"] == 2 * _download.ATTEMPTS, "a later call tries again"


@pytest.mark.parametrize("name", ["busy", "breaks", "chunked", "gzip", "checksum", "breaks-and-changes"])
def test_what_can_be_had_is_had(name: str, web: Web, root: Path) -> None:
    path = Path(fused.download(f"{web.url}/{name}", "x/f"))
    assert path.read_bytes() == (CONTENT[::-1] if name == "breaks-and-changes" else CONTENT)
    assert visible(root / "x") == ["f"] and parts(root / "x") == []


def test_a_broken_connection_is_resumed_where_it_broke(web: Web) -> None:
    fused.download(f"{web.url}/breaks", "x/f")
    assert web.ranges[0] == "" and web.ranges[1] == f"bytes={len(CONTENT) // 2}-"
    assert web.asked["/breaks"] == 5


def test_a_later_process_resumes_as_well(web: Web, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "ATTEMPTS", 1)
    with pytest.raises(DownloadError, match="ended after 524288 of 1048576 bytes"):
        fused.download(f"{web.url}/breaks", "x/f")
    assert visible(root / "x") == [] and len(parts(root / "x")) == 2
    monkeypatch.undo()
    os.environ["TMPDIR"] = str(root.parent)
    try:
        assert Path(fused.download(f"{web.url}/breaks", "x/f")).read_bytes() == CONTENT
    finally:
        del os.environ["TMPDIR"]
    assert web.ranges[1] == "bytes=524288-"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "404 Not Found: no such file; there is nothing at this address"),
        ("forbidden", "403 Forbidden; access is not allowed"),
        ("too-short", "1048571 of 1048576 bytes .6 attempts.; try later"),
        ("resets", "gave no answer"),
        ("garbage", "gave no answer"),
        ("chunked/cut", "the connection broke"),
        ("wrong-checksum", "md5 checksum is not the one the server sent"),
        ("round", "redirects more than 10 times"),
        ("password", "401 .*; it wants a sign-in"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_why(name: str, says: str, web: Web, root: Path) -> None:
    with pytest.raises(DownloadError, match=f"{web.url}/{name}: .*{says}"):
        fused.download(f"{web.url}/{name}", "x/f")
    assert visible(root / "x") == []
    assert name in ("too-short",) or parts(root / "x") == []


def test_a_server_that_hangs_is_left_after_timeout(web: Web, root: Path) -> None:
    began = time.monotonic()
    with pytest.raises(DownloadError, match=f"{web.url}/hangs"):
        fused.download(f"{web.url}/hangs", "x/f", timeout=0.5)
    assert time.monotonic() - began < 60
    assert visible(root / "x") == []


def test_waiting_for_another_ends_with_timeout(web: Web) -> None:
    holder = start(f"{web.url}/hangs", "x/f")
    try:
        while not web.asked["/hangs"]:
            time.sleep(0.01)
        with pytest.raises(TimeoutError, match=r"fetching it for more than 0\.2 s"):
            fused.download(f"{web.url}/hangs", "x/f", timeout=0.2)
    finally:
        holder.kill()
        holder.wait()


def test_sizes_are_limited(web: Web, root: Path) -> None:
    for name in ("file", "endless"):
        with pytest.raises(DownloadError, match="max_size"):
            fused.download(f"{web.url}/{name}", "x/f", max_size="100KB")
    assert visible(root / "x") == [] and parts(root / "x") == []
    assert fused.download(f"{web.url}/file", "x/f", max_size="2MB")


def test_user_and_password_are_sent_and_not_shown(web: Web) -> None:
    url = web.url.replace("//", "//ann:se%20cret@")
    assert fused.download(f"{url}/password", "x/f")
    with pytest.raises(DownloadError) as refused:
        fused.download(f"{url}/missing?token=abc", "x/g")
    assert "se%20cret" not in str(refused.value) and "abc" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data.csv", "begin with http, https"), ("", "begin with"), ("ftp://x/y", "begin with"),
        ("http://", "no http or https address"), ("http://host/a b", "write them as %20"),
        ("http://host:99999/x", "port|Port"), ("http://[::1/x", "no address"), ("http://höst/x", "letters"),
        ("http://host/\r\nX: y", "control|spaces"), ("file://other/x", "file:///absolute"), ("file:x", "file:///"),
        ("s3://bucket", "bucket/key"), ("gs://", "bucket/key"), ("javascript:alert(1)", "begin with"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_asked(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fused.download(url, "x/f")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\0b"])
def test_destinations_stay_below_the_folder(path: str, web: Web) -> None:
    with pytest.raises(ValueError, match=r"leads out|not below|NUL"):
        fused.download(f"{web.url}/f", path)
    assert not web.asked


def test_wrong_types_are_said(web: Web) -> None:
    for arguments, says in (((3, "x"), "url is a text"), ((f"{web.url}/f", 3), "file_path is a text")):
        with pytest.raises(TypeError, match=says):
            fused.download(*arguments)  # type: ignore[arg-type]
    for keywords in ({"timeout": -1}, {"timeout": "x"}, {"max_size": "x"}):
        with pytest.raises(ValueError, match=r"timeout|max_size"):
            fused.download(f"{web.url}/f", "x", **keywords)  # type: ignore[arg-type]


def test_local_files_are_copied(tmp_path: Path, root: Path) -> None:
    source = tmp_path / "source file.csv"
    source.write_text("a,b")
    assert Path(fused.download(f"file://{str(source).replace(' ', '%20')}", "x/")).read_text() == "a,b"
    for path, says in (
        (tmp_path, "no regular file"),
        ("/dev/zero", "no regular file"),
        (tmp_path / "no", "No such file"),
    ):
        with pytest.raises(DownloadError, match=says):
            fused.download(f"file://{path}", "x/other")
    assert visible(root / "x") == ["source file.csv"]


def test_the_progress_is_shown_on_terminals_only(web: Web, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    fused.download(f"{web.url}/f", "x/a")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    shown = _download._Progress("a\x1bb")
    shown._began -= 2
    shown(50, 100)
    shown.end()
    assert "a?b [===============               ] 50% of 0.0 MB" in capsys.readouterr().err


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "fec0::1", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address: str) -> None:
    import ipaddress

    assert not _download_address.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    import ipaddress

    assert _download_address.is_public(ipaddress.ip_address(address))


@pytest.fixture
def public_web(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server at 127.0.0.2, which is taken for a public address here."""
    monkeypatch.setattr(_download_address, "is_public", lambda address: str(address) == "127.0.0.2")
    server = Web("127.0.0.2")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{port}/file", "http://localhost:{port}/file", "http://[::ffff:127.0.0.1]:{port}/f"]
)
def test_a_public_server_may_not_redirect_to_a_private_address(where: str, web: Web, public_web: Web) -> None:
    public_web.target = where.format(port=web.server_address[1])
    with pytest.raises(DownloadError, match=r"a public server redirects to .* is not a public address"):
        fused.download(f"{public_web.url}/to", "x/f")
    assert not web.asked
    web.target = f"{public_web.url}/file"
    assert fused.download(f"{web.url}/to", "x/f"), "the other way round is fine"


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "s3://bucket/key", "data:,x"])
def test_redirects_to_other_schemes_are_refused(where: str, web: Web, root: Path) -> None:
    web.target = where
    with pytest.raises(DownloadError, match="redirects to what cannot be downloaded"):
        fused.download(f"{web.url}/to", "x/f")
    assert visible(root / "x") == []


def test_in_a_function_on_a_server_private_addresses_are_refused(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fused._cache import place

    (tmp_path / "mount").mkdir()
    monkeypatch.setattr(place, "mount", lambda: tmp_path / "mount")

    class Run:
        def __init__(self) -> None:
            self.values: dict[str, Any] = {}

    monkeypatch.setattr("fused.context.get_global_context", lambda: Run())
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1, which is not a public address; functions on a server"):
        fused.download(f"{web.url}/f", "x/f")
    assert not web.asked
    monkeypatch.setenv("FUSED_DOWNLOAD_PRIVATE", "1")
    assert fused.download(f"{web.url}/f", "x/f") == f"{tmp_path}/mount/x/f"


def test_the_address_that_was_checked_is_the_one_that_is_asked(web: Web, public_web: Web, monkeypatch: Any) -> None:
    """A name that leads elsewhere the second time it is looked up (DNS rebinding)."""
    monkeypatch.setattr(_download_address, "only_public", lambda: True)
    monkeypatch.setattr(_download_http, "only_public", lambda: True)
    answers = iter(["127.0.0.2", "127.0.0.1", "127.0.0.1"])
    real = socket.getaddrinfo
    port = public_web.server_address[1]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real(next(answers), *a, **k))
    assert fused.download(f"http://rebinding.example:{port}/file", "x/f")
    assert public_web.asked["/file"] == 1
    with pytest.raises(DownloadError, match="not a public address"):
        fused.download(f"http://rebinding.example:{web.server_address[1]}/file", "x/g")
    assert not web.asked


def test_a_name_with_a_private_address_among_its_own_is_refused(public_web: Web, monkeypatch: Any) -> None:
    monkeypatch.setattr(_download_address, "only_public", lambda: True)
    monkeypatch.setattr(_download_http, "only_public", lambda: True)
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: [*real("127.0.0.2", *a, **k), *real("10.0.0.1", *a, **k)]
    )
    with pytest.raises(DownloadError, match=r"10\.0\.0\.1, which is not a public address"):
        fused.download(f"http://both.example:{public_web.server_address[1]}/file", "x/f")
    assert not public_web.asked
