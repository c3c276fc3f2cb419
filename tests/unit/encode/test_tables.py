"""What pandas, geopandas, pyarrow, polars and csv read back from what we wrote."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from support import environment

from fused._worker.encode import NotSerialisable, encode

FEW = settings(max_examples=60, deadline=None)


def body(value, name, **others):
    return bytes(encode(value, [name], format_from="query", **others).body)


def parquet(value) -> io.BytesIO:
    return io.BytesIO(body(value, "parquet"))


def everything() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "bool": [True, False, True],
            "i8": np.array([1, -2, 3], "int8"),
            "u64": np.array([1, 2, 2**64 - 1], "uint64"),
            "f32": np.array([1.5, np.nan, -0.0], "float32"),
            "f64": [1.1, np.nan, np.inf],
            "text": ["a", None, "ü€😀"],
            "object text": pd.Series(["x", None, "z"], dtype=object),
            "string": pd.array(["a", None, "c"], dtype="string"),
            "time": pd.to_datetime(["2024-01-01T00:00:00", None, "1969-12-31T23:59:59.123456789"], format="ISO8601"),
            "zoned": pd.to_datetime(["2024-01-01", "2024-06-01", None]).tz_localize("Europe/Rome"),
            "offset": pd.to_datetime(["2024-01-01", "2024-06-01", None]).tz_localize(
                datetime.timezone(datetime.timedelta(hours=5))
            ),
            "delta": pd.to_timedelta(["1D", None, "-3.5s"]),
            "category": pd.Categorical(["u", None, "v"], categories=["v", "u"], ordered=True),
            "Int64": pd.array([1, None, 3], dtype="Int64"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "Float64": pd.array([1.5, None, 3], dtype="Float64"),
            "arrow": pd.array([1, None, 3], dtype="int32[pyarrow]"),
            "list": pd.Series([[1, 2], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "period": pd.PeriodIndex(["2024-01", "2024-02", None], freq="M"),
            "interval": pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2), (2, 3)]),
            "bytes": [b"a", None, b"\xff"],
            "decimal": [decimal.Decimal("1.10"), None, decimal.Decimal("-3.25")],
            "date": [datetime.date(2024, 1, 1), None, datetime.date(1, 1, 1)],
        }
    )


# --- Parquet and Feather


def through_pandas(table: pd.DataFrame) -> pd.DataFrame:
    """What pandas' own writer and reader make of it: the standard to meet."""
    file = io.BytesIO()
    table.to_parquet(file)
    return pd.read_parquet(file)


def test_parquet_gives_back_every_pandas_type_as_pandas_itself_would():
    table = everything().drop(columns="list")  # pandas writes it and cannot read its own file
    assert_frame_equal(pd.read_parquet(parquet(table)), through_pandas(table))


def test_feather_gives_back_every_pandas_type_as_pandas_itself_would():
    table = everything().drop(columns="list")
    assert_frame_equal(pa.feather.read_table(io.BytesIO(body(table, "feather"))).to_pandas(), through_pandas(table))


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(3),
        pd.RangeIndex(5, 11, 2, name="step"),
        pd.Index([3, 1, 2]),
        pd.Index(["a", "b", "c"], name="key"),
        pd.Index(["a", "b", None]),
        pd.Index([1.5, 2.5, np.nan], name="x"),  # the name of a column
        pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"], name="when"),
        pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"], tz="UTC"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("b", 3)], names=["p", "q"]),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("b", 3)]),
        pd.CategoricalIndex(["u", "v", "u"]),
        pd.PeriodIndex(["2024", "2025", "2026"], freq="Y"),
        pd.IntervalIndex.from_breaks([0, 1, 2, 3]),
    ],
    ids=lambda index: f"{type(index).__name__}-{index.names}",
)
def test_parquet_keeps_the_index_as_pandas_does(index):
    table = pd.DataFrame({"x": [1, 2, 3], "s": ["a", "b", None]}, index=index)
    assert_frame_equal(pd.read_parquet(parquet(table)), table, check_freq=False)


def test_parquet_of_slices_strides_and_big_endian_columns_is_right():
    table = pd.DataFrame(np.arange(40.0).reshape(8, 5), columns=list("abcde"))
    assert_frame_equal(pd.read_parquet(parquet(table.iloc[::2, 1:4])), table.iloc[::2, 1:4])
    assert_frame_equal(pd.read_parquet(parquet(table.iloc[::-1])), table.iloc[::-1])
    assert pd.read_parquet(parquet(pd.DataFrame({"b": np.arange(3, dtype=">i4")})))["b"].tolist() == [0, 1, 2]
    strided = pd.DataFrame({"t": np.array(["2024-01-01", "2024-01-02", "NaT", "2024-01-04"], "M8[D]")})
    assert pd.read_parquet(parquet(strided.iloc[::2]))["t"].tolist() == [pd.Timestamp("2024-01-01"), pd.NaT]


def test_columns_that_are_not_text_are_written_as_text():
    assert list(pd.read_parquet(parquet(pd.DataFrame({0: [1], ("a", 1): [2]}))).columns) == ["0", "('a', 1)"]


def test_empty_tables_keep_their_columns():
    for table in (pd.DataFrame({"a": pd.Series([], dtype="int64"), "s": pd.Series([], dtype="str")}), pd.DataFrame()):
        assert_frame_equal(pd.read_parquet(parquet(table)), table, check_column_type=False)
    assert body(pd.DataFrame({"a": []}), "csv") == b"a\n"
    assert body(pd.DataFrame({"a": []}), "json") == b"[]"


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(NotSerialisable, match="'a'"):
        body(pd.DataFrame([[1, 2]], columns=["a", "a"]), "json")


def test_arrow_and_polars_tables_come_back_as_they_were():
    table = pa.table({"i": pa.chunked_array([[1, 2], [None]]), "s": ["a", None, "c"], "l": [[1], None, []]})
    assert pq.read_table(parquet(table)).equals(table)
    assert pq.read_table(parquet(table.to_batches()[0])).num_rows == 2
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "s": ["a", None],
            "c": pl.Series(["u", "v"], dtype=pl.Categorical),
            "t": [datetime.date(2024, 1, 1)] * 2,
        }
    )
    assert pl.read_parquet(parquet(frame)).with_columns(pl.col("c").cast(pl.Categorical)).equals(frame)
    assert json.loads(body(frame.lazy(), "json"))[0] == {"i": 1, "s": "a", "c": "u", "t": "2024-01-01"}


def test_anything_with_an_arrow_stream_is_a_table():
    class Own:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"a": [1, 2]}).__arrow_c_stream__(requested_schema)

    assert json.loads(body(Own(), "json")) == [{"a": 1}, {"a": 2}]


names = st.text(min_size=1, max_size=5).filter(lambda name: name.isprintable())
cells = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=4, max_size=4),
    st.lists(st.floats(allow_nan=False), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))), min_size=4, max_size=4).filter(
        lambda c: any(i is not None for i in c)
    ),
)
tables = st.dictionaries(names, cells, min_size=1, max_size=4).map(pd.DataFrame)


@FEW
@given(tables)
def test_parquet_of_any_table_reads_back_equal(table):
    assert_frame_equal(pd.read_parquet(parquet(table)), table)


# --- GeoParquet


def geometries() -> gpd.GeoDataFrame:
    hole = shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (2, 1), (2, 2)]])
    shapes = [
        shapely.Point(1.5, -2),
        shapely.Point(1, 2, 3),
        shapely.LineString([(0, 0), (1, 1)]),
        hole,
        shapely.MultiPoint([(0, 0), (1, 1)]),
        shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3)]]),
        shapely.MultiPolygon([hole, shapely.box(20, 20, 30, 30)]),
        shapely.GeometryCollection([shapely.Point(0, 0), hole]),
        shapely.LinearRing([(0, 0), (1, 0), (1, 1)]),
        shapely.Point(),
        shapely.Polygon(),
        shapely.MultiPolygon(),
        shapely.GeometryCollection(),
        None,
        shapely.LineString([(0, 0, 1), (1, 1, 2)]),
        shapely.from_wkt("POINT M (1 2 3)"),
        shapely.from_wkt("LINESTRING ZM (0 0 1 2, 1 1 3 4)"),
    ]
    return gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=shapes, crs=4326)


def test_geoparquet_gives_back_every_geometry_type():
    table = geometries()
    back = gpd.read_parquet(parquet(table))
    expected = table.geometry.map(
        lambda g: (
            shapely.to_wkb(shapely.LineString(g) if g.geom_type == "LinearRing" else g, flavor="iso")
            if g is not None
            else None
        )
    )
    assert (
        back.geometry.map(lambda g: shapely.to_wkb(g, flavor="iso") if g is not None else None).tolist()
        == expected.tolist()
    )
    assert back.crs == table.crs
    assert list(back.columns) == list(table.columns)


def test_wkb_written_without_shapely_objects_is_what_shapely_writes():
    table = geometries()
    stored = pq.read_table(parquet(table)).column("geometry").to_pylist()
    for wkb, geometry in zip(stored, table.geometry, strict=True):
        if geometry is None:
            assert wkb is None
        else:
            assert shapely.to_wkb(shapely.from_wkb(wkb), flavor="iso") == shapely.to_wkb(geometry, flavor="iso")


def test_without_the_way_into_shapely_geometries_go_through_wkb_and_come_out_the_same():
    code = """
import sys
from fused._worker.formats import geometry
if sys.argv[1] == "slow":
    geometry._shapely = False
import geopandas as gpd, shapely
from fused._worker.encode import encode
table = gpd.GeoDataFrame({"n": [1, 2, 3]}, geometry=[shapely.box(0, 0, 1, 1), None, shapely.Point(1, 2, 3)], crs=4326)
for name in ("parquet", "geojson", "csv", "mvt"):
    sys.stdout.buffer.write(bytes(encode(table, [name], format_from="query", tile=(0, 0, 0)).body))
"""
    outputs = [
        subprocess.run([sys.executable, "-c", code, way], capture_output=True, check=True, env=environment()).stdout
        for way in ("slow", "fast")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 1000


def test_geoparquet_metadata_is_that_of_version_1_1():
    table = geometries().to_crs(3857)
    file = pq.ParquetFile(parquet(table))
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["crs"] == json.loads(table.crs.to_json())
    assert column["bbox"] == pytest.approx(table.total_bounds.tolist())
    assert {"Point", "Point Z", "Polygon", "LineString Z", "GeometryCollection"} <= set(column["geometry_types"])
    assert column["covering"]["bbox"] == {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}


@FEW
@given(st.lists(st.tuples(*[st.floats(-1e30, 1e30)] * 2), min_size=1, max_size=8))
def test_the_covering_encloses_every_geometry_and_selects_by_box(points):
    table = gpd.GeoDataFrame({"n": range(len(points))}, geometry=[shapely.Point(*point) for point in points])
    stored = pq.read_table(parquet(table))
    for box, (x, y) in zip(stored.column("bbox").to_pylist(), points, strict=True):
        assert box["xmin"] <= x <= box["xmax"]
        assert box["ymin"] <= y <= box["ymax"]
        assert box["xmax"] <= np.nextafter(np.nextafter(np.float32(x), np.float32(np.inf)), np.float32(np.inf))
    x, y = points[0]
    found = gpd.read_parquet(parquet(table), bbox=(x, y, x, y))
    assert 0 in found["n"].tolist()


def test_several_geometry_columns_and_a_column_called_bbox_are_kept():
    table = gpd.GeoDataFrame(
        {"bbox": [1], "other": gpd.GeoSeries([shapely.Point(5, 6)], crs=3857)}, geometry=[shapely.Point(1, 2)], crs=4326
    )
    back = gpd.read_parquet(parquet(table))
    assert back["bbox"].tolist() == [1]
    assert back["other"].crs == table["other"].crs
    assert back.crs == table.crs


def test_a_plain_table_with_geometries_in_an_object_column_is_a_geometry_table():
    table = pd.DataFrame({"g": pd.Series([None, shapely.Point(1, 2)], dtype=object), "n": [1, 2]})
    assert gpd.read_parquet(parquet(table))["g"][1] == shapely.Point(1, 2)
    assert json.loads(body(table, "geojson"))["features"][1]["geometry"] == {"type": "Point", "coordinates": [1, 2]}


def test_a_pyarrow_table_that_declares_geometry_is_written_as_geometry():
    table = geometries()
    for arrow in (pa.table(table.to_arrow()), pq.read_table(parquet(table))):
        features = json.loads(body(arrow, "geojson"))["features"]
        assert features[0]["geometry"] == {"type": "Point", "coordinates": [1.5, -2]}
        assert gpd.read_parquet(parquet(arrow)).crs == table.crs


def test_shapely_geometry_alone_is_a_table_of_one_row():
    assert gpd.read_parquet(parquet(shapely.Point(1, 2))).geometry.tolist() == [shapely.Point(1, 2)]
    series = gpd.GeoSeries([shapely.Point(1, 2)], crs=3857, name="place")
    assert gpd.read_parquet(parquet(series)).geometry.name == "place"


# --- JSON


def test_json_records_hold_every_type_in_its_plain_form():
    records = json.loads(body(everything(), "json"))
    assert records[0] == {
        "bool": True,
        "i8": 1,
        "u64": 1,
        "f32": 1.5,
        "f64": 1.1,
        "text": "a",
        "object text": "x",
        "string": "a",
        "time": "2024-01-01T00:00:00",
        "zoned": "2023-12-31T23:00:00Z",
        "offset": "2023-12-31T19:00:00Z",
        "delta": 86400.0,
        "category": "u",
        "Int64": 1,
        "boolean": True,
        "Float64": 1.5,
        "arrow": 1,
        "list": [1, 2],
        "period": "2024-01",
        "interval": "(0, 1]",
        "bytes": "YQ==",
        "decimal": 1.1,
        "date": "2024-01-01",
    }
    assert {name for name, value in records[1].items() if value is not None} == {
        "bool",
        "i8",
        "u64",
        "interval",
        "zoned",
        "offset",
        "period",
    }
    assert records[2]["u64"] == 2**64 - 1
    assert records[2]["time"] == "1969-12-31T23:59:59.123456789"
    assert records[2]["f64"] is None
    assert body(everything()[["decimal"]], "json").startswith(b'[{"decimal":1.10}')


@FEW
@given(tables)
def test_json_of_any_table_reads_back_the_same_values(table):
    records = json.loads(body(table, "json"))
    for name in table.columns:
        for record, value in zip(records, table[name].tolist(), strict=True):
            if isinstance(value, float) and not math.isfinite(value):
                assert record[name] is None
            else:
                assert record[name] == value
                assert type(record[name]) is type(value)


def test_index_is_written_where_it_says_something():
    table = pd.DataFrame({"x": [1, 2]})
    assert json.loads(body(table.set_index(pd.Index(["a", "b"])), "json")) == [
        {"index": "a", "x": 1},
        {"index": "b", "x": 2},
    ]
    assert json.loads(body(table.set_index(pd.Index([7, 8], name="k")), "json"))[0] == {"k": 7, "x": 1}
    assert json.loads(body(table.set_index(pd.Index([7, 8])), "json"))[0] == {"x": 1}
    assert json.loads(body(table.set_index(pd.Index([7, 8], name="x")), "json"))[0] == {"x_index": 7, "x": 1}
    pairs = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None])
    assert json.loads(body(table.set_index(pairs), "json"))[0] == {"p": "a", "level_1": 1, "x": 1}


# --- CSV

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@FEW
@given(st.lists(st.tuples(texts, st.one_of(st.none(), texts)), min_size=1, max_size=6))
def test_csv_of_any_texts_reads_back(rows):
    table = pd.DataFrame(
        {"a": pd.Series([a for a, _ in rows], dtype="str"), 'b,"': pd.Series([b for _, b in rows], dtype="str")}
    )
    back = list(csv.reader(io.StringIO(body(table, "csv").decode(), newline="")))
    assert back[0] == ["a", 'b,"']
    assert [tuple(row) for row in back[1:]] == [(a, b or "") for a, b in rows]


def test_csv_reads_back_as_pandas_reads_its_own():
    table = everything()[["bool", "i8", "u64", "f32", "f64", "text", "time", "category", "Int64"]]
    back = pd.read_csv(io.BytesIO(body(table, "csv")))
    own = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert_frame_equal(back.drop(columns=["f32", "f64", "time"]), own.drop(columns=["f32", "f64", "time"]))
    assert back["f32"].tolist()[0] == 1.5
    assert pd.to_datetime(back["time"], format="ISO8601").tolist() == table["time"].tolist()


def test_csv_keeps_empty_text_and_missing_apart_and_no_row_is_lost():
    assert body(pd.DataFrame({"a": ["", None, "x"]}), "csv") == b'a\n""\n""\nx\n'
    assert body(pd.DataFrame({"a": ["", None], "b": [1, 2]}), "csv") == b'a,b\n"",1\n,2\n'


def test_csv_writes_geometry_as_text_that_shapely_reads():
    table = geometries()
    rows = list(csv.DictReader(io.StringIO(body(table, "csv").decode())))
    for row, geometry in zip(rows, table.geometry, strict=True):
        if geometry is None:
            assert row["geometry"] == ""
        elif geometry.geom_type != "LinearRing":
            assert shapely.equals_identical(shapely.from_wkt(row["geometry"]), geometry)


def test_csv_texts_from_objects_and_categories_are_not_json():
    table = pd.DataFrame(
        {"o": pd.Series([1, 'a"b\n', None, {"k": 1}], dtype=object), "c": pd.Categorical(['x"y', "z", None, "z"])}
    )
    back = list(csv.reader(io.StringIO(body(table, "csv").decode(), newline="")))
    assert back[1:] == [["1", 'x"y'], ['a"b\n', "z"], ["", ""], ['{"k":1}', "z"]]


# --- xlsx, xml, html


def test_xlsx_reads_back_and_a_text_never_becomes_a_formula():
    table = pd.DataFrame(
        {
            "n": [1, 2],
            "t": ["=1+1", None],
            "when": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "big": [2**60, 1],
            "bad": ["a\x01b", "c"],
        }
    )
    back = pd.read_excel(io.BytesIO(body(table, "xlsx")))
    assert back["n"].tolist() == [1, 2]
    assert back["t"].tolist()[0] == "=1+1"
    assert back["when"].tolist() == table["when"].tolist()
    assert back["big"].astype(str).tolist() == [str(2**60), "1"]
    assert back["bad"].tolist() == ["a\ufffdb", "c"]


def test_xml_reads_back():
    table = pd.DataFrame({"a b": [1, 2], "1": ['<&>"', None], "ü": [True, False]})
    back = pd.read_xml(io.BytesIO(body(table, "xml")), parser="etree")
    assert list(back.columns) == ["a_b", "_1", "ü"]
    assert back["_1"].tolist()[0] == '<&>"'
    assert back["a_b"].tolist() == [1, 2]


def test_html_escapes_what_the_table_holds():
    page = body(pd.DataFrame({"a": ["<script>alert(1)</script>"]}), "html")
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page
