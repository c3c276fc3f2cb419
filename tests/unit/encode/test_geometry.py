"""GeoJSON and vector tiles, read back by json, geopandas, shapely and mapbox_vector_tile."""

from __future__ import annotations

import io
import json
import math

import geopandas as gpd
import mapbox_vector_tile
import mercantile
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fused import _native
from fused._worker.encode import encode

FEW = settings(max_examples=150, deadline=None)
EXTENT, BUFFER = 4096, 128


def body(value, name, **others):
    return bytes(encode(value, [name], format_from="query", **others).body)


def table_of(*shapes, **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns or {"n": range(len(shapes))}, geometry=list(shapes), crs=4326)


# --- GeoJSON


def test_geojson_is_a_feature_collection_that_geopandas_reads_back():
    table = table_of(
        shapely.Point(1.5, -2),
        shapely.Point(1, 2, 3),
        shapely.LineString([(0, 0), (1, 1)]),
        shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (1, 2), (2, 2)]]),
        shapely.MultiPoint([(0, 0), (1, 1)]),
        shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3)]]),
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(20, 20, 30, 30)]),
    )
    back = gpd.read_file(io.BytesIO(body(table, "geojson")))
    assert back.crs.to_epsg() in (4326, 4979)
    for ours, theirs in zip(back.geometry, table.geometry, strict=True):
        assert shapely.equals(shapely.force_2d(ours), shapely.force_2d(theirs))
    collection = json.loads(body(table, "geojson"))
    assert collection["bbox"] == [0, -2, 30, 30]
    assert collection["features"][1]["geometry"]["coordinates"] == [1, 2, 3]


def test_geojson_rings_keep_to_the_right_hand_rule():
    clockwise = shapely.Polygon([(0, 0), (0, 9), (9, 9), (9, 0)], [[(1, 1), (2, 1), (2, 2)]])
    rings = json.loads(body(table_of(clockwise), "geojson"))["features"][0]["geometry"]["coordinates"]
    assert shapely.LinearRing(rings[0]).is_ccw
    assert not shapely.LinearRing(rings[1]).is_ccw
    assert rings[0][0] == rings[0][-1]


def test_geojson_has_at_most_seven_decimals_and_no_noise():
    text = body(table_of(shapely.Point(0.1 + 0.2, -1e-9)), "geojson").decode()
    assert '"coordinates":[0.3,0]' in text
    text = body(table_of(shapely.Point(123.123456789, -45.9999999999)), "geojson").decode()
    assert '"coordinates":[123.1234568,-46]' in text


def test_geojson_is_in_degrees_whatever_the_table_is_in():
    table = table_of(shapely.Point(12.5, 41.9)).to_crs(32633)
    assert json.loads(body(table, "geojson"))["features"][0]["geometry"]["coordinates"] == pytest.approx(
        [12.5, 41.9], abs=1e-6
    )
    unknown = gpd.GeoDataFrame(geometry=[shapely.Point(1, 2)])
    assert json.loads(body(unknown, "geojson"))["features"][0]["geometry"]["coordinates"] == [1, 2]


def test_geojson_properties_keep_nulls_big_integers_dates_and_nested_values():
    table = table_of(
        shapely.Point(0, 0),
        None,
        shapely.Point(math.nan, 1) if False else shapely.Point(),
        big=[2**63 - 1, 1, 2],
        nan=[1.5, np.nan, np.inf],
        when=pd.to_datetime(["2024-01-01", None, None]),
        nested=[{"a": [1, {"b": None}]}, [1, "x"], None],
        other=[shapely.Point(5, 6), None, None],
        id=["a", None, "c"],
    )
    features = json.loads(body(table, "geojson"))["features"]
    assert features[0]["properties"] == {
        "big": 2**63 - 1,
        "nan": 1.5,
        "when": "2024-01-01T00:00:00",
        "nested": {"a": [1, {"b": None}]},
        "other": {"type": "Point", "coordinates": [5, 6]},
        "id": "a",
    }
    assert features[0]["id"] == "a"
    assert "id" not in features[1]
    assert features[1]["properties"]["nan"] is features[2]["properties"]["nan"] is None
    assert features[1]["geometry"] is None
    assert features[2]["geometry"] is None


def test_a_geometry_that_is_not_finite_is_null_and_the_rest_stays_valid_json():
    shapes = [shapely.LineString([(0, 0), (np.inf, 1)]), shapely.Point(1, 2)]
    features = json.loads(body(table_of(*shapes), "geojson"))["features"]
    assert [feature["geometry"] for feature in features] == [None, {"type": "Point", "coordinates": [1, 2]}]


coordinates = st.tuples(st.floats(-180, 180), st.floats(-89, 89))
points = st.builds(shapely.Point, coordinates)
lines = st.builds(shapely.LineString, st.lists(coordinates, min_size=2, max_size=8))
polygons = st.builds(shapely.Polygon, st.lists(coordinates, min_size=4, max_size=9))
shapes = st.one_of(
    points,
    lines,
    polygons,
    st.builds(shapely.GeometryCollection, st.lists(st.one_of(points, lines, polygons), max_size=3)),
)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2))


@FEW
@given(st.lists(st.tuples(shapes, values), min_size=1, max_size=4))
def test_geojson_of_anything_is_valid_and_within_a_centimetre(rows):
    table = gpd.GeoDataFrame(
        {"v": pd.Series([value for _, value in rows], dtype=object)}, geometry=[shape for shape, _ in rows], crs=4326
    )
    features = json.loads(body(table, "geojson").decode("utf-8"))["features"]
    for feature, (shape, value) in zip(features, rows, strict=True):
        back = shapely.get_coordinates(shapely.geometry.shape(feature["geometry"]))
        mine = shapely.get_coordinates(shape)
        assert len(back) == len(mine)
        if len(mine):
            assert np.abs(np.sort(back, axis=0) - np.sort(mine, axis=0)).max() <= 0.6e-7
        if isinstance(value, int | list | bool):
            assert feature["properties"]["v"] == value


# --- vector tiles


def tile_of(table, z, x, y):
    data = body(table, "mvt", tile=(z, x, y))
    return mapbox_vector_tile.decode(data, default_options={"y_coord_down": True})["udf"] if data else None


def test_tile_bounds_are_those_of_mercantile():
    for z, x, y in [(0, 0, 0), (1, 1, 1), (10, 163, 395), (24, 2**24 - 1, 0), (18, 1234, 4321)]:
        bounds = mercantile.bounds(x, y, z)
        assert _native.tile_bounds(z, x, y) == pytest.approx(
            (bounds.west, bounds.south, bounds.east, bounds.north), abs=1e-9
        )


def test_a_tile_has_the_layer_udf_with_typed_attributes():
    table = table_of(
        shapely.Point(0, 0),
        id=[7],
        i=[-3],
        u=np.array([2**64 - 1], "uint64"),
        f=[1.5],
        s=["ü"],
        b=[True],
        none=[None],
        nan=[np.nan],
        when=pd.to_datetime(["2024-01-01"]),
        nested=[{"a": 1}],
        c=pd.Categorical(['x"y']),
        f32=np.array([0.5], "float32"),
    )
    layer = tile_of(table, 0, 0, 0)
    assert (layer["extent"], layer["version"]) == (EXTENT, 2)
    (feature,) = layer["features"]
    assert feature["id"] == 7
    assert feature["properties"] == {
        "id": 7,
        "i": -3,
        "u": 2**64 - 1,
        "f": 1.5,
        "s": "ü",
        "b": True,
        "when": "2024-01-01T00:00:00",
        "nested": '{"a":1}',
        "c": 'x"y',
        "f32": 0.5,
    }
    assert feature["geometry"] == {"type": "Point", "coordinates": [2048, 2048]}


def test_a_tile_without_features_is_an_empty_body():
    assert body(table_of(shapely.Point(100, 50)), "mvt", tile=(4, 0, 0)) == b""
    assert body(table_of(shapely.Point(), None), "mvt", tile=(0, 0, 0)) == b""
    assert (
        encode(table_of(None), ["mvt"], format_from="query", tile=(0, 0, 0)).content_type
        == "application/vnd.mapbox-vector-tile"
    )


def test_what_lies_outside_the_buffer_is_left_out_and_lines_are_cut():
    line = shapely.LineString([(-170, 40), (170, 40)])
    layer = tile_of(table_of(line), 3, 4, 3)
    xs = np.array(layer["features"][0]["geometry"]["coordinates"])[:, 0]
    assert (xs.min(), xs.max()) == (-BUFFER, EXTENT + BUFFER)
    zigzag = shapely.LineString([(0, 10), (-60, 20), (20, 30)])
    parts = tile_of(table_of(zigzag), 3, 4, 3)["features"][0]["geometry"]
    assert parts["type"] == "MultiLineString"


def check_polygons(layer, west=None):
    """Valid by shapely, right winding by the formula of the specification (y grows downwards)."""
    for feature in layer["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        if shape.geom_type not in ("Polygon", "MultiPolygon"):
            continue
        assert shape.is_valid, shapely.is_valid_reason(shape)
        for polygon in getattr(shape, "geoms", [shape]):
            assert polygon.area > 0
        coordinates = shapely.get_coordinates(shape)
        assert (coordinates == np.rint(coordinates)).all()
        assert coordinates.min() >= -BUFFER and coordinates.max() <= EXTENT + BUFFER


def raw_rings(data: bytes):
    """Areas of the rings in the order of the tile, by the surveyor's formula, straight from the protobuf."""
    from mapbox_vector_tile.Mapbox import vector_tile_pb2

    tile = vector_tile_pb2.tile()
    tile.ParseFromString(data)
    for feature in tile.layers[0].features:
        numbers, at, x, y, ring, areas = list(feature.geometry), 0, 0, 0, [], []
        while at < len(numbers):
            command, count = numbers[at] & 7, numbers[at] >> 3
            at += 1
            if command == 7:
                areas.append(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True)) / 2)
                continue
            if command == 1:
                ring = []
            for _ in range(count):
                dx, dy = ((numbers[at + i] >> 1) ^ -(numbers[at + i] & 1) for i in (0, 1))
                x, y, at = x + dx, y + dy, at + 2
                ring.append((x, y))
        yield areas


def test_outer_rings_have_positive_and_holes_negative_area():
    polygon = shapely.Polygon([(0, 0), (50, 0), (50, 50), (0, 50)], [[(10, 10), (10, 20), (20, 20), (20, 10)]])
    for shape in (polygon, polygon.reverse(), shapely.MultiPolygon([polygon, shapely.box(-60, -60, -10, -10)])):
        (areas,) = raw_rings(body(table_of(shape), "mvt", tile=(0, 0, 0)))
        assert areas[0] > 0 > areas[1]
        assert all(area > 0 for area in areas[2:])


def test_polygons_that_break_on_the_grid_are_mended():
    comb = [(x / 1e4, (x % 2) * 0.5) for x in range(60)] + [(0.006, -0.5), (0, -0.5)]
    bow = [(0, 0), (1, 1), (1, 0), (0, 1)]
    star = [(math.cos(k * 2.513) * 10, math.sin(k * 2.513) * 10) for k in range(5)]
    for ring in (comb, bow, star):
        for z in (0, 3, 8):
            tile = mercantile.tile(0.0001, 0.0001, z)
            layer = tile_of(table_of(shapely.Polygon(ring)), z, tile.x, tile.y)
            if layer:
                check_polygons(layer)


def test_overlapping_members_of_a_multipolygon_are_merged():
    layer = tile_of(table_of(shapely.MultiPolygon([shapely.box(0, 0, 20, 20), shapely.box(10, 10, 30, 30)])), 0, 0, 0)
    check_polygons(layer)


def test_a_clipped_concave_polygon_stays_valid():
    spiral = shapely.LineString([(r * math.cos(r), r * math.sin(r)) for r in np.arange(1, 40, 0.1)]).buffer(0.8)
    for tile in mercantile.tiles(-30, -30, 30, 30, zooms=[3, 4]):
        layer = tile_of(table_of(spiral), tile.z, tile.x, tile.y)
        if layer:
            check_polygons(layer)


def test_the_clipped_area_is_the_area_inside_the_tile():
    rng = np.random.default_rng(1)
    shapes_ = [shapely.Point(*rng.uniform(-40, 40, 2)).buffer(rng.uniform(1, 30), quad_segs=3) for _ in range(20)]
    table = table_of(*shapes_).to_crs(3857)
    z, x, y = 3, 4, 3
    west, south, east, north = mercantile.xy_bounds(x, y, z)
    unit = (east - west) / EXTENT
    window = shapely.box(west - BUFFER * unit, south - BUFFER * unit, east + BUFFER * unit, north + BUFFER * unit)
    expected = {
        n: shape.intersection(window).area / unit**2 for n, shape in zip(table["n"], table.geometry, strict=True)
    }
    layer = tile_of(table.to_crs(4326), z, x, y)
    found = {f["properties"]["n"]: shapely.geometry.shape(f["geometry"]).area for f in layer["features"]}
    for n, area in expected.items():
        assert found.get(n, 0) == pytest.approx(area, rel=0.01, abs=3000)


@FEW
@given(st.lists(shapes, min_size=1, max_size=3), st.integers(0, 6), st.data())
def test_tiles_of_anything_decode_and_hold_valid_polygons_within_the_buffer(rows, z, data):
    x, y = data.draw(st.integers(0, 2**z - 1)), data.draw(st.integers(0, 2**z - 1))
    layer = tile_of(table_of(*rows), z, x, y)
    if layer:
        assert {f["properties"]["n"] for f in layer["features"]} <= set(range(len(rows)))
        check_polygons(layer)


mercator_points = points.filter(lambda point: abs(point.y) < 85.05)


@FEW
@given(mercator_points, st.integers(0, 24))
def test_a_point_is_in_the_tile_that_mercantile_puts_it_in(point, z):
    tile = mercantile.tile(point.x, point.y, z)
    (feature,) = tile_of(table_of(point), tile.z, tile.x, tile.y)["features"]
    px, py = feature["geometry"]["coordinates"]
    assert 0 <= px <= EXTENT and 0 <= py <= EXTENT
    bounds = mercantile.xy_bounds(tile)
    mx, my = mercantile.xy(point.x, point.y)
    assert px == pytest.approx((mx - bounds.left) / (bounds.right - bounds.left) * EXTENT, abs=1.0)
    assert py == pytest.approx((bounds.top - my) / (bounds.top - bounds.bottom) * EXTENT, abs=1.0)
