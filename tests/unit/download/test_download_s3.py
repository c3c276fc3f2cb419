"""``fused.download`` of objects, from a real store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fused
from fused import _download_address
from fused._download import DownloadError
from tests.object_store import KEYS, ObjectStore

CONTENT = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    running = ObjectStore(tmp_path_factory.mktemp("objects"))
    running.start()
    running.put("bucket/folder/data.bin", CONTENT)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def signed_in(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": store.endpoint}.items():
        monkeypatch.setenv(name, value)


def test_an_object_is_fetched_once(store: ObjectStore, root: Path) -> None:
    path = fused.download("s3://bucket/folder/data.bin", "s3/")
    assert path == str(root / "s3" / "data.bin") and Path(path).read_bytes() == CONTENT
    before = os.stat(path)
    assert fused.download("s3://bucket/folder/data.bin", "s3/") == path
    assert os.stat(path).st_ino == before.st_ino
    store.put("bucket/folder/other.bin", b"other")
    assert fused.download("s3://bucket/folder/other.bin", "s3/data.bin") == path, "another address: anew"
    assert Path(path).read_bytes() == b"other"


def test_of_many_processes_one_fetches(root: Path) -> None:
    code = (
        "import fused, fused._download as d\nfetch = d._fetch\n"
        "def counted(*given):\n    print('fetched', flush=True)\n    return fetch(*given)\nd._fetch = counted\n"
        "fused.download('s3://bucket/folder/data.bin', 'many/data.bin')\n"
    )
    callers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = "".join(caller.communicate(timeout=120)[0] for caller in callers)
    assert [caller.returncode for caller in callers] == [0] * 8
    assert said.count("fetched") == 1 and (root / "many/data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "keywords", "says"),
    [
        ("s3://bucket/none.bin", {}, "there is no such object"),
        ("s3://no-such-bucket/none.bin", {}, "check bucket, key and credentials|no such object"),
        ("s3://bucket/folder", {}, "there is no such object"),
        ("s3://bucket/folder/data.bin", {"max_size": "1MB"}, "3000000 bytes; max_size allows 1048576"),
    ],
)
def test_what_cannot_be_had_says_why(url: str, keywords: dict[str, str], says: str, root: Path) -> None:
    with pytest.raises(DownloadError, match=says) as raised:
        fused.download(url, "wrong/file", **keywords)
    assert url in str(raised.value) and not [each for each in (root / "wrong").iterdir() if each.name == "file"]


def test_wrong_keys_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(DownloadError, match="credentials"):
        fused.download("s3://bucket/folder/data.bin", "signed/file")


def test_a_store_that_is_not_there_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match=re.escape("s3://bucket/folder/data.bin")):
        fused.download("s3://bucket/folder/data.bin", "away/file")


def test_in_a_function_an_address_may_not_name_a_store_of_its_own(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fused._download.only_public", lambda: True)
    address = store.endpoint.removeprefix("http://").replace(":", "%3A")
    with pytest.raises(DownloadError, match="--s3-endpoint"):
        fused.download(f"s3://key:secret@bucket/folder/data.bin?endpoint_override={address}&scheme=http", "own/file")
    assert _download_address.only_public() is False, "outside of functions"
