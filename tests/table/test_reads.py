"""Reads give exactly the rows that geopandas finds, whatever the file knows of its pages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

import fused
from tests.table.conftest import Made
from tests.table.make_table import chunk_row, polygons, sample_of, write_table


def random_boxes(count: int, seed: int = 5) -> list[tuple[float, float, float, float]]:
    random = np.random.default_rng(seed)
    boxes = []
    for _ in range(count):
        x, y = 8 + random.normal(0, 3), 47 + random.normal(0, 3)
        wide, high = 10 ** random.uniform(-4, 0.5, 2)
        boxes.append((x, y, x + wide, y + high))
    return boxes


def test_a_box_gives_the_rows_that_geopandas_finds(any_shape: Made) -> None:
    found = 0
    for box in random_boxes(120):
        wanted = any_shape.frame[any_shape.frame.intersects(shapely.box(*box))]
        read = fused.read_table(any_shape.url, bounds=box)
        assert list(read["id"]) == list(wanted["id"]), box
        found += len(wanted)
    assert found > 150


def test_rows_come_back_as_they_were_written(any_shape: Made) -> None:
    read = fused.read_table(any_shape.url)
    read["tags"] = [list(tags) for tags in read["tags"]]
    assert_geodataframe_equal(read, any_shape.frame, check_like=True)
    box = (7.0, 46.0, 9.0, 48.0)
    part = fused.read_table(any_shape.url, bounds=box)
    part["tags"] = [list(tags) for tags in part["tags"]]
    wanted = any_shape.frame[any_shape.frame.intersects(shapely.box(*box))].reset_index(drop=True)
    assert_geodataframe_equal(part, wanted, check_like=True)


def test_touching_counts_and_near_misses_do_not(tmp_path: Path) -> None:
    """Whole numbers, so that edges, corners and collinear lines meet exactly; GEOS is the judge."""
    random = np.random.default_rng(3)
    shapes: list[Any] = []
    for _ in range(1_500):
        points = random.integers(0, 12, (random.integers(3, 6), 2)).astype(float)
        kind = random.integers(0, 5)
        shape: Any = shapely.MultiPoint(points) if kind == 0 else shapely.LineString(points)
        if kind in (1, 2):
            shape = shapely.Polygon(points).convex_hull
        elif kind == 3:
            outer = shapely.box(*points[0], *(points[0] + random.integers(4, 9, 2)))
            shape = outer.difference(outer.buffer(-1, join_style="mitre"))
        shapes.append(shapely.GeometryCollection([shape]) if random.integers(0, 4) == 0 else shape)
    shapes += [shapely.Point(3.5, 3.5), shapely.GeometryCollection(), shapely.Polygon(), None]
    frame = gpd.GeoDataFrame({"id": np.arange(len(shapes))}, geometry=shapes, crs=4326)
    frame = write_table(frame, tmp_path / "t", files=1, chunks=2)
    for box in [(3, 3, 6, 5), (0, 0, 0, 12), (4, 4, 4, 4), (3.2, 3.2, 3.8, 3.8), (11, 11, 30, 30), (-5, -5, -1, -1)]:
        wanted = frame[frame.intersects(shapely.box(*box) if box[0] < box[2] and box[1] < box[3] else _thin(box))]
        assert list(fused.read_table(tmp_path / "t", bounds=box)["id"]) == list(wanted["id"]), box


def _thin(box: tuple[float, float, float, float]) -> Any:
    corners = [(box[0], box[1]), (box[2], box[3])]
    return shapely.Point(corners[0]) if corners[0] == corners[1] else shapely.LineString(corners)


def test_a_line_that_passes_a_corner_is_decided_exactly(tmp_path: Path) -> None:
    """Both lines round to the corner (1, 1) in doubles; only exact arithmetic tells them apart."""
    below = shapely.LineString([(0.0, 2.0 - 2**-51), (2.0, 0.0)])
    above = shapely.LineString([(0.0, 2.0 + 2**-50), (2.0, 0.0)])
    frame = gpd.GeoDataFrame({"id": [0, 1]}, geometry=[below, above], crs=4326)
    write_table(frame, tmp_path / "t", files=1, chunks=1)
    assert list(fused.read_table(tmp_path / "t", bounds=(1, 1, 5, 5))["id"]) == [1]
    assert sorted(fused.read_table(tmp_path / "t", bounds=(0.5, 0.5, 1, 1))["id"]) == [0]


CONDITIONS: list[tuple[Any, Any]] = [
    ([("height", ">", 20)], lambda f: f.height > 20),
    ([("height", ">=", 20), ("cls", "=", "shed")], lambda f: (f.height >= 20) & (f.cls == "shed")),
    ([("cls", "in", ["shed", "shop"])], lambda f: f.cls.isin(["shed", "shop"])),
    ([("cls", "not in", {"shed"})], lambda f: f.cls != "shed"),
    ([("note", "is null")], lambda f: f.note.isna()),
    ([("note", "is not null"), ("id", "<", 900)], lambda f: f.note.notna() & (f.id < 900)),
    ([("id", "!=", 7)], lambda f: f.id != 7),
    ([[("id", "<=", 3)], [("id", "==", 9)]], lambda f: (f.id <= 3) | (f.id == 9)),
    ([("id", "<", 10.5)], lambda f: f.id < 10.5),
    ([("height", "<", np.float64(5))], lambda f: f.height < 5),
]


@pytest.mark.parametrize(("where", "wanted"), CONDITIONS, ids=[str(pair[0]) for pair in CONDITIONS])
def test_a_condition_means_what_it_means_in_pandas(plain: Made, where: Any, wanted: Any) -> None:
    read = fused.read_table(plain.url, where=where, columns=["id"])
    assert list(read["id"]) == list(plain.frame[wanted(plain.frame)]["id"])
    box = (7.5, 46.5, 8.5, 47.5)
    inside = plain.frame.intersects(shapely.box(*box))
    read = fused.read_table(plain.url, bounds=box, where=where, columns=["id"])
    assert list(read["id"]) == list(plain.frame[wanted(plain.frame) & inside]["id"])


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ([("height", "~", 3)], "operators of a condition"),
        ([("height", ">", "tall")], "cannot be compared"),
        ([("height", ">", None)], "is null"),
        ([("storey", ">", 3)], "no column 'storey'"),
        (["height > 3"], "list of \\[column, op, value\\]"),
        ([("height", "in", 3)], "takes a list"),
        ([("height", ">", 1)] * 101, "100 terms"),
        ("{", "as JSON"),
    ],
)
def test_a_wrong_condition_is_told(plain: Made, where: Any, says: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        fused.read_table(plain.url, where=where)


def test_columns_come_in_the_order_asked_for(plain: Made) -> None:
    read = fused.read_table(plain.url, bounds=(7, 46, 9, 48), columns=["cls", "geometry", "id"])
    assert list(read.columns) == ["cls", "geometry", "id"]
    assert isinstance(fused.read_table(plain.url, columns=["cls"]), pd.DataFrame)
    assert "bbox" not in fused.read_table(plain.url).columns
    assert "bbox" in fused.read_table(plain.url, columns=["bbox", "id"]).columns
    with pytest.raises(FileNotFoundError, match=r"no column 'hieght'; 0.parquet has id, height"):
        fused.read_table(plain.url, bounds=(100, 0, 101, 1), columns=["hieght"])
    with pytest.raises(TypeError, match=r"\['cls'\]"):
        fused.read_table(plain.url, columns="cls")


def test_other_frames(plain: Made) -> None:
    box = (7, 46, 9, 48)
    rows = len(fused.read_table(plain.url, bounds=box))
    arrow = fused.read_table(plain.url, bounds=box, as_="pyarrow")
    assert arrow.num_rows == rows and b"geo" in arrow.schema.metadata
    assert fused.read_table(plain.url, bounds=box, as_="polars").height == rows
    with pytest.raises(ValueError, match="'pandas'"):
        fused.read_table(plain.url, as_="pandas")  # type: ignore[arg-type]


def test_bounds_may_be_a_geometry_or_a_frame(plain: Made) -> None:
    box = shapely.box(7, 46, 9, 48)
    wanted = list(fused.read_table(plain.url, bounds=box.bounds)["id"])
    assert list(fused.read_table(plain.url, bounds=box)["id"]) == wanted
    frame = gpd.GeoDataFrame(geometry=[box], crs=4326)
    assert list(fused.read_table(plain.url, bounds=frame)["id"]) == wanted


@pytest.mark.parametrize("bounds", [(1, 2, 3), (math.nan, 0, 1, 1), (0, 5, 1, 1), "here", (200, 0, 190, 1)])
def test_wrong_bounds_are_told(plain: Made, bounds: Any) -> None:
    with pytest.raises(ValueError, match="bounds"):
        fused.read_table(plain.url, bounds=bounds)


def test_a_box_over_the_antimeridian(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": range(4)}, geometry=gpd.points_from_xy([179, -179, 0, 170], [0, 0, 0, 0]), crs=4326)
    write_table(frame, tmp_path / "t", files=1, chunks=2)
    assert sorted(fused.read_table(tmp_path / "t", bounds=(175, -5, -175, 5))["id"]) == [0, 1]


def test_too_many_rows_are_an_error_not_a_part(plain: Made) -> None:
    with pytest.raises(ValueError, match="smaller box"):
        fused.read_table(plain.url, rows_max=100)
    assert len(fused.read_table(plain.url, rows_max=4_000)) == 4_000


def test_chunk_metadata_has_one_row_a_chunk(plain: Made, tmp_path: Path) -> None:
    chunks = fused.get_chunks_metadata(plain.url)
    assert len(chunks) == 12 and chunks.crs == "EPSG:4326" and chunks["num_rows"].sum() == 4_000
    for suffix in ("/_sample", "/_metadata", "/"):
        assert_geodataframe_equal(fused.get_chunks_metadata(plain.url + suffix), chunks)
    first = chunks.iloc[0]
    assert first.geometry.bounds == (first.bbox_minx, first.bbox_miny, first.bbox_maxx, first.bbox_maxy)
    write_table(polygons(500), tmp_path / "old", version="4")
    assert len(fused.get_chunks_metadata(str(tmp_path / "old"))) == 12
    assert len(fused.read_table(tmp_path / "old")) == 500


def test_a_chunk_is_a_row_group(plain: Made) -> None:
    chunks = fused.get_chunks_metadata(plain.url)
    parts = [fused.get_chunk_from_table(plain.url, row.file_id, row.chunk_id) for row in chunks.itertuples()]
    assert [len(part) for part in parts] == list(chunks["num_rows"])
    assert list(pd.concat(parts)["id"]) == list(plain.frame["id"])
    assert all(part.crs == "EPSG:4326" for part in parts)
    assert list(fused.get_chunk_from_table(plain.url, 0, 1, ["geometry"]).columns) == ["geometry"]
    assert len(fused.get_chunk_from_table(plain.url, "1", None)) == chunks[chunks.file_id == "1"]["num_rows"].sum()
    assert len(fused.get_chunk_from_table(plain.url + "/2.parquet", None, None)) > 0


def test_what_is_missing_is_named_with_what_there_is(plain: Made, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file 'zz'; it has 3 files: 0 1 2"):
        fused.get_chunk_from_table(plain.url, "zz", 0)
    with pytest.raises(FileNotFoundError, match=r"no chunk 9 .* 0 … 3"):
        fused.get_chunk_from_table(plain.url, "0", 9)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        fused.get_chunks_metadata(str(tmp_path / "nothing"))
    (tmp_path / "some.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"folder holds some\.txt"):
        fused.read_table(tmp_path)
    with pytest.raises(ValueError, match="not the id of a file"):
        fused.get_chunk_from_table(plain.url, "../plain/0", 0)
    with pytest.raises(ValueError, match="ftp://"):
        fused.read_table("ftp://somewhere/table")


def test_a_replaced_table_is_seen_at_the_next_read(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    write_table(polygons(300, seed=1), folder)
    assert len(fused.read_table(folder)) == 300
    write_table(polygons(200, seed=2), folder)
    assert len(fused.read_table(folder)) == 200
    assert len(fused.read_table(folder, bounds=(-180, -90, 180, 90), columns=["id"])) < 200


def test_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "_sample").write_bytes(sample_of([]))
    assert len(fused.get_chunks_metadata(str(tmp_path))) == 0
    assert len(fused.read_table(tmp_path)) == 0


def test_a_chunk_without_geometry_is_in_the_table_and_in_no_box(tmp_path: Path) -> None:
    frame = polygons(100)
    write_table(frame, tmp_path, files=1, chunks=2)
    row = chunk_row(frame, "0", 0)
    nothing = {side: math.nan for side in row if side.startswith("bbox")}
    (tmp_path / "_sample").write_bytes(sample_of([row | nothing | {"num_rows": 50}]))
    assert fused.get_chunks_metadata(str(tmp_path)).geometry.isna().all()
    assert len(fused.read_table(tmp_path)) == 50
    assert len(fused.read_table(tmp_path, bounds=(-180, -90, 180, 90))) == 0


def test_the_sample_that_we_write_is_as_the_reference_describes(tmp_path: Path) -> None:
    import base64
    import io

    import pyarrow.parquet as pq

    from fused import _native

    rows = [("a", 0, (1.0, 2.0, 3.0, 4.0), 0.5, 1.5, 40, 10), ("a", 1, (3.0, 2.0, 5.0, 4.0), 0.5, 1.5, 40, 11)]
    (tmp_path / "_sample").write_bytes(bytes(_native.sample_bytes(rows)))
    metadata = pq.read_schema(tmp_path / "_sample").metadata
    assert metadata[b"fused:format_version"] == b"5"
    chunks = pq.read_table(io.BytesIO(base64.b64decode(metadata[b"fused:_metadata"]))).to_pandas()
    assert list(chunks["num_rows"]) == [10, 11] and list(chunks["bbox_maxx"]) == [3.0, 5.0]
    assert list(fused.get_chunks_metadata(str(tmp_path))["chunk_id"]) == [0, 1]
