"""``fused.tables.verify``: what is not as the chunk list or the bbox column says is named."""

from __future__ import annotations

import math
from pathlib import Path

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fused
from fused.tables import verify
from tests.table.make_table import polygons, sample_of, write_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(polygons(600), tmp_path, files=2, chunks=3)
    return tmp_path


def listed(folder: Path) -> list[dict[str, object]]:
    return fused.get_chunks_metadata(str(folder)).drop(columns="geometry").to_dict("records")


def test_a_sound_table_has_no_problems(folder: Path) -> None:
    found = verify(str(folder))
    assert (found.rows, found.chunks, found.files, found.problems) == (600, 6, 2, [])


def test_counts_boxes_and_order(folder: Path) -> None:
    rows = listed(folder)
    changed = [dict(row) for row in rows]
    changed[0]["num_rows"] = 7
    changed[1]["bbox_maxx"] = changed[1]["bbox_minx"]
    changed[2] |= {side: math.nan for side in changed[2] if str(side).startswith("bbox")}
    (folder / "_sample").write_bytes(sample_of(changed))
    said = verify(str(folder)).problems
    assert len(said) == 3
    assert "file 0, chunk 0: it has 100 rows, the chunk list says 7" in said[0]
    assert "out of its box" in said[1] and "has no box" in said[2]
    (folder / "_sample").write_bytes(sample_of([rows[1], rows[0], *rows[2:]]))
    assert "not from 0 in order" in verify(str(folder)).problems[0]
    (folder / "_sample").write_bytes(sample_of(rows[:-1]))
    assert verify(str(folder)).problems == ["file 1: it has more row groups than the 2 chunks of the list"]


def test_a_bbox_column_that_is_not_true(folder: Path) -> None:
    file = pq.ParquetFile(folder / "1.parquet")
    with pq.ParquetWriter(folder / "1.parquet.new", file.schema_arrow) as out:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            at = table.schema.get_field_index("bbox")
            boxes = table["bbox"].to_pylist()
            if group == 1:
                boxes[5]["xmax"] = boxes[5]["xmin"]
            column = pa.array(boxes, table.schema.field(at).type)
            out.write_table(table.set_column(at, table.schema.field(at), column))
    (folder / "1.parquet.new").rename(folder / "1.parquet")
    assert len(gpd.read_parquet(folder / "1.parquet")) == 300
    assert verify(str(folder)).problems == ["file 1, chunk 1: row 5 (and 0 others) reach out of their bbox"]


def test_damaged_pages_and_missing_files(folder: Path) -> None:
    data = bytearray((folder / "0.parquet").read_bytes())
    data[200:260] = bytes(60)
    (folder / "0.parquet").write_bytes(data)
    (folder / "1.parquet").unlink()
    said = verify(str(folder)).problems
    assert any("file 0, chunk 0" in each for each in said)
    assert sum("file 1" in each for each in said) == 3
