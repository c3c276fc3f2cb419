"""Python values as parameters that travel."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

import fused
from fused._run.parameters import encode_parameter, encode_parameters, parameter_text


class Colour(enum.Enum):
    RED = "red"
    MANY = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        ("text", "text"),
        (3, 3),
        (2.5, 2.5),
        (True, True),
        ([1, "a", None], [1, "a", None]),
        ((1, 2), [1, 2]),
        ({"a": (True,)}, {"a": [True]}),
        ({3, 1, 2}, [1, 2, 3]),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), "2024-01-02T03:04:00+00:00"),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
        (pd.NaT, None),
        (dt.timedelta(minutes=1), 60.0),
        (pd.Timedelta("2s"), 2.0),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Path("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        (Colour.MANY, [1, 2]),
        (Level.LOW, 1),
        (shapely.Point(1, 2), "POINT (1 2)"),
        (pd.Series([1, 2]), [1, 2]),
        ([dt.date(2024, 1, 1), np.int8(1)], ["2024-01-01", 1]),
        (math.nan, "nan"),
        ({"x": math.inf}, {"x": "inf"}),
    ],
)
def test_values_travel_as_json_says_them(value: Any, sent: Any) -> None:
    assert encode_parameter(value, "p") == sent
    assert type(encode_parameter(value, "p")) is type(sent)
    json.dumps(encode_parameter(value, "p"), allow_nan=False)


@pytest.mark.parametrize("value", [[2**64], {"a": [-(2**63) - 1]}, json.loads("[" * 40 + "]" * 40)])
def test_what_json_readers_refuse_travels_as_text_that_annotations_read(value: Any) -> None:
    sent = encode_parameter(value, "p")
    assert isinstance(sent, str) and json.loads(sent) == value


def test_an_address_carries_the_same_values_as_text() -> None:
    sent = encode_parameters({"flag": True, "many": (1, "é"), "text": "a b", "n": 2.5, "none": None})
    texts = {name: parameter_text(value) for name, value in sent.items()}
    assert texts == {"flag": "true", "many": '[1, "é"]', "text": "a b", "n": "2.5", "none": ""}


def test_tables_travel_as_records_and_geojson() -> None:
    frame = pd.DataFrame({"n": [1, 2], "s": ["a", None]})
    assert encode_parameter(frame, "p") == [{"n": 1, "s": "a"}, {"n": 2, "s": None}]
    places = gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(500000, 0)], crs=32631)
    collection = encode_parameter(places, "p")
    assert collection["type"] == "FeatureCollection"
    assert collection["features"][0]["geometry"]["coordinates"] == pytest.approx([3.0, 0.0])


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, decimal.Decimal("1.5"), lambda: 1])
def test_what_cannot_travel_names_parameter_and_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter 'p' is a .*, which cannot travel to a server"):
        encode_parameter(value, "p")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=4) | st.dictionaries(st.text(), JSON, max_size=4))
def test_json_values_read_back_as_they_were(value: Any) -> None:
    assert json.loads(json.dumps(encode_parameters({"p": value})))["p"] == value


@given(st.lists(st.integers()) | st.dictionaries(st.text(), st.booleans()) | st.booleans() | st.text() | st.integers())
def test_the_function_gets_locally_what_it_would_get_remotely(value: Any) -> None:
    kind = type(value)

    def udf(p):
        return p

    udf.__annotations__["p"] = kind
    made = fused.udf(udf)
    sent = encode_parameter(value, "p")
    assert fused.run(made, p=sent, engine="local") == fused.run(made, p=value, engine="local") == value
