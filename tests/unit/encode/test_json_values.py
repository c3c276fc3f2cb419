"""Python values as JSON, read back by json."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from fused._worker.encode import NotSerialisable, encode


def text(value) -> str:
    return bytes(encode(value, ["json"], format_from="query").body).decode("utf-8")


def through(value):
    return json.loads(text(value), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(plain)
def test_any_plain_value_reads_back_equal_and_of_the_same_types(value):
    back = through(value)
    assert back == value
    assert repr(back) == repr(value)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_is_valid_utf8_json_and_lone_surrogates_are_replaced(value):
    assert through(value).replace("\ufffd", "") == "".join(
        c for c in value if not "\ud800" <= c <= "\udfff" and c != "\ufffd"
    )


@settings(max_examples=200, deadline=None)
@given(st.floats())
def test_any_float_reads_back_as_the_same_float_or_null(value):
    assert through([value]) == [value if math.isfinite(value) else None]


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Place:
    name: str
    at: tuple[int, int]


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**200, 2**200),
        (-(2**63), -(2**63)),
        (1.0, 1.0),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.longdouble(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.datetime64("2024-01-02T03:04"), "2024-01-02T03:04"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.ma.masked_array([1, 2], mask=[True, False]), [None, 2]),
        (np.array([(1, "a")], dtype=[("i", int), ("s", "U1")]), [{"i": 1, "s": "a"}]),
        ({3}, [3]),
        (frozenset({3}), [3]),
        ((1, (2,)), [1, [2]]),
        (Pair(1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (
            {7: "a", None: "b", True: "c", 2.5: "d", (1, 2): "e"},
            {"7": "a", "null": "b", "true": "c", "2.5": "d", "(1, 2)": "e"},
        ),
        (datetime.datetime(2024, 1, 2, 3, 4, 5, 6), "2024-01-02T03:04:05.000006"),
        (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02T00:00:00+00:00"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(seconds=90), 90.0),
        (decimal.Decimal("1.10"), 1.1),
        (decimal.Decimal("NaN"), None),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Place("x", (1, 2)), {"name": "x", "at": [1, 2]}),
        (1 + 2j, [1.0, 2.0]),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timedelta("1min"), 60.0),
        (pd.Period("2024-01"), "2024-01"),
        ([pd.NA, {"t": pd.NaT}], [None, {"t": None}]),
        ({"g": {"p": shapely.Point(1, 2)}}, {"g": {"p": {"type": "Point", "coordinates": [1.0, 2.0]}}}),
        ([b"text"], ["text"]),
        ([[pd.DataFrame({"a": [1]})]], [[[{"a": 1}]]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_many_libraries_have_a_plain_form(value, expected):
    assert through(value) == expected


def test_what_json_cannot_carry_is_refused_by_type():
    for value in (object(), [b"\xff"], {"a": {"b": lambda: 1}}, [iter(())]):
        with pytest.raises(NotSerialisable, match="cannot be written as JSON"):
            text(value)


def test_a_list_that_contains_itself_and_one_that_is_too_deep_are_refused():
    loop: list = []
    loop.append(loop)
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    table: dict = {}
    table["self"] = table
    for value in (loop, deep, table):
        with pytest.raises(NotSerialisable, match="512"):
            text(value)


def test_an_error_in_a_values_own_code_is_the_users_error():
    class Bad:
        @property
        def __geo_interface__(self):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        text([Bad()])
    assert text([1]) == "[1]"  # and nothing of it stays


def test_a_list_that_shrinks_while_it_is_written_is_no_crash():
    values: list = []

    class Shrinks:
        def model_dump(self):
            values.clear()
            return 0

    values.extend([Shrinks(), 1, 2, 3])
    assert through(values) == [0]
