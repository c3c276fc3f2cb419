# ruff: noqa: UP006, UP007, UP045  (the old spellings are tested)
"""Every annotation of a parameter, as text of a query and as JSON value: what it becomes or how it is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import time
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, Union

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import fused
import fused.types
from fused._parameters import InvalidParameter, MissingParameter, plan


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Size(enum.IntEnum):
    SMALL = 1


UserId = NewType("UserId", int)
NOW = dt.datetime(2024, 5, 6, 7, 8, 9)
POINT = shapely.Point(1, 2)
COLLECTION = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {"a": 1}, "geometry": POINT.__geo_interface__}],
    }
)


def read(annotation: Any, value: Any) -> Any:
    def function(p):  # type: ignore[no-untyped-def]
        return p

    function.__annotations__["p"] = annotation
    query, typed = ([("p", value)], {}) if isinstance(value, str) else ([], {"p": value})
    return plan(function).bind(query, typed)[1]["p"]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "x", "x"), (str, "", ""), (str, 3, "3"), (str, True, "true"), (str, [1], "[1]"),
        (int, "42", 42), (int, " -7 ", -7), (int, "010", 10), (int, 3.0, 3), (int, True, 1),
        (int, "9" * 100, int("9" * 100)),
        (float, "1.5", 1.5), (float, "1e3", 1000.0), (float, "inf", float("inf")), (float, 2, 2.0),
        (bool, "false", False), (bool, "FALSE", False), (bool, "False", False), (bool, "true", True), (bool, "0", True),
        (bool, "no", True), (bool, "", False), (bool, 0, False), (bool, 1, True), (bool, False, False),
        (bytes, "é", "é".encode()), (complex, "1+2j", 1 + 2j), (Path, "/a/b", Path("/a/b")),
        (list, "[1, 2]", [1, 2]), (list, [1, 2], [1, 2]), (list[int], '["1", 2]', [1, 2]), (typing.List[int],
        "[1]", [1]),
        (list[list[float]], "[[1], [2]]", [[1.0], [2.0]]), (list[int], "[null, 1]", [None, 1]),
        (dict, '{"a": 1}', {"a": 1}), (dict[str, int], '{"a": "1"}', {"a": 1}),
        (typing.Dict[int, str], '{"1": 2}', {1: "2"}),
        (tuple, "[1, 2]", (1, 2)), (tuple[int, str], '[1, 2]', (1, "2")), (tuple[int, ...], '["1", "2", "3"]',
        (1, 2, 3)),
        (set, "[1, 1]", {1}), (set[int], '["1"]', {1}), (frozenset, "[1]", frozenset({1})),
        (Iterable, "[1]", [1]), (Sequence[int], '["1"]', [1]), (Mapping[str, int], '{"a": "1"}', {"a": 1}),
        (uuid.UUID, "5a3c8a526f0e4b629b0b3f1a5d1e4a11", uuid.UUID("5a3c8a526f0e4b629b0b3f1a5d1e4a11")),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (dt.datetime, "2024-05-06T07:08:09", NOW), (dt.datetime, "2024-05-06T07:08:09Z", NOW.replace(tzinfo=dt.UTC)),
        (dt.datetime, "1714979289", NOW.replace(tzinfo=dt.UTC)),
        (dt.datetime, 1714979289000, NOW.replace(tzinfo=dt.UTC)),
        (dt.date, "2024-05-06", NOW.date()), (dt.date, "2024-05-06T23:00:00", NOW.date()),
        (dt.date, 1714979289, NOW.date()),
        (dt.time, "07:08:09", NOW.time()), (dt.time, "25689", NOW.time()), (dt.time, "2024-05-06T07:08:09", NOW.time()),
        (dt.timedelta, "90", dt.timedelta(seconds=90)), (dt.timedelta, "2h", dt.timedelta(hours=2)),
        (dt.timedelta, "PT1H", dt.timedelta(hours=1)),
        (dt.timedelta, "1 days 00:00:01", dt.timedelta(days=1, seconds=1)),
        (pd.Timestamp, "2024-05-06", pd.Timestamp("2024-05-06")), (pd.Timestamp, 0, pd.Timestamp(0, tz="UTC")),
        (Literal["a", 1], "a", "a"), (Literal["a", 1], "1", 1), (Literal["a", 1], 1, 1), (Literal[True, "x"], "x", "x"),
        (Colour, "red", Colour.RED), (Colour, "2", Colour.TWO), (Colour, "TWO", Colour.TWO), (Size, "1", Size.SMALL),
        (Optional[int], "3", 3), (Optional[int], "null", None), (Optional[int], "", None), (Optional[str],
        "null", "null"),
        (int | None, "None", None), (Union[int, str], "3", 3), (Union[int, str], "x", "x"), (Union[str, int], "3", "3"),
        (int | list[int], "[1]", [1]), (float | int, 3, 3), (Optional[list[int]], '["1"]', [1]),
        (Annotated[int, "anything"], "3", 3), (UserId, "3", 3), (Any, "3", "3"), (object, [1], [1]),
        ("int", "3", 3), ("Optional[int]", "3", 3), ("list[int] | None", '["1"]', [1]),
        ("dt.date", "2024-05-06", NOW.date()),
        ("fused.types.Bounds", "[1,2,3,4]", [1, 2, 3, 4]), ("nowhere.Bounds", "1,2,3,4", [1, 2, 3, 4]),
        ("nowhere.Unknown", "x", "x"), (fused.types.Bounds, "[1,2,3,4]", [1, 2, 3, 4]),
        (fused.types.Bounds, [1, 2, 3, 4], [1, 2, 3, 4]),
        (fused.types.Bounds, "POLYGON ((0 0, 2 0, 2 3, 0 0))", [0, 0, 2, 3]),
        (fused.types.Bounds, COLLECTION, [1, 2, 1, 2]),
        (fused.types.Bbox, "1,2,3,4", shapely.box(1, 2, 3, 4)), (fused.types.TileXYZ, "[1,2,3]", (1, 2, 3)),
        (fused.types.TileXYZ, '{"x": 1, "y": 2, "z": 3}', (1, 2, 3)), (fused.types.TileXYZ, "[0.1,0.1,1,1]",
        (128, 127, 8)),
        (shapely.Point, "POINT (1 2)", POINT), (shapely.Point, json.dumps(POINT.__geo_interface__), POINT),
        (shapely.geometry.base.BaseGeometry, "POINT (1 2)", POINT),
        (shapely.Polygon, "[1,2,3,4]", shapely.box(1, 2, 3, 4)),
        ("Polygon", "[1,2,3,4]", shapely.box(1, 2, 3, 4)),
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_annotation(annotation: Any, value: Any, expected: Any) -> None:
    found = read(annotation, value)
    assert found == expected
    assert type(found) is type(expected) or isinstance(found, type(expected))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "x"), (int, "1.5"), (int, 1.5), (int, ""), (int, "1_000"), (int, [1]), (int, "9" * 5000),
        (float, "1,5"), (float, "1_0"),
        (list, "abc"), (list, '{"a": 1}'), (list, "[" * 100_000), (list[int], '["x"]'), (dict, "[1]"),
        (dict[str, int], '{"a": "x"}'),
        (tuple[int, str], "[1]"), (tuple[int], "[1, 2]"), (set[int], '["x"]'), (uuid.UUID, "x"), (decimal.Decimal, "x"),
        (dt.datetime, "yesterday"), (dt.datetime, "nan"), (dt.datetime, "1e300"), (dt.date, "2024-13-01"),
        (dt.time, "25:00"),
        (dt.time, "-1"), (dt.timedelta, "long"), (dt.timedelta, "nan"), (pd.Timestamp, "never"), (Literal["a", 1], "b"),
        (Colour, "blue"), (Optional[int], "x"), (Union[int, float], "x"), (fused.types.Bounds, "[1,2,3]"),
        (fused.types.Bounds, "nan,1,2,3"),
        (fused.types.Bounds, "[1,2,3,true]"), (fused.types.Bbox, "here"), (fused.types.TileXYZ, "x"),
        (shapely.Point, "LINESTRING (0 0, 1 1)"),
        (shapely.Point, "POINT (1"), (gpd.GeoDataFrame, "[1,2]"),
        (gpd.GeoDataFrame, '{"type": "FeatureCollection"}'), (pd.DataFrame, "3"),
        (pd.DataFrame, "x"), (np.ndarray, "x"), (complex, "x"), (bytes, "x\ud800"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_parameter_value_and_type(annotation: Any, value: Any) -> None:
    with pytest.raises(InvalidParameter) as raised:
        read(annotation, value)
    message = str(raised.value)
    assert "parameter 'p'" in message
    assert str(value)[:20].replace("'", "") in message.replace("'", "").replace("\\\\", "\\") or "ud800" in message
    assert "cannot be read as" in message
    assert len(message) < 900


def test_tables_come_as_records_columns_or_split() -> None:
    expected = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    for text in (
        expected.to_json(orient="records"), expected.to_json(), expected.to_json(orient="split"),
        expected.to_json(orient="columns"),
        expected.to_dict(orient="list"),
    ):  # fmt: skip
        pd.testing.assert_frame_equal(read(pd.DataFrame, text), expected, check_dtype=False)
    assert list(read(pd.Series, "[1, 2]")) == [1, 2]
    assert read(np.ndarray, "[[1, 2]]").shape == (1, 2)


def test_tables_with_geometry_come_as_geojson_wkt_or_box() -> None:
    for value in (
        COLLECTION,
        json.loads(COLLECTION),
        json.loads(COLLECTION)["features"][0],
        "POINT (1 2)",
        POINT.__geo_interface__,
    ):
        frame = read(gpd.GeoDataFrame, value)
        assert frame.crs == "EPSG:4326"
        assert frame.geometry.iloc[0] == POINT
    assert read(gpd.GeoDataFrame, "[1,2,3,4]").total_bounds.tolist() == [1, 2, 3, 4]
    assert len(read(gpd.GeoDataFrame, '{"type": "FeatureCollection", "features": []}')) == 0
    assert read(gpd.GeoSeries, "POINT (1 2)").iloc[0] == POINT


@pytest.mark.parametrize("annotation", [fused.types.Tile, fused.types.TileGDF, fused.types.ViewportGDF, "TileGDF"])
def test_tile_frames_have_numbers_and_box(annotation: Any) -> None:
    frame = read(annotation, '{"x": 1, "y": 0, "z": 1}')
    assert frame[["x", "y", "z"]].iloc[0].tolist() == [1, 0, 1]
    assert frame.total_bounds.tolist() == pytest.approx([0, 0, 180, 85.0511], abs=1e-3)
    assert read(annotation, "[0.1,0.1,1,1]")[["x", "y", "z"]].iloc[0].tolist() == [128, 127, 8]


def function_of(signature: str, **names: Any) -> Any:
    scope: dict[str, Any] = {"fused": fused, "gpd": gpd, "shapely": shapely, **names}
    exec(f"def f({signature}): return locals()", scope)
    return scope["f"]


def call(
    signature: str, query: list[tuple[str, str]] | None = None, typed: Any = None, beneath: Any = None, tile: Any = None
) -> Any:
    function = function_of(signature)
    positional, named = plan(function).bind(query or [], typed, beneath, tile)
    return function(*positional, **named)


def test_names_of_a_request_meet_a_signature() -> None:
    assert call("a, b=2", [("a", "1"), ("c", "3")]) == {"a": "1", "b": 2}
    assert call("a, **rest", [("a", "1"), ("c", "3")], {"d": [1]}) == {"a": "1", "rest": {"c": "3", "d": [1]}}
    assert call("**rest: int", [("c", "3")]) == {"rest": {"c": 3}}
    assert call("a: int, /, b: int = 2, *args, c: int = 3", [("a", "1"), ("c", "4")]) == {
        "a": 1,
        "b": 2,
        "args": (),
        "c": 4,
    }
    assert call("a: int = 1, b: int = 2, /", [("b", "5")]) == {"a": 1, "b": 5}
    assert call("a: int, b: int, c: int", [("a", "1"), ("b", "1")], {"a": 2}, {"a": 3, "b": 3, "c": "3"}) == {
        "a": 2,
        "b": 1,
        "c": 3,
    }
    assert call("a: int = 5", [], {"a": None}) == {"a": None}


def test_a_name_given_twice_counts_by_its_last_value_or_makes_a_list() -> None:
    twice = [("a", "1"), ("a", "2")]
    assert call("a: int", twice) == {"a": 2}
    assert call("a", twice) == {"a": "2"}
    assert call("a: list", twice) == {"a": ["1", "2"]}
    assert call("a: list[int]", twice) == {"a": [1, 2]}
    assert call("a: set[int] | None = None", twice) == {"a": {1, 2}}
    assert call("a: fused.types.Bounds", [("a", n) for n in "1234"]) == {"a": [1, 2, 3, 4]}


def test_what_is_missing_is_named_and_a_default_is_never_shared() -> None:
    with pytest.raises(MissingParameter, match="'count' \\(int\\)"):
        call("count: int", [("other", "1")])
    function = function_of("items: list = [1]")
    binder = plan(function)
    first = binder.bind()[1]["items"]
    first.append(2)
    assert binder.bind()[1]["items"] == [1]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("bounds: fused.types.Bounds", list), ("bbox: fused.types.Bbox", shapely.Polygon), ("bounds: list", list),
        ("bounds: tuple", list),
        ("bounds", gpd.GeoDataFrame), ("bounds=None", gpd.GeoDataFrame),
        ("a=1, bounds: gpd.GeoDataFrame = None", gpd.GeoDataFrame),
        ("tile: fused.types.TileXYZ", fused.types.TileXYZ),
        ("n: int = 1, t: fused.types.TileGDF = None", gpd.GeoDataFrame),
        ("first", gpd.GeoDataFrame), ("area: shapely.Polygon", shapely.Polygon), ("bounds: str", str),
        ("bounds: fused.types.Bounds | None = None", list), ("bounds: 'fused.types.Bounds' = [0, 0, 1, 1]", list),
    ],
)  # fmt: skip
def test_a_tile_is_handed_over_as_the_parameter_asks(signature: str, expected: type) -> None:
    values = call(signature, tile=(1, 1, 0))
    assert any(isinstance(value, expected) for value in values.values()), values


def test_a_tiles_numbers_go_to_x_y_z_and_nothing_else_is_touched() -> None:
    assert call("x: int, y: int, z: int", tile=(3, 1, 2)) == {"x": 1, "y": 2, "z": 3}
    assert call("n: int = 1", tile=(3, 1, 2)) == {"n": 1}
    assert call("n=5", tile=(3, 1, 2)) == {"n": 5}
    assert call("first", [("first", "mine")], tile=(3, 1, 2)) == {"first": "mine"}


def test_reading_two_parameters_costs_less_than_ten_microseconds() -> None:
    binder = plan(function_of("n: int, tag: str"))
    query = [["n", "3"], ["tag", "a"]]
    best = min(_timed(lambda: binder.bind(query, {}, {}, None)) for _ in range(5))  # type: ignore[arg-type]
    assert best < 10e-6


def _timed(call_: Any, times: int = 2_000) -> float:
    begin = time.process_time()
    for _ in range(times):
        call_()
    return (time.process_time() - begin) / times


def test_pydantic_models_and_unknown_classes() -> None:
    @dataclasses.dataclass
    class Own:
        n: int

    assert read(Own, "x") == "x"

    class Model:
        @classmethod
        def model_validate(cls, value: Any) -> Any:
            return ("validated", value)

    assert read(Model, '{"a": 1}') == ("validated", {"a": 1})


@pytest.mark.parametrize(
    ("annotation", "text", "advice"),
    [
        ("fused.types.Bounds", "1,2,3", "write four numbers west,south,east,north"),
        ("fused.types.Bounds", "[1,2", "GeoJSON or WKT"),
        ("fused.types.Tile", "somewhere", r"or \[x, y, z\]"),
        ("list[str]", "a,b", r'write a JSON list, as \["a", "b"\]'),
        ("list[int]", "3", "it is no JSON list"),
    ],
)
def test_what_cannot_be_read_is_answered_with_how_it_is_written(annotation: str, text: str, advice: str) -> None:
    def udf(value: Any) -> None: ...

    udf.__annotations__["value"] = annotation
    with pytest.raises(InvalidParameter, match=advice):
        plan(udf).bind(query=[("value", text)])


def test_bbox_and_bounds_are_names_of_one_thing(shared_worker) -> None:
    box = "[1, 2, 3, 4]"
    assert shared_worker.run("def udf(bounds: list):\n    return bounds\n", query=[["bbox", box]]).value == [1, 2, 3, 4]
    assert shared_worker.run("def udf(bbox: list):\n    return bbox\n", query=[["bounds", box]]).value == [1, 2, 3, 4]
    both = "def udf(bounds: list, bbox: list):\n    return [bounds, bbox]\n"
    assert shared_worker.run(both, query=[["bounds", "[1]"], ["bbox", "[2]"]]).value == [[1], [2]]
    given = shared_worker.run("def udf(bounds: list):\n    return bounds\n", query=[["bounds", "[1]"], ["bbox", "[2]"]])
    assert given.value == [1]
