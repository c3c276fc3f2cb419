"""What comes back is what was stored: type, dtypes, values; and it may be changed."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import pathlib
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pandas.testing import assert_frame_equal, assert_series_equal

import fused
from fused._cache import entry, store, values
from tests.unit.cache.conftest import forget_memory

HOLES = shapely.box(0, 0, 1, 1).difference(shapely.box(0.2, 0.2, 0.4, 0.4))
GEOMETRIES: dict[str, list[Any]] = {
    "points": [shapely.Point(1, 2), shapely.Point(3, 4)],
    "points with z": [shapely.Point(1, 2, 3), shapely.Point(3, 4, 5)],
    "lines": [shapely.LineString([(0, 0), (1, 1)]), shapely.LineString([(0, 0), (1, 1), (2, 0)])],
    "polygons": [shapely.box(0, 0, 1, 1), HOLES],
    "multipolygons": [shapely.MultiPolygon([HOLES, shapely.box(2, 2, 3, 3)]), shapely.MultiPolygon([HOLES])],
    "polygons and multipolygons": [HOLES, shapely.MultiPolygon([HOLES])],
    "mixed with none": [shapely.Point(1, 2), None, HOLES],
    "empty ones": [shapely.Point(), shapely.Polygon()],
    "collection": [shapely.GeometryCollection([shapely.Point(1, 2), HOLES])],
    "not finite": [shapely.Point(float("inf"), 1), shapely.Point(0, -0.0)],
    "none at all": [],
    "srid": [shapely.set_srid(shapely.Point(1, 2), 4326)],
}
FRAMES: dict[str, pd.DataFrame] = {
    "one row": pd.DataFrame({"x": [1], "s": ["a"]}),
    "numbers": pd.DataFrame(
        {name: np.arange(5).astype(name) for name in ("int8", "uint16", "int64", "float32", "bool")}
    ),
    "nan": pd.DataFrame({"x": [1.0, np.nan, -0.0, np.inf]}),
    "times": pd.DataFrame({"t": pd.to_datetime(["2020-01-01", None]), "d": pd.to_timedelta(["1s", None])}),
    "seconds": pd.DataFrame({"t": np.array(["2020-01-01", "NaT"], "M8[s]")}),
    "days": pd.DataFrame({"t": pd.date_range("2020-01-01", periods=3)}),
    "zone": pd.DataFrame({"t": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin")}),
    "texts": pd.DataFrame({"s": ["a", None, "", "ä\U0001f600"]}),
    "python texts": pd.DataFrame({"s": pd.array(["a", None], dtype=pd.StringDtype("python"))}),
    "arrow texts": pd.DataFrame({"s": pd.array(["a", None], dtype=pd.StringDtype("pyarrow"))}),
    "nullable": pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
    "categories": pd.DataFrame({"c": pd.Categorical(["a", "b", "a"], categories=["b", "a"], ordered=True)}),
    "objects": pd.DataFrame({"o": [[1], {"a": 2}, None]}),
    "index": pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="key")),
    "range": pd.DataFrame({"x": [1, 2]}, index=pd.RangeIndex(4, 8, 2, name="key")),
    "levels": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
    "same names": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "numbered": pd.DataFrame([[1, 2.5]]),
    "named columns": pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="kind")),
    "no rows": pd.DataFrame({"a": np.zeros(0), "s": pd.array([], dtype="str")}),
    "no columns": pd.DataFrame(index=range(3)),
    "nothing": pd.DataFrame(),
    "arrow dtype": pd.DataFrame({"x": pd.array([1, None], dtype=pd.ArrowDtype(pa.int32()))}),
    "interval": pd.DataFrame({"i": pd.interval_range(0, 3)}),
    "complex": pd.DataFrame({"z": [1 + 2j]}),
    "big endian": pd.DataFrame({"x": np.array([1, 2], ">i4")}),
}


@dataclasses.dataclass
class Thing:
    a: int
    b: list[int]


PLAIN: list[Any] = [
    None, True, 0, -1, 2**200, -(2**10000), 1.5, -0.0, float("inf"), "", "ä\udc80\0", b"", b"\0\xff", bytearray(b"x"),
    [], [1, [2, {"a": None}]], {}, {"a": {"b": [1.5]}}, (), (1, "a"), {1, 2}, frozenset({"a"}), {1: "a"}, 1 + 2j,
    decimal.Decimal("1.10"), datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    datetime.timedelta(seconds=1), uuid.UUID(int=5), pathlib.Path("/a/b"), OrderedDict(a=1), deque([1, 2]), range(3),
    Thing(1, [2]), shapely.Point(1, 2), np.float32(1.5), pd.Timestamp("2020-01-01"), pd.NaT, {"t": (1, 2)},
]  # fmt: skip


VALUES: dict[str, Any] = {}


def through_the_cache(key: str, value: Any) -> list[Any]:
    """What the first hit and a later one give: read from the file both, and the later of a settled file."""
    VALUES[key] = value
    calls = []

    @fused.cache(cache_key_exclude=["hidden"])
    def give(key: str, hidden: Any) -> Any:
        calls.append(key)
        return VALUES[key]

    give(key, value)
    first = give(key, value)
    forget_memory()
    for path in Path(fused.options.cache_directory).rglob("data_*"):
        settle(path)
    second, third = give(key, value), give(key, value)
    assert len(calls) <= 1  # an earlier call of this test may have left the entry
    return [first, second, third]


def settle(path: Path) -> None:
    """Waits until the file's times are past, so that its state says which content it has."""
    while not entry.state_of(path).is_settled:
        time.sleep(0.005)


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: f"{type(value).__name__} {str(value)[:20]!a}")
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    for back in through_the_cache("value", value):
        assert type(back) is type(value)
        assert repr(back) == repr(value)


@pytest.mark.parametrize("name", FRAMES)
def test_tables_come_back_as_they_were(name: str) -> None:
    frame = FRAMES[name]
    for back in through_the_cache(name, frame):
        assert type(back) is pd.DataFrame
        assert_frame_equal(back, frame, check_exact=True, check_freq=True, check_flags=True)
        assert list(back.dtypes) == list(frame.dtypes)
        assert [repr(dtype) for dtype in back.dtypes] == [repr(dtype) for dtype in frame.dtypes]
        assert back.columns.dtype == frame.columns.dtype and type(back.index) is type(frame.index)
        if len(back) and len(back.columns):
            back.iloc[0, 0] = back.iloc[-1, 0]  # and may be changed
            back["new"] = 1


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("crs", [None, 4326, "EPSG:25833"])
def test_geometries_come_back_as_they_were(name: str, crs: Any) -> None:
    frame = gpd.GeoDataFrame({"n": range(len(GEOMETRIES[name]))}, geometry=GEOMETRIES[name], crs=crs)
    frame = frame.rename_geometry("shape")
    for back in through_the_cache(name, frame):
        assert type(back) is gpd.GeoDataFrame and back.crs == frame.crs
        assert back.active_geometry_name == "shape"
        assert_geodataframe_equal(back, frame)
        was, now = np.asarray(frame.geometry), np.asarray(back.geometry)
        assert shapely.to_wkb(now, include_srid=True).tolist() == shapely.to_wkb(was, include_srid=True).tolist()
        back["area"] = back.area


def test_series_attrs_and_subclasses_come_back_as_they_were() -> None:
    series = pd.Series([1.5, 2.5], index=["a", "b"], name="s")
    for back in through_the_cache("series", series):
        assert_series_equal(back, series)
    frame = pd.DataFrame({"x": [1]})
    frame.attrs["source"] = {"a": [1]}
    for back in through_the_cache("attrs", frame):
        assert back.attrs == frame.attrs
    places = gpd.GeoSeries([shapely.Point(1, 2)], crs=4326)
    for back in through_the_cache("geoseries", places):
        assert type(back) is gpd.GeoSeries and back.crs == places.crs and back.equals(places)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(5), np.zeros((0, 3)),
        np.arange(10)[::2], np.arange(12).reshape(3, 4)[:, 1:3], np.array(["a", "bc"]), np.array([b"a"]),
        np.array(["2020-01-01", "NaT"], "M8[D]"), np.array([1, 2], ">i4"), np.array([True, False]),
        np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), np.array([[1], {2}], object), np.array([1 + 2j], "c8"),
        np.ma.array([1, 2], mask=[True, False]), np.zeros((300, 300), "f8"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)  # fmt: skip
def test_arrays_come_back_as_they_were_and_may_be_changed(array: Any) -> None:
    for back in through_the_cache("array", array):
        assert type(back) is type(array) and back.dtype == array.dtype and back.shape == array.shape
        np.testing.assert_array_equal(back, array)
        assert back.flags.writeable
        assert array.flags.c_contiguous == back.flags.c_contiguous or not array.flags.forc
        back.reshape(-1)[:1] = back.reshape(-1)[-1:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=3, max_side=4, min_side=0)))
def test_any_array_is_the_same_after_the_way_through_bytes(array: Any) -> None:
    body = values.encode(array)
    back = values.decode(body.kind, body.note, memoryview(bytearray(b"".join(map(bytes, body.parts)))))
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=NESTED)
def test_any_plain_value_is_the_same_after_the_way_through_bytes(value: Any) -> None:
    body = values.encode(value)
    back = values.decode(body.kind, body.note, memoryview(bytearray(b"".join(map(bytes, body.parts)))))
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        pa.table({"a": [1, 2], "s": ["q", None]}), pa.table({"a": pa.array([], pa.int64())}),
        pa.table({"a": pa.chunked_array([[1], [2, 3]])}, metadata={"k": "v"}), pa.record_batch({"a": [1]}),
        pa.table({"n": [[1, 2], None]}).slice(1),
    ],
    ids=str,
)  # fmt: skip
def test_arrow_tables_come_back_as_they_were(value: Any) -> None:
    for back in through_the_cache("arrow", value):
        assert type(back) is type(value) and back.equals(value) and back.schema.metadata == value.schema.metadata


def test_changing_what_was_got_changes_neither_the_cache_nor_what_others_got() -> None:
    big = pd.DataFrame({"a": np.arange(300_000), "b": np.ones(300_000), "s": "text"})
    places = gpd.GeoDataFrame({"n": [1, 2]}, geometry=GEOMETRIES["points"], crs=4326)
    for name, value, column in (("big", big, "a"), ("small", FRAMES["one row"], "x"), ("places", places, "n")):
        for one in through_the_cache(name, value):
            one.loc[:, column] = 77
            one[column].to_numpy(copy=False)
            del one[column]
        for one in through_the_cache(name, value):
            assert one[column].equals(value[column])
    array = np.arange(300_000)
    one, two, three = through_the_cache("array", array)
    one[:] = 0
    two[5] = -1
    assert three[5] == 5 and through_the_cache("array", array)[0][5] == 5


def test_large_values_are_mapped_and_outlive_their_file(entries: Callable[[], list[Path]]) -> None:
    array = np.arange(1_000_000)
    back = through_the_cache("large", array)[2]
    base = back
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert isinstance(base, memoryview)
    assert str(entries()[0]) in Path("/proc/self/maps").read_text()
    assert not any(
        str(entries()[0]) in str(link.resolve()) for link in Path("/proc/self/fd").iterdir() if link.exists()
    )
    for path in entries():
        path.unlink()
    assert back.sum() == array.sum()


def test_memory_keeps_small_tables_only_and_not_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_memory()

    @fused.cache
    def table(rows: int, kind: str) -> pd.DataFrame:
        return pd.DataFrame({"x": [{}] * rows if kind == "objects" else np.zeros(rows)})

    def twice(rows: int, kind: str = "numbers") -> None:
        table(rows, kind)
        for path in Path(fused.options.cache_directory).rglob("data_*"):
            settle(path)
        table(rows, kind)

    twice(1)
    assert len(store.memory._kept) == 1
    twice(1, "objects")
    twice(store.MEMORY_ENTRY_BYTES_MAX // 8 + 1)
    assert len(store.memory._kept) == 1
    monkeypatch.setattr(store, "MEMORY_BYTES_MAX", 3000)
    for rows in range(2, 9):
        twice(rows)
    assert 1 <= len(store.memory._kept) <= 4
    assert store.memory._bytes == sum(kept.state.size for kept in store.memory._kept.values()) <= 3000
    forget_memory()
    assert store.memory._bytes == 0
