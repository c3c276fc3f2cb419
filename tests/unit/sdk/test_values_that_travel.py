"""Values on their way: as they were given, or an error."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest

import fused
from fused._run.arguments import Call
from fused._run.decode import decode
from fused._run.parameters import encode_parameters


def test_objects_of_python_reach_a_local_function_as_they_are() -> None:
    import pandas as pd

    def f(
        d: datetime.date,
        t: datetime.timedelta,
        u: uuid.UUID,
        s: pd.Timestamp,
        span: pd.Timedelta,
        rows: pd.Series,
    ) -> Any:
        return [d, t, u, s, span, rows]

    given: list[Any] = [
        datetime.date(2024, 1, 1), datetime.timedelta(seconds=1), uuid.uuid4(), pd.Timestamp("2024-01-01"),
        pd.Timedelta("5ns"), pd.Series([1, 2]),
    ]  # fmt: skip
    got = fused.run(f, **dict(zip(["d", "t", "u", "s", "span", "rows"], given, strict=True)), engine="local")
    assert got[:5] == given[:5] and got[5].equals(given[5])


def test_a_text_that_is_none_is_still_refused_locally() -> None:
    def f(d: datetime.date) -> Any:
        return d

    with pytest.raises(Exception, match="cannot be read as"):
        fused.run(f, d="no day", engine="local")


def test_whole_numbers_beyond_64_bits_travel_as_text() -> None:
    sent = encode_parameters({"a": 2**64 + 1, "b": -(2**63) - 1, "c": 2**64 - 1})
    assert sent == {"a": str(2**64 + 1), "b": str(-(2**63) - 1), "c": 2**64 - 1}


def test_a_table_of_arguments_may_not_name_what_the_function_does_not_have() -> None:
    import pandas as pd

    @fused.udf
    def f(n: int = 1) -> int:
        return n

    with pytest.raises(TypeError, match="typo"):
        f(arg_list=pd.DataFrame({"typo": [1, 2]}))
    with pytest.raises(ValueError, match="nothing to run"):
        f(arg_list=pd.DataFrame({"n": []}))


def test_a_run_whose_table_has_no_schema_is_still_a_good_run() -> None:
    @fused.udf
    def f() -> Any:
        import pandas as pd

        return pd.DataFrame({"a": [1, "x"]})

    assert "a" in repr(fused.run(f, engine="local", _return_response=True).data)
    assert fused.run(f, engine="local", _return_response=True) is not None
    assert f.run_local() is not None


def test_unknown_arguments_of_a_saved_function_are_left_out_on_purpose_only() -> None:
    @fused.udf
    def f(n: int = 1) -> int:
        return n

    assert Call(ignore_unknown=True).known_parameters(f, {"n": 2, "bogus": 1}) == {"n": 2}
    with pytest.raises(TypeError, match="bogus"):
        Call().known_parameters(f, {"n": 2, "bogus": 1})


def test_a_geodataframe_in_feather_comes_back_as_one() -> None:
    import io

    import geopandas as gpd
    import shapely

    file = io.BytesIO()
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(1, 2)], crs=4326).to_feather(file)
    back = decode("application/vnd.apache.arrow.file", file.getvalue())
    assert isinstance(back, gpd.GeoDataFrame) and back.crs == 4326
