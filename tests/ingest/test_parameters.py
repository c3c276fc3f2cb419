"""Each parameter of ``fused.ingest``: what it does, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import fused
from tests.ingest.conftest import Make, same_rows

pytestmark = pytest.mark.filterwarnings("ignore:Geometry is in a geographic CRS")


def zones(frame: gpd.GeoDataFrame) -> set[tuple[int, bool]]:
    centres = frame.geometry.centroid
    return set(zip(((centres.x + 180) // 6).astype(int), centres.y >= 0, strict=True))


def test_output_metadata_has_a_row_and_a_box_for_each_chunk(make: Make, tmp_path: Path) -> None:
    made = make(output_metadata=str(tmp_path / "fused"))
    table = gpd.read_parquet(tmp_path / "fused")
    chunks = made.chunks
    assert table.crs.to_epsg() == 4326
    assert set(chunks.columns) <= set(table.columns)
    pd.testing.assert_frame_equal(
        pd.DataFrame(table.drop(columns="geometry")), pd.DataFrame(chunks.drop(columns="geometry")), check_dtype=False
    )
    assert (table.geometry.bounds.to_numpy() == chunks.geometry.bounds.to_numpy()).all()


def test_an_output_named_as_a_file_url_is_the_folder_and_is_made(tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    wanted = tmp_path / "new" / "deep" / "table"
    made = fused.ingest(frame.iloc[:20], output=f"file://{wanted}").run_local()
    assert made.output == str(wanted) and (wanted / "_sample").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"], "nothing else is left"


def test_schema_casts_and_an_impossible_cast_names_row_and_column(make: Make, tmp_path: Path) -> None:
    made = make(schema="height:float32 id:string")
    assert made.files()[0].schema_arrow.field("height").type == pa.float32()
    assert made.files()[0].schema_arrow.field("id").type == pa.string()
    frame = gpd.GeoDataFrame({"n": ["1", "2", "x3"]}, geometry=gpd.points_from_xy([1, 2, 3], [1, 2, 3]), crs=4326)
    frame.to_parquet(tmp_path / "n.parquet")
    with pytest.raises(ValueError, match=r"n\.parquet: column 'n', row 2: large_string cannot become int64.*x3"):
        make(tmp_path / "n.parquet", schema={"n": "int64"})
    assert list(make(tmp_path / "n.parquet").rows.n) == ["1", "2", "x3"]


def test_file_suffix_chooses_files_of_a_folder(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    frame.iloc[:100].to_parquet(folder / "a.parquet")
    frame.iloc[100:150].to_parquet(folder / "deep" / "b.parquet")
    frame.iloc[150:160].to_file(folder / "c.geojson")
    frame.iloc[160:170].to_parquet(folder / "_hidden.parquet")
    frame.iloc[170:180].to_parquet(folder / ".hidden.parquet")
    assert make(folder).result.rows == 160
    assert make(folder, file_suffix=".parquet").result.rows == 150
    assert make(folder, file_suffix="b.parquet").result.rows == 50
    with pytest.raises(FileNotFoundError, match=r"holds no file whose name ends with '\.shp'"):
        make(folder, file_suffix=".shp")


def test_load_columns_and_remove_cols(make: Make) -> None:
    assert list(make(load_columns=["label"]).rows.columns) == ["label", "geometry"]
    assert list(make(remove_cols=["label", "height"]).rows.columns) == ["id", "geometry"]
    with pytest.raises(ValueError, match=r"load_columns names 'labels'; the input has .*'label'"):
        make(load_columns=["labels"])
    with pytest.raises(ValueError, match="remove_cols names 'geometry', the geometry"):
        make(remove_cols=["geometry"])
    with pytest.raises(ValueError, match="load_columns and remove_cols both name 'id'"):
        make(load_columns=["id"], remove_cols=["id"])


def test_explode_geometries_makes_a_row_of_each_part(make: Make) -> None:
    shapes = [
        shapely.from_wkt("MULTIPOINT ((1 2), (3 4))"),
        shapely.from_wkt("POINT (5 6)"),
        shapely.from_wkt("GEOMETRYCOLLECTION (POINT (1 1), LINESTRING (0 0, 1 1), MULTIPOINT ((7 7), (8 8)))"),
        shapely.from_wkt("MULTIPOLYGON EMPTY"),
        None,
    ]
    frame = gpd.GeoDataFrame({"id": range(5)}, geometry=shapes, crs=4326)
    assert make(frame).result.rows == 5
    rows = make(frame, explode_geometries=True).rows
    assert sorted(rows.id) == [0, 0, 1, 2, 2, 2, 2, 3, 4]
    assert set(rows[rows.id == 0].geometry.to_wkt()) == {"POINT (1 2)", "POINT (3 4)"}


def test_drop_out_of_bounds(make: Make) -> None:
    frame = gpd.GeoDataFrame(
        {"id": range(4)}, geometry=gpd.points_from_xy([10, 200, -180, 10], [10, 10, 90, -91]), crs=4326
    )
    made = make(frame)
    assert sorted(made.rows.id) == [0, 2]
    assert made.result.summary["out_of_bounds"] == 2
    assert "2 rows lie outside" in repr(made.result)
    assert make(frame, drop_out_of_bounds=False).result.rows == 4
    far = frame.set_geometry(gpd.points_from_xy([5e5] * 4, [5e6] * 4)).set_crs(4326)
    with pytest.raises(ValueError, match=r"all 4 rows lie outside of the world's bounds.*drop_out_of_bounds=False"):
        make(far)


@pytest.mark.parametrize("method", ["rows", "area", "length", "coords"])
def test_maxima_of_every_partitioning_method(make: Make, frame: gpd.GeoDataFrame, method: str) -> None:
    per_row = {
        "rows": pd.Series(1.0, frame.index),
        "area": frame.geometry.area,
        "length": frame.geometry.length,
        "coords": frame.geometry.count_coordinates().astype(float),
    }[method]
    chunk_max, file_max = per_row.sum() / 37, per_row.sum() / 6
    made = make(
        partitioning_method=method, partitioning_maximum_per_chunk=chunk_max, partitioning_maximum_per_file=file_max
    )
    column = {"rows": "num_rows", "area": "sum_area", "length": "sum_length", "coords": "num_coords"}[method]
    chunks = made.chunks
    assert chunks[column].max() <= chunk_max * (1 + 1e-6)
    assert chunks.groupby("file_id")[column].sum().max() <= file_max * (1 + 1e-6)
    assert len(chunks) >= 37
    same_rows(frame, made.rows)


def test_a_method_that_measures_nothing_is_said(make: Make) -> None:
    points = gpd.GeoDataFrame({"id": [1]}, geometry=gpd.points_from_xy([1], [1]), crs=4326)
    with pytest.raises(ValueError, match="partitioning_method is 'area', but no geometry has any area"):
        make(points, partitioning_method="area")


def test_without_maxima_a_hundred_chunks_and_ten_files_are_aimed_at(make: Make) -> None:
    summary = make(partitioning_force_utm=None).result.summary
    assert summary["maximum_per_chunk"] == 50
    assert summary["maximum_per_file"] == 500
    assert summary["chunks"] >= 100
    few = make(target_num_chunks=10, partitioning_force_utm=None).result.summary
    assert few["maximum_per_chunk"] == 500
    assert few["chunks"] < summary["chunks"]


def test_ratio_limits_hold_for_boxes_of_centroids(make: Make) -> None:
    loose = make(partitioning_max_width_ratio=100, partitioning_max_height_ratio=100)
    tight = make(partitioning_max_width_ratio=1.5, partitioning_max_height_ratio=3)
    assert len(tight.chunks) > len(loose.chunks)
    kept = 0
    for rows in tight.chunk_rows():
        west, south, east, north = rows.geometry.centroid.total_bounds
        wide, high = east - west, north - south
        # The partition works on steps of a ten-millionth of a degree.
        kept += min(wide, high) == 0 or (wide <= 1.5 * high + 1e-6 and high <= 3 * wide + 1e-6)
    assert kept >= 0.95 * len(tight.chunks)  # the others would not come nearer by halving
    with pytest.raises(ValueError, match=r"max_width_ratio and partitioning_max_height_ratio contradict"):
        make(partitioning_max_width_ratio=0.5, partitioning_max_height_ratio=0.5)


def test_utm_zones_are_kept_per_chunk_or_file(make: Make) -> None:
    assert all(len(zones(rows)) == 1 for rows in make().chunk_rows())
    by_file = make(partitioning_force_utm="file")
    assert all(len(zones(gpd.read_parquet(path))) == 1 for path in by_file.folder.glob("*.parquet"))
    assert any(len(zones(rows)) > 1 for rows in make(partitioning_force_utm=None).chunk_rows())


def test_median_fills_chunks_better_than_mean(make: Make) -> None:
    options = {"partitioning_max_width_ratio": 1e6, "partitioning_max_height_ratio": 1e6}
    mean = make(partitioning_split_method="mean", partitioning_force_utm=None, **options).chunks
    median = make(partitioning_split_method="median", partitioning_force_utm=None, **options).chunks
    assert median.num_rows.min() > mean.num_rows.min()
    assert median.num_rows.min() >= 20


def test_subdivide_divides_large_geometries_and_names_their_row(make: Make) -> None:
    frame = gpd.GeoDataFrame(
        {"id": [0, 1]}, geometry=[shapely.box(0, 0, 8, 8), shapely.box(20, 20, 20.1, 20.1)], crs=4326
    )
    made = make(frame, subdivide_method="area", subdivide_start=10, subdivide_stop=4)
    rows = made.rows
    parts = rows[rows.id == 0]
    assert len(parts) == 16
    assert (parts.original_row == 0).all()
    assert parts.geometry.area.max() <= 4
    assert np.isclose(parts.geometry.area.sum(), 64)
    assert list(rows[rows.id == 1].original_row) == [1]
    assert made.result.summary["subdivided"] == 1
    with pytest.raises(ValueError, match="subdivide_start is given without subdivide_method"):
        make(frame, subdivide_start=1)
    with pytest.raises(ValueError, match="subdivide_method is given without subdivide_start"):
        make(frame, subdivide_method="area")
    with pytest.raises(ValueError, match=r"subdivide_stop \(20.*at most subdivide_start \(10"):
        make(frame, subdivide_method="area", subdivide_start=10, subdivide_stop=20)


def test_split_identical_centroids(make: Make) -> None:
    frame = gpd.GeoDataFrame({"id": range(900)}, geometry=[shapely.Point(7, 50)] * 900, crs=4326)
    options = {"partitioning_maximum_per_chunk": 100, "partitioning_maximum_per_file": 300}
    assert make(frame, **options).chunks.num_rows.max() <= 100
    assert len(make(frame, split_identical_centroids=False, **options).chunks) == 1


def test_lonlat_cols_make_points(make: Make, tmp_path: Path) -> None:
    table = pa.table({"x": [1.5, 2.5, None], "y": [10, 20, 30], "v": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "points.parquet")
    rows = make(tmp_path / "points.parquet", lonlat_cols=("x", "y")).rows.sort_values("v")
    assert list(rows.geometry.to_wkt())[:2] == ["POINT (1.5 10)", "POINT (2.5 20)"]
    assert list(rows.geometry.isna()) == [False, False, True]
    assert list(rows.columns) == ["x", "y", "v", "geometry"]
    with pytest.raises(ValueError, match=r"no geometry column; name two columns of coordinates with lonlat_cols"):
        make(tmp_path / "points.parquet")
    with pytest.raises(ValueError, match=r"lonlat_cols names 'lon'"):
        make(tmp_path / "points.parquet", lonlat_cols=("lon", "lat"))


@pytest.mark.parametrize("row_memory", [None, 50_000])
def test_partitioning_schema_input_takes_given_boxes(
    make: Make, tmp_path: Path, frame: gpd.GeoDataFrame, row_memory: int | None
) -> None:
    first = make(partitioning_maximum_per_chunk=400)
    boxes = tmp_path / "boxes.parquet"
    first.chunks.to_parquet(boxes)
    settings = {} if row_memory is None else {"row_memory": row_memory}
    made = make(partitioning_schema_input=str(boxes), **settings)
    same_rows(frame, made.rows)
    assert len(made.chunks) <= len(first.chunks)
    assert len(made.chunks) > 0.7 * len(first.chunks)
    assert made.chunks.file_id.nunique() <= first.chunks.file_id.nunique()
    with pytest.raises(ValueError, match="has no column 'bbox_minx'"):
        fused.ingest(frame, str(tmp_path / "t"), partitioning_schema_input=str(make().folder / "0.parquet")).run_local()
    with pytest.raises(ValueError, match="partitioning_schema_input and partitioning_maximum_per_chunk contradict"):
        make(partitioning_schema_input=str(boxes), partitioning_maximum_per_chunk=10)


def test_write_covering_bbox(make: Make, frame: gpd.GeoDataFrame) -> None:
    made = make()
    box = (0, 0, 12, 30)
    found = gpd.read_parquet(made.folder, bbox=box)
    assert sorted(found.id) == sorted(frame[frame.intersects(shapely.box(*box))].id)
    assert "bbox" in made.files()[0].schema_arrow.names
    plain = make(write_covering_bbox=False)
    assert "bbox" not in plain.files()[0].schema_arrow.names
    same_rows(frame, plain.rows)


def test_overwrite_replaces_and_without_it_nothing_is_touched(
    make: Make, source: Path, frame: gpd.GeoDataFrame
) -> None:
    made = make(load_columns=["id"])
    before = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    with pytest.raises(FileExistsError, match="is not empty; overwrite=True"):
        fused.ingest(source, str(made.folder)).run_local()
    assert {path.name: path.read_bytes() for path in made.folder.iterdir()} == before
    fused.ingest(source, str(made.folder), overwrite=True, target_num_chunks=1).run_local()
    same_rows(frame, made.rows)
    (made.folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds what no table holds \('notes\.txt'\)"):
        fused.ingest(source, str(made.folder), overwrite=True).run_local()


def test_dry_run_says_what_would_be_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    result = fused.ingest(source, str(tmp_path / "out")).run_local(dry_run=True)
    assert result.rows == 5_000
    assert result.summary["chunks"] >= 100
    assert "would be written" in repr(result)
    assert list(tmp_path.iterdir()) == []
    made = fused.ingest(source, str(tmp_path / "out")).run_local()
    assert [(box[4], box[5]) for box in result.chunks] == [(box[4], box[5]) for box in made.chunks]
    for planned, true in zip(result.chunks, made.chunks, strict=True):  # centroids lie within the boxes of the shapes
        assert true[0] - 1e-6 <= planned[0] <= planned[2] <= true[2] + 1e-6
        assert true[1] - 1e-6 <= planned[1] <= planned[3] <= true[3] + 1e-6
    assert result._repr_html_().count("<rect") == len(made.chunks)
    spilled = fused.ingest(source, "out").run_local(dry_run=True, row_memory=20_000)
    assert [box[4] for box in spilled.chunks] == [box[4] for box in made.chunks]


def test_unknown_and_contradictory_arguments_are_named(source: Path) -> None:
    with pytest.raises(TypeError, match=r"no parameter 'target_num_chunk'.*did you mean 'target_num_chunks'"):
        fused.ingest(source, "out", target_num_chunk=3)
    with pytest.raises(ValueError, match=r"maximum_per_chunk .*and partitioning_maximum_per_file .*contradict"):
        fused.ingest(source, "out", partitioning_maximum_per_chunk=10, partitioning_maximum_per_file=5).run_local(
            dry_run=True
        )
    with pytest.raises(ValueError, match="partitioning_method is 'volume', allowed are 'rows', 'area'"):
        fused.ingest(source, "out", partitioning_method="volume").run_local(dry_run=True)
    with pytest.raises(ValueError, match="no output"):
        fused.ingest(source).run_local()
    with pytest.raises(ValueError, match=r"gdal_config has unknown keys \['layers'\]"):
        fused.ingest(source, "out", gdal_config={"layers": 1})


def test_the_configuration_travels_as_json(source: Path) -> None:
    config = fused.ingest(str(source), "out", schema="id:int64", lonlat_cols=("x", "y"), name="job")
    record = config.to_json()
    assert record["type"] == "partition_geospatial"
    assert record["gdal_config"] == {"open_options": {}, "layer": None}
    assert fused.models.GeospatialPartitionJobStepConfig.of_json(record).to_json() == record
    assert "polygons.parquet" in repr(config)
    assert "run_local" in config._repr_html_()


def test_rows_without_geometry_stand_in_chunks_of_their_own(make: Make) -> None:
    shapes = [shapely.Point(1, 1), None, shapely.from_wkt("POLYGON EMPTY"), shapely.Point(2, 2)]
    made = make(gpd.GeoDataFrame({"id": range(4)}, geometry=shapes, crs=4326))
    assert sorted(made.rows.id) == [0, 1, 2, 3]
    lost = made.chunks[made.chunks.bbox_minx.isna()]
    assert lost.num_rows.sum() == 2
    assert made.result.summary["without_geometry"] == 2


def test_pictures(make: Make, tmp_path: Path) -> None:
    made = make()
    made.result.plot(str(tmp_path / "map.png"))
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert made.result._repr_html_().count("<rect") == len(made.chunks)


def test_every_parameter_stands_in_the_reference() -> None:
    from inspect import signature

    text = (Path(__file__).resolve().parents[2] / "docs/reference/ingest.md").read_text()
    missing = [name for name in signature(fused.ingest).parameters if name != "unknown" and f"| `{name}` |" not in text]
    assert not missing
