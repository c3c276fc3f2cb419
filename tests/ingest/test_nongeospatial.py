"""Rows without geometry: files and chunks of bounded size, in the order of the input or of a column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fused


def rows_of(folder: Path) -> pa.Table:
    """The table's rows by its own chunk list."""
    parts = [
        pq.ParquetFile(folder / f"{chunk.file_id}.parquet").read_row_group(chunk.chunk_id)
        for chunk in fused.get_chunks_metadata(str(folder)).itertuples()
    ]
    return pa.concat_tables(parts)


@pytest.fixture
def table() -> pa.Table:
    random = np.random.default_rng(5)
    names = random.choice(["a", "b", "c", "d"], 10_000, p=[0.6, 0.2, 0.15, 0.05])
    names = [None if i % 501 == 0 else name for i, name in enumerate(names)]
    return pa.table({"id": range(10_000), "name": names, "v": random.random(10_000)})


def test_rows_keep_their_order_and_sizes_their_limits(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 6_000), tmp_path / "1.parquet")
    pa.csv.write_csv(table.slice(6_000), tmp_path / "2.csv")
    config = fused.ingest_nongeospatial(
        [str(tmp_path / "1.parquet"), str(tmp_path / "2.csv")],
        str(tmp_path / "out"),
        str(tmp_path / "chunks.parquet"),
        partitioning_maximum_per_file=3_000,
        partitioning_maximum_per_chunk=700,
    )
    assert config.to_json()["type"] == "partition_nongeospatial"
    result = config.run_local()
    assert (result.rows, result.summary["files"]) == (10_000, 4)
    assert rows_of(tmp_path / "out")["id"].to_pylist() == list(range(10_000))
    chunks = fused.get_chunks_metadata(str(tmp_path / "out"))
    assert chunks.num_rows.max() == 700 and chunks.groupby("file_id").num_rows.sum().max() == 3_000
    assert pq.read_table(tmp_path / "chunks.parquet")["num_rows"].to_pylist() == list(chunks.num_rows)
    first = fused.get_chunk_from_table(str(tmp_path / "out"), "0", 1, columns=["id"])
    assert list(first.id) == list(range(700, 1400))
    assert len(fused.read_table(tmp_path / "out", where=[("name", "=", "d")])) == table["name"].to_pylist().count("d")


def test_rows_are_ordered_by_a_column(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=1_000)
    fused.ingest_nongeospatial(tmp_path / "in.parquet", str(tmp_path / "out"), None, "name", 2_500, 1_000).run_local()
    made = rows_of(tmp_path / "out")
    wanted = table.take(pa.compute.sort_indices(table, [("name", "ascending", "at_end")]))
    assert made.equals(wanted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "out"]


def test_what_is_wrong_is_told(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "other.parquet")
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match=r"partition_col is 'nam'; the input has 'id', 'name', 'v'"):
        fused.ingest_nongeospatial(tmp_path / "in.parquet", out, partition_col="nam").run_local()
    with pytest.raises(ValueError, match=r"maximum_per_chunk \(20\) and partitioning_maximum_per_file \(10\) contra"):
        fused.ingest_nongeospatial("x", out, partitioning_maximum_per_file=10, partitioning_maximum_per_chunk=20)
    with pytest.raises(ValueError, match="columns do not fit together"):
        fused.ingest_nongeospatial([tmp_path / "in.parquet", tmp_path / "other.parquet"], out).run_local()
    with pytest.raises(ValueError, match="no output"):
        fused.ingest_nongeospatial(tmp_path / "in.parquet").run_local()
    with pytest.raises(ValueError, match="the input has no rows"):
        pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
        fused.ingest_nongeospatial(tmp_path / "none.parquet", out).run_local()
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "in.parquet").read_bytes()[:5000])
    with pytest.raises((ValueError, OSError), match=r"cut\.parquet"):
        fused.ingest_nongeospatial(tmp_path / "cut.parquet", out).run_local()
    fused.ingest_nongeospatial(tmp_path / "in.parquet", out).run_local()
    with pytest.raises(FileExistsError, match="overwrite"):
        fused.ingest_nongeospatial(tmp_path / "in.parquet", out).run_local()
    assert fused.ingest_nongeospatial(tmp_path / "in.parquet", out, overwrite=True).run_local().rows == 10_000
