"""``table_to_tile``: rows from its zoom on, chunks before."""

from __future__ import annotations

import geopandas as gpd
import pytest
import shapely

from fused.tables import estimate_zoom, table_to_tile
from tests.table.conftest import Made

BOX = (7.9, 46.9, 8.1, 47.1)


def test_from_min_zoom_on_it_reads_rows(plain: Made) -> None:
    rows = table_to_tile(BOX, plain.url, min_zoom=8)
    assert list(rows.columns) == ["geometry"]
    assert len(rows) == plain.frame.intersects(shapely.box(*BOX)).sum() > 0
    assert list(table_to_tile(BOX, plain.url, 0, use_columns=["id"]).columns) == ["id", "geometry"]


def test_before_it_shows_chunks(plain: Made) -> None:
    chunks = table_to_tile(BOX, plain.url, min_zoom=15)
    assert {"file_id", "chunk_id"} <= set(chunks.columns) and len(chunks) > 0
    assert set(table_to_tile(BOX, plain.url, 20, centroid_zoom_offset=2).geom_type) == {"Point"}


def test_a_tile_tells_its_zoom(plain: Made) -> None:
    tile = gpd.GeoDataFrame({"x": [1], "y": [1], "z": [14]}, geometry=[shapely.box(*BOX)], crs=4326)
    assert "file_id" not in table_to_tile(tile, plain.url).columns
    assert "file_id" in table_to_tile(tile, plain.url, min_zoom=15).columns


def test_clipped_rows_stay_within_the_box(plain: Made) -> None:
    rows = table_to_tile(BOX, plain.url, 0, clip=True)
    assert len(rows) > 0 and shapely.box(*BOX).buffer(1e-9).covers(shapely.box(*rows.total_bounds))


def test_the_zoom_of_a_box() -> None:
    assert estimate_zoom((-180, -85, 180, 85)) == 0
    assert estimate_zoom((0, 0, 360 / 2**10, 0.1)) == 10
    with pytest.raises(ValueError, match="needs bounds"):
        table_to_tile(None, "x")
