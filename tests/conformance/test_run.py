"""Running an object: parameters, async, headers, ages, nesting, sizes."""

# The quotes of annotations are part of what is tested: the client sends the function's text.
# ruff: noqa: UP037, RUF013
from __future__ import annotations

import asyncio
import datetime
import inspect
import json
from typing import Any

import pytest

import fused


@fused.udf
def table(n: int = 1, label: str = "a"):
    import pandas as pd

    return pd.DataFrame({"n": [n, n * 2], "label": [label, label]})


def test_an_object_runs_with_its_defaults(run):
    frame = run(table)
    assert frame["n"].tolist() == [1, 2]
    assert frame["label"].tolist() == ["a", "a"]


def test_an_object_runs_with_parameters(run):
    assert run(table, n=21, label="ü 'quoted' \"x\" & = ?").to_dict("list") == {
        "n": [21, 42],
        "label": ["ü 'quoted' \"x\" & = ?"] * 2,
    }


def test_parameters_may_come_as_a_dict(run):
    assert run(table, parameters={"n": 4, "label": "p"})["n"].tolist() == [4, 8]


@fused.udf
def told(
    whole: int = 0,
    real: float = 0.0,
    yes: bool = False,
    text: str = "",
    items: list = [],  # noqa: B006
    pair: tuple = (),
    mapping: dict = {},  # noqa: B006
):
    import pandas as pd

    values = {"whole": whole, "real": real, "yes": yes, "text": text, "items": items, "pair": pair, "mapping": mapping}
    return pd.DataFrame(
        {
            "name": list(values),
            "type": [type(v).__name__ for v in values.values()],
            "value": [repr(v) for v in values.values()],
        }
    )


def test_each_encodable_scalar_and_container_arrives_as_its_annotation(run):
    frame = run(told, whole=7, real=2.5, yes=True, text="3", items=[1, "a", None], pair=(1, 2), mapping={"k": [1]})
    seen = dict(zip(frame["name"], zip(frame["type"], frame["value"], strict=True), strict=True))
    assert seen == {
        "whole": ("int", "7"),
        "real": ("float", "2.5"),
        "yes": ("bool", "True"),
        "text": ("str", "'3'"),
        "items": ("list", "[1, 'a', None]"),
        "pair": ("tuple", "(1, 2)"),
        "mapping": ("dict", "{'k': [1]}"),
    }


def test_false_is_false(run):
    frame = run(told, yes=False)
    assert frame.set_index("name").loc["yes", "value"] == "False"


def test_dates_and_times_arrive_as_such(run):
    @fused.udf
    def udf(at: "datetime.datetime" = None, day: "datetime.date" = None):
        import datetime

        import pandas as pd

        assert isinstance(at, datetime.datetime) and isinstance(day, datetime.date), (at, day)
        return pd.DataFrame({"at": [at.isoformat()], "day": [day.isoformat()]})

    frame = run(udf, at=datetime.datetime(2024, 5, 6, 7, 8, 9), day=datetime.date(2024, 5, 6))
    assert frame.iloc[0].tolist() == ["2024-05-06T07:08:09", "2024-05-06"]


def test_a_dataframe_is_a_parameter(run):
    import pandas as pd

    @fused.udf
    def udf(df: "pd.DataFrame"):
        import pandas as pd

        assert isinstance(df, pd.DataFrame), type(df)
        return pd.DataFrame({"total": [int(df["a"].sum())], "columns": [",".join(df.columns)]})

    assert run(udf, df=pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})).iloc[0].tolist() == [6, "a,b"]


def test_a_geodataframe_is_a_parameter(run):
    import geopandas as gpd
    import shapely

    @fused.udf
    def udf(places: "gpd.GeoDataFrame"):
        import geopandas as gpd

        assert isinstance(places, gpd.GeoDataFrame), type(places)
        return places

    sent = gpd.GeoDataFrame({"a": [1, 2]}, geometry=[shapely.Point(1, 2), shapely.Point(3, 4)], crs=4326)
    back = run(udf, places=sent)
    assert back.geometry.tolist() == sent.geometry.tolist()
    assert back["a"].tolist() == [1, 2]


@pytest.mark.v2
def test_a_geometry_array_and_numpy_scalars_are_parameters(run):
    import numpy as np
    import shapely

    @fused.udf
    def udf(place: "shapely.Polygon", n: int, values: list, span: float):
        import pandas as pd

        return pd.DataFrame({"area": [place.area], "n": [n + 1], "sum": [sum(values)], "span": [span]})

    import pandas as pd

    frame = run(udf, place=shapely.box(0, 0, 2, 3), n=np.int64(4), values=np.arange(4), span=pd.Timedelta(seconds=90))
    assert frame.iloc[0].tolist() == [6.0, 5, 6, 90.0]


def test_bounds_are_a_parameter(run):
    @fused.udf
    def udf(bounds: "fused.types.Bounds" = None):
        import pandas as pd

        return pd.DataFrame({"bounds": [list(map(float, bounds))]})

    assert list(run(udf, bounds=[-1.5, 2, 3, 4.25])["bounds"][0]) == [-1.5, 2.0, 3.0, 4.25]


def test_none_reaches_an_optional_parameter(run):
    @fused.udf
    def udf(n: "int | None" = 5):
        import pandas as pd

        return pd.DataFrame({"is_none": [n is None]})

    assert bool(run(udf, n=None)["is_none"][0]) is True


def test_a_parameter_that_cannot_be_read_is_named(run):
    with pytest.raises(Exception, match="n"):
        run(table, n="many")


@pytest.mark.v2
def test_run_async_gives_the_result(run):
    assert asyncio.run(fused.run_async(table, n=3))["n"].tolist() == [3, 6]


@pytest.mark.v2
def test_ten_async_runs_at_once_each_get_their_own_result():
    async def all_of_them():
        return await asyncio.gather(*(fused.run_async(table, n=i) for i in range(10)))

    assert [int(frame["n"][0]) for frame in asyncio.run(all_of_them())] == list(range(10))


@pytest.mark.v2
def test_async_failures_are_errors_with_the_message():
    @fused.udf
    def udf():
        raise KeyError("nothing there")

    with pytest.raises(Exception, match="nothing there"):
        asyncio.run(fused.run_async(udf))


@pytest.mark.v2
def test_async_arrays_come_back_although_that_client_cannot_decode_npy():
    @fused.udf
    def udf():
        import numpy as np

        return np.arange(12, dtype="uint8").reshape(3, 4)

    value = asyncio.run(fused.run_async(udf))
    assert value is not None


@pytest.mark.v2
def test_sync_false_gives_an_awaitable():
    waiting = fused.run(table, n=5, sync=False)
    assert inspect.isawaitable(waiting)

    async def result() -> Any:
        return await waiting

    assert asyncio.run(result())["n"].tolist() == [5, 10]


def test_sync_false_of_a_saved_function(run, save, name, email, is_v2):
    @fused.udf
    def udf(n: int = 2):
        import pandas as pd

        return pd.DataFrame({"n": [n]})

    save(udf, name)

    async def result() -> Any:
        if is_v2:
            return await fused.run(name, n=8, sync=False)
        return await fused.run(email, name, n=8, sync=False)

    assert asyncio.run(result())["n"].tolist() == [8]


def test_a_header_module_is_importable(run, tmp_path):
    module = tmp_path / "helpers.py"
    module.write_text("def double(n):\n    return 2 * n\n")

    @fused.udf(headers=[str(module)])
    def udf(n: int = 1):
        import pandas as pd
        from helpers import double

        return pd.DataFrame({"n": [double(n)]})

    assert run(udf, n=21)["n"].tolist() == [42]


@pytest.mark.parametrize("age", ["0s", "30s", "5m", "24h", "2d", 60])
def test_each_form_of_cache_max_age_is_taken(run, age, is_v2):
    if age == 60 and not is_v2:
        pytest.skip("client 1.14.2 takes a text only")
    assert run(table, n=3, cache_max_age=age)["n"].tolist() == [3, 6]


def test_cache_max_age_of_the_decorator_is_taken(run):
    @fused.udf(cache_max_age="10m")
    def udf(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n]})

    assert run(udf, n=2)["n"].tolist() == [2]


@pytest.mark.v2
def test_cache_false_is_taken(run):
    assert run(table, n=3, cache=False)["n"].tolist() == [3, 6]


def test_extra_decorator_arguments_do_no_harm(run):
    @fused.udf(name="other", default_parameters={"n": 9})
    def udf(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n]})

    assert run(udf)["n"].tolist() == [9]


def test_return_response_has_value_streams_and_time(run):
    @fused.udf
    def udf(n: int = 1):
        import pandas as pd

        print("to stdout")
        return pd.DataFrame({"n": [n]})

    response = run(udf, n=2, _return_response=True)
    assert response.data["n"].tolist() == [2]
    assert "to stdout" in response.stdout
    assert response.time_taken_seconds >= 0
    assert not response.has_exception


def test_what_a_function_prints_is_shown(run, capfd, is_v2):
    @fused.udf
    def udf():
        import pandas as pd

        print("seen by the caller")
        return pd.DataFrame({"a": [1]})

    if is_v2:
        fused.options.verbose_udf_runs = True
    try:
        run(udf)
    finally:
        if is_v2:
            fused.options.verbose_udf_runs = False
    assert "seen by the caller" in capfd.readouterr().out


def test_a_large_stdout_does_not_break_the_reply(run):
    @fused.udf
    def udf():
        import pandas as pd

        for i in range(60_000):
            print("line", i, "é" * 20)
        return pd.DataFrame({"a": [1]})

    response = run(udf, _return_response=True)
    assert response.data["a"].tolist() == [1]
    assert "line 0 " in response.stdout
    assert len(response.stdout) < 12_000


def test_a_result_of_fifty_megabytes_arrives_whole(run):
    @fused.udf
    def udf(n: int):
        import numpy as np
        import pandas as pd

        return pd.DataFrame({"x": np.random.default_rng(1).random(n)})

    frame = run(udf, n=6_500_000)
    import numpy as np

    assert np.array_equal(frame["x"].to_numpy(), np.random.default_rng(1).random(6_500_000))


def test_a_function_runs_another(run, save, name):
    @fused.udf
    def inner(n: int = 1):
        import pandas as pd

        return pd.DataFrame({"n": [n * 10]})

    save(inner, name)

    @fused.udf
    def outer(other: str):
        import pandas as pd

        import fused

        frames = [fused.run(other, n=i) for i in range(3)]
        return pd.concat(frames)

    assert run(outer, other=name)["n"].tolist() == [0, 10, 20]


def test_a_function_that_runs_itself_is_stopped_at_depth_five(run, save, name):
    @fused.udf
    def udf(me: str, depth: int = 1):
        import fused

        return fused.run(me, me=me, depth=depth + 1)

    save(udf, name)
    with pytest.raises(Exception, match=r"(?i)recurs|depth|deep"):
        run(udf, me=name)


def test_fused_context_is_there_inside(run, email):
    @fused.udf
    def udf():
        import pandas as pd

        import fused

        context = fused.context
        return pd.DataFrame({"email": [context.get_user_email()]})

    assert run(udf)["email"].tolist() == [email]


def test_the_run_id_is_a_folder_of_the_log(run, url):
    import os
    from pathlib import Path

    before = set(Path(os.environ["FUSED_CONFORMANCE_DATA"]).glob("mount/fused-system/logs/*/*/*/*"))
    run(table, cache_max_age="0s")  # an answer from the cache has the folder of the run that made it
    import time

    for _ in range(100):
        now = set(Path(os.environ["FUSED_CONFORMANCE_DATA"]).glob("mount/fused-system/logs/*/*/*/*"))
        if now - before:
            break
        time.sleep(0.05)
    folder = sorted(now - before)[0]
    assert {p.name for p in folder.iterdir()} >= {"metadata.json", "stdout.log", "stderr.log", "udf.json"}
    assert json.loads((folder / "metadata.json").read_text())["execution_time_seconds"] is not None
