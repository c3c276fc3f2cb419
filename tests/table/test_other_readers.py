"""The tables that our reads are tested on are plain GeoParquet: others find the same rows in them, and so do we."""

from __future__ import annotations

from pathlib import Path

import duckdb
import geopandas as gpd
import pyogrio
import pytest
import shapely

import fused
from tests.table.conftest import Made

BOX = (7.5, 46.5, 8.5, 47.5)


def test_geopandas_reads_the_box(plain: Made) -> None:
    files = sorted(Path(plain.url).glob("*.parquet"))
    near = gpd.pd.concat([gpd.read_parquet(file, bbox=BOX) for file in files])
    exact = near[near.intersects(shapely.box(*BOX))]
    assert list(exact["id"]) == list(fused.read_table(plain.url, bounds=BOX)["id"])


def test_duckdb_reads_the_box(plain: Made) -> None:
    query = (
        f"select id from read_parquet('{plain.url}/*.parquet') where bbox.xmin <= {BOX[2]} and bbox.xmax >= {BOX[0]} "
        f"and bbox.ymin <= {BOX[3]} and bbox.ymax >= {BOX[1]}"
    )
    near = {row[0] for row in duckdb.sql(query).fetchall()}
    assert near >= set(fused.read_table(plain.url, bounds=BOX)["id"])
    rows = duckdb.sql(f"select count(*) from read_parquet('{plain.url}/*.parquet')").fetchall()
    assert rows == [(4_000,)]


def test_gdal_reads_the_files_where_it_knows_parquet(plain: Made) -> None:
    if "Parquet" not in pyogrio.list_drivers():
        print("NOT TESTED: this GDAL has no Parquet driver")
        pytest.skip("this GDAL has no Parquet driver")
    frame = pyogrio.read_dataframe(Path(plain.url) / "0.parquet")
    assert len(frame) == len(fused.get_chunk_from_table(plain.url, "0", None))
