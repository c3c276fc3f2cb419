"""Every format gives the table that geopandas reads of it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import shapely

import fused
from tests.ingest.conftest import Make, same_rows


def small(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.iloc[:400]


def zipped_shape(frame: gpd.GeoDataFrame, path: Path) -> None:
    frame.to_file(path.with_suffix(".shp"))
    with zipfile.ZipFile(path, "w") as archive:
        for part in path.parent.glob(f"{path.stem}.*"):
            if part.suffix != ".zip":
                archive.write(part, part.name)


WRITERS: dict[str, Callable[[gpd.GeoDataFrame, Path], None]] = {
    "a.gpkg": lambda frame, path: frame.to_file(path),
    "a.fgb": lambda frame, path: frame.to_file(path),
    "a.shp": lambda frame, path: frame.to_file(path),
    "a.zip": zipped_shape,
    "a.geojson": lambda frame, path: frame.to_file(path),
    "a.geojsonl": lambda frame, path: frame.to_file(path, driver="GeoJSONSeq"),
    "a.gml": lambda frame, path: frame.to_file(path, driver="GML"),
    "a.gdb": lambda frame, path: frame.to_file(path, driver="OpenFileGDB"),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_what_gdal_reads(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](small(frame), path)
    read = gpd.read_file(path)
    made = make(path)
    same_rows(read, made.rows)
    assert made.rows.crs.to_epsg() == 4326


def test_kml_and_gpx(make: Make, tmp_path: Path) -> None:
    points = gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=gpd.points_from_xy([1, 2], [3, 4]), crs=4326)
    points.to_file(tmp_path / "a.kml", driver="KML")
    assert sorted(make(tmp_path / "a.kml").rows.Name) == ["a", "b"]
    points.to_file(tmp_path / "a.gpx", driver="GPX", layer="waypoints")
    assert sorted(make(tmp_path / "a.gpx").rows.name) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["WKB", "geoarrow"])
@pytest.mark.parametrize("kind", ["parquet", "feather", "arrows"])
def test_parquet_and_arrow(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame, kind: str, encoding: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        frame.to_parquet(path, geometry_encoding=encoding, row_group_size=700)
    elif kind == "feather" and encoding == "WKB":
        frame.to_feather(path)
    else:
        table = pa.table(frame.to_arrow(index=False, geometry_encoding=encoding))
        if kind == "feather":
            pa.feather.write_feather(table, path)
        else:
            with pa.ipc.new_stream(path, table.schema) as out:
                out.write_table(table)
    same_rows(frame, make(path).rows)


SHAPES = {
    "point": ["POINT (1 2)", "POINT (3 4)"],
    "linestring": ["LINESTRING (0 0, 1 1, 2 0)", "LINESTRING (5 5, 6 6)"],
    "polygon": ["POLYGON ((0 0, 4 0, 4 4, 0 0), (1 0.5, 2 0.5, 2 1, 1 0.5))", "POLYGON ((9 9, 10 9, 9 10, 9 9))"],
    "multipoint": ["MULTIPOINT ((1 2), (3 4))", "MULTIPOINT ((5 6))"],
    "multilinestring": ["MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))", "MULTILINESTRING ((5 5, 6 6))"],
    "multipolygon": ["MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((9 9, 10 9, 9 10, 9 9)))", "MULTIPOLYGON EMPTY"],
    "point z": ["POINT Z (1 2 3)", "POINT Z (4 5 6)"],
    "polygon z": ["POLYGON Z ((0 0 1, 4 0 2, 4 4 3, 0 0 1))", "POLYGON Z ((0 0 1, 4 0 2, 4 4 3, 0 0 1))"],
}


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_geoarrow_encodings(make: Make, tmp_path: Path, shape: str, interleaved: bool) -> None:
    geometry = shapely.from_wkt(np.array([*SHAPES[shape], *SHAPES[shape]]))
    frame = gpd.GeoDataFrame({"id": range(4)}, geometry=geometry, crs=4326)
    table = pa.table(frame.to_arrow(index=False, geometry_encoding="geoarrow", interleaved=interleaved))
    pa.feather.write_feather(table, tmp_path / "a.arrow")
    rows = make(tmp_path / "a.arrow").rows.sort_values("id")
    assert list(rows.geometry.to_wkt()) == list(frame.geometry.to_wkt())


def test_several_geometry_columns_the_primary_one_counts(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    two = small(frame).assign(centre=small(frame).geometry.representative_point())
    two["centre"] = gpd.GeoSeries(two["centre"].to_numpy(), index=two.index).set_crs(3857, allow_override=True)
    two.to_parquet(tmp_path / "two.parquet")
    rows = make(tmp_path / "two.parquet").rows.sort_values("id")
    assert rows.geometry.name == "geometry"
    assert rows["centre"].crs.to_epsg() == 3857
    assert (rows["centre"].to_wkb().to_numpy() == two["centre"].to_wkb().to_numpy()).all()


def test_other_crs_are_projected_and_axes_are_right(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    part = small(frame)
    for epsg in (3857, 2056, 4267):
        moved = part.cx[6:10, 45:48] if epsg == 2056 else part
        moved = moved.to_crs(epsg)
        path = tmp_path / f"{epsg}.gpkg"
        if len(moved) == 0:
            continue
        moved.to_file(path)
        moved.to_parquet(path.with_suffix(".parquet"))
        back = moved.to_crs(4326).sort_values("id")
        for each in (path, path.with_suffix(".parquet")):
            made = make(each)
            assert "projected from" in repr(made.result)
            assert ("its datum" in repr(made.result)) == (epsg != 3857)
            rows = made.rows.sort_values("id")
            assert rows.crs.to_epsg() == 4326
            assert np.allclose(rows.geometry.bounds.to_numpy(), back.geometry.bounds.to_numpy(), atol=1e-9)


def test_z_and_m_are_kept(make: Make) -> None:
    wkt = ["POINT ZM (1 2 3 4)", "LINESTRING M (0 0 1, 1 1 2)", "POLYGON Z ((0 0 1, 1 0 1, 1 1 1, 0 0 1))"]
    frame = gpd.GeoDataFrame({"id": range(3)}, geometry=shapely.from_wkt(wkt), crs=4326)
    rows = make(frame).rows.sort_values("id")
    assert list(rows.geometry.to_wkt()) == list(frame.geometry.to_wkt())


def test_invalid_geometries_are_kept_as_they_are(make: Make) -> None:
    bow = shapely.from_wkt("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))")
    rows = make(gpd.GeoDataFrame({"id": [0]}, geometry=[bow], crs=4326)).rows
    assert shapely.to_wkb(rows.geometry.iloc[0]) == shapely.to_wkb(bow)


def write_csv(path: Path, rows: int = 3_000) -> pd.DataFrame:
    random = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "id": range(rows),
            "Lon": random.uniform(-20, 20, rows).round(5),
            "lat": random.uniform(-20, 20, rows).round(5),
            "text": random.choice(["a", "b,c", 'd "e"'], rows),
        }
    )
    table.to_csv(path, index=False)
    return table


@pytest.mark.parametrize("quoted", [True, False])
def test_csv_with_open_options(make: Make, tmp_path: Path, quoted: bool) -> None:
    path = tmp_path / "points.csv"
    table = write_csv(path)
    if not quoted:
        table["text"] = "plain"
        table.to_csv(path, index=False)
    options = {"X_POSSIBLE_NAMES": "longitude,lon", "Y_POSSIBLE_NAMES": "LAT*"}
    rows = make(path, gdal_config={"open_options": options}).rows.sort_values("id")
    assert list(rows.text) == list(table.text)
    assert np.array_equal(rows.geometry.x, table.Lon)
    assert np.array_equal(rows.geometry.y, table.lat)
    dropped = make(path, gdal_config={"open_options": {**options, "KEEP_GEOM_COLUMNS": "NO"}}).rows
    assert list(dropped.columns) == ["id", "text", "geometry"]
    assert list(make(path, lonlat_cols=("Lon", "lat"), schema="id:string").rows.id.sort_values())[:2] == ["0", "1"]
    with pytest.raises(ValueError, match=r"points\.csv"):
        make(path)


def test_large_csv_is_read_in_pieces_and_nothing_is_lost(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    count = 300_000
    table = pd.DataFrame({"id": range(count), "x": np.linspace(-170, 170, count), "y": np.linspace(-80, 80, count)})
    table.to_csv(path, index=False)
    assert path.stat().st_size > 12 << 20
    rows = make(path, lonlat_cols=("x", "y")).rows.sort_values("id")
    assert np.array_equal(rows.id, table.id)
    assert np.array_equal(rows.geometry.x, table.x)


def test_a_list_a_pattern_and_columns_that_some_files_lack(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    first, second = frame.iloc[:100], frame.iloc[100:250].drop(columns="label")
    first.to_parquet(tmp_path / "1.parquet")
    second.to_file(tmp_path / "2.gpkg")
    rows = make([tmp_path / "1.parquet", str(tmp_path / "2.gpkg")]).rows
    assert len(rows) == 250
    assert rows[rows.id >= 100].label.isna().all()
    assert make(f"{tmp_path}/*.parquet").result.rows == 100


def test_layers_are_chosen_not_guessed(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    path = tmp_path / "two.gpkg"
    frame.iloc[:10].to_file(path, layer="first")
    frame.iloc[10:15].to_file(path, layer="second")
    with pytest.raises(ValueError, match=r"it has 2 layers \('first', 'second'\); choose one"):
        make(path)
    assert make(path, gdal_config={"layer": "second"}).result.rows == 5
    assert make(path, gdal_config=fused.models.GDALOpenConfig(layer=0)).result.rows == 10
    with pytest.raises(ValueError, match=r"there is no layer 'third'; it has 'first', 'second'"):
        make(path, gdal_config={"layer": "third"})


def test_columns_of_every_type_come_back(make: Make, tmp_path: Path) -> None:
    import datetime

    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int16()),
            "flag": [True, None, False],
            "when": pa.array(
                [datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), None, None], pa.timestamp("us", "UTC")
            ),
            "day": pa.array([datetime.date(2024, 1, 2)] * 3),
            "tags": pa.array([["a", "b"], [], None]),
            "props": pa.array([{"k": 1, "l": [1.5]}, None, {"k": None, "l": None}]),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "money": pa.array([1, 2, None], pa.decimal128(10, 2)),
            "raw": pa.array([b"\x00", None, b"\xff"]),
            "nothing": pa.nulls(3),
            "geometry": pa.array(list(shapely.to_wkb(shapely.points([[1, 2], [3, 4], [5, 6]])))),
        }
    )
    geo = (
        b'{"version":"1.1.0","primary_column":"geometry","columns":{"geometry":{"encoding":"WKB","geometry_types":[]}}}'
    )
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), tmp_path / "types.parquet")
    made = make(tmp_path / "types.parquet", target_num_chunks=1, partitioning_force_utm=None)
    back = pa.concat_tables([file.read() for file in made.files()]).sort_by("id").drop_columns(["bbox"])
    expected = table.set_column(6, "kind", table["kind"].cast(pa.string()))
    assert back.replace_schema_metadata(None).equals(expected.replace_schema_metadata(None))


def test_the_table_is_plain_geoparquet_for_others(make: Make, frame: gpd.GeoDataFrame) -> None:
    import duckdb

    made = make()
    found = duckdb.sql(f"select count(*), min(id) from read_parquet('{made.folder}/*.parquet')").fetchall()
    assert found == [(5_000, 0)]
    file = made.files()[0]
    assert file.metadata.num_row_groups == (made.chunks.file_id == "0").sum()
    column = file.metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert column.has_column_index and column.has_offset_index
    assert column.statistics.has_min_max
