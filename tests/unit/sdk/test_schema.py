"""The four forms of a schema, its types and its text."""

from __future__ import annotations

import json
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fused
from fused.models import Field, Schema

TEXT = "id:int64 label:string"


@pytest.mark.parametrize(
    "form",
    [
        TEXT,
        "id:int64, label:string",
        "id: long\n label: utf8",
        '{"id": "int64", "label": "string"}',
        '{"fields": [{"name": "id", "type": "int64"}, {"name": "label", "type": "string", "nullable": true}]}',
        '[{"name": "id", "type": "int64"}, {"name": "label", "type": "string"}]',
        {"id": "int64", "label": str},
        {"fields": [{"name": "id", "type": "int64"}, {"name": "label", "type": "string", "metadata": None}]},
        Schema([Field("id", "int64"), Field("label", "string")]),
    ],
)
def test_every_form_means_the_same(form: Any) -> None:
    @fused.udf(schema=form)
    def udf() -> None: ...

    assert str(udf.table_schema) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "t:timestamp[us, tz=UTC]",
        "d:decimal128(10, 2)",
        "a:list<int64> b:struct<x:float64, y:list<string>>",
        "v:fixed_size_list<float64, 4> h:fixed_size_binary[16]",
        '"two words":int64 "a:b":bool',
        "geometry:geometry when:date32 took:duration[ms] at:time64[us]",
    ],
)
def test_text_comes_back_as_it_was(text: str) -> None:
    schema = Schema.parse(text)
    assert str(schema) == text
    assert Schema.parse(json.dumps(schema.to_json())) == schema


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("id", "'id' has no type"),
        ("id:int65", "'int65' is unknown; types are"),
        ("id:int64 id:string", "'id' twice"),
        ("t:timestamp[weeks]", "unit of s|ms|us|ns"),
        ("a:list", "list<int64>"),
        ("a:list<int64", "'>' is missing"),
        ('{"fields": 3', "not JSON"),
        ('{"fields": [{"name": "x"}]}', "a schema's field is"),
        ({"a": "int64 extra"}, "left over"),
        ({"fields": [], "colour": 1}, "unknown keys"),
        ({"a": {"type": "map"}}, "'map' is unknown"),
        ('"open:int64', "does not end"),
    ],
)
def test_wrong_schemas_are_refused_at_the_decorator(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("[", r"\[").replace("|", r"\|")):
        fused.udf(schema=wrong)


def test_a_schema_of_another_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="schema is a int"):
        fused.udf(schema=3)  # type: ignore[call-overload]


def test_tables_tell_their_schema() -> None:
    frame = pd.DataFrame({"n": [1], "x": [0.5], "s": ["a"], "b": [True], "l": [[1, 2]]})
    frame["when"] = pd.Timestamp("2024-01-01", tz="UTC")
    assert str(Schema.of_value(frame)).startswith("n:int64 x:float64 s:")
    assert "when:timestamp[" in str(Schema.of_value(frame))
    assert Schema.parse(str(Schema.of_value(frame))) == Schema.of_value(frame)
    places = gpd.GeoDataFrame({"n": [1]}, geometry=gpd.points_from_xy([1], [2]), crs=4326)
    assert str(Schema.of_value(places)) == "n:int64 geometry:geometry"
    table = pa.table({"i": pa.array([1], pa.int8()), "d": pa.array([{"a": 1}])})
    assert str(Schema.of_value(table)) == "i:int8 d:struct<a:int64>"
    assert Schema.of_value(np.zeros(3)) is None
    assert Schema.of_value(3) is None


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=12), st.sampled_from(["int64", "string", "list<float64>"])),
        unique_by=lambda pair: pair[0],
        max_size=8,
    )
)
def test_any_column_name_survives_the_text(pairs: list[tuple[str, str]]) -> None:
    schema = Schema.parse(dict(pairs)) if pairs else Schema()
    if "fields" in schema.names:
        return  # {"fields": …} is the other form
    assert Schema.parse(str(schema)) == schema
