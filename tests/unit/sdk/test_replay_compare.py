"""What two results are said to differ in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fused._cli.revisions import coloured, diff_of
from fused._replay_compare import compare
from fused.models.udf import Udf


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_equal_values_differ_in_nothing_also_where_they_are_missing() -> None:
    assert compare(frame(a=[1.0, None], b=["x", None]), frame(a=[1.0, None], b=["x", None])) == []
    assert compare(frame(a=[np.array([1, 2]), [3]]), frame(a=[np.array([1, 2]), [3]])) == []
    assert compare(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == []
    assert compare({"a": [1]}, {"a": [1]}) == []
    assert compare(b"x", b"x") == [] and compare(None, None) == []


def test_rows_and_cells_are_named() -> None:
    said = compare(frame(k=["a", "b", "c"], v=[1, 2, 3]), frame(k=["a", "B", "c"], v=[1, 5, 3]))
    assert said == ["2 cells differ in 3 rows compared:", "  row 1: k: 'b' → 'B'; v: 2 → 5"]
    said = compare(frame(a=[1, 2], gone=[0, 0]), frame(a=[1.5], new=[1]))
    assert said[:2] == ["columns only in A: gone", "columns only in B: new"]
    assert "column a: int64 in A, float64 in B" in said
    assert "A has 2 rows, B 1: the last 1 of A have no counterpart" in said
    assert said[-1] == "  row 0: a: 1 → 1.5"


def test_records_of_json_are_tables_too() -> None:
    assert compare([{"n": 1}], [{"n": 2}])[-1] == "  row 0: n: 1 → 2"


def test_many_differences_are_counted_and_some_are_shown() -> None:
    said = compare(frame(a=range(1000)), frame(a=range(1, 1001)))
    assert said[0] == "1000 cells differ in 1000 rows compared:" and len(said) == 21


def test_geometries_are_compared_by_their_coordinates() -> None:
    geopandas = pytest.importorskip("geopandas", reason="not tested: geometries, geopandas is not installed")
    from shapely.geometry import Point

    a = geopandas.GeoDataFrame(geometry=[Point(0, 0), Point(1, 1), None])
    b = geopandas.GeoDataFrame(geometry=[Point(0, 0), Point(1, 2), None])
    assert compare(a, a.copy()) == []
    assert compare(a, b)[-1] == "  row 1: geometry: POINT (1 1) → POINT (1 2)"


def test_arrays_say_how_many_cells_and_by_how_much() -> None:
    assert compare(np.zeros((2, 2)), np.zeros((2, 3))) == ["A has the shape (2, 2), B (2, 3)"]
    assert compare(np.array([1, 2, 3]), np.array([1, 2, 10])) == ["1 of 3 cells differ, by 7 at most"]
    pair = (np.array([1]), [0, 0, 1, 1]), (np.array([2]), [0, 0, 1, 1])
    assert compare(*pair) == ["part 1: 1 of 1 cells differ, by 1 at most"]


def test_other_kinds_are_told_apart() -> None:
    assert compare("a\nb", "a\nc")[-2:] == ["-b", "+c"]
    assert compare(1, "1") == ["A is a int, B a str"]
    assert compare(b"ab", b"abc") == ["A has 2 bytes, B 3; they differ"]


def test_a_diff_of_functions_shows_code_and_settings_in_colour() -> None:
    old = Udf("f", "@fused.udf\ndef udf():\n    return 1\n", entrypoint="udf")
    new = Udf("f", "@fused.udf\ndef udf():\n    return 2\n", entrypoint="udf", cache_max_age=60)
    lines = list(diff_of(old, new, "1", "2"))
    assert "-    return 1" in lines and "+    return 2" in lines and "+cache_max_age: 60" in lines
    assert list(diff_of(old, old.copy(), "1", "2")) == []
    painted = list(coloured(lines))
    assert "\033[31m-    return 1\033[0m" in painted and "\033[32m+    return 2\033[0m" in painted
