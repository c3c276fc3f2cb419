"""What `fused.run` accepts, refuses and warns about, before anything runs; and the local engine."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import geopandas as gpd
import pytest

import fused
from fused.errors import ConfigurationError, UdfRuntimeError
from fused.warnings import FusedDeprecationWarning, FusedIgnoredWarning


@fused.udf
def add(n: int = 1, m: int = 2):
    return n + m


def test_nothing_to_run_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="needs to know what to run"):
        fused.run()


@pytest.mark.parametrize("first", [3, 2.5, b"name", ["name"], {"name": 1}, int])
def test_a_first_argument_of_another_type_is_a_type_error(first: Any) -> None:
    with pytest.raises(TypeError, match="is a name, 'email/name', a share token"):
        fused.run(first)


def test_what_to_run_specified_twice_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"more than once: 'hello', token=.*parameters=\{…\}"):
        fused.run("hello", token="fsh_abc")
    with pytest.raises(ValueError, match="more than once"):
        fused.run(token="fsh_abc", udf_name="x")
    with pytest.warns(FusedDeprecationWarning), pytest.raises(ValueError, match="give both"):
        fused.run(udf_email="a@b.c")


def test_an_empty_step_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="holds no function yet"):
        fused.run(fused.models.UdfJobStepConfig())


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty name"), ("a\nb", "was given code"), ("https://github.com/a/b", "load it first")]
)
def test_texts_that_are_no_name_are_value_errors(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fused.run(text)


@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"engine": "cloud"}, ValueError, "engine='cloud' is unknown"),
        ({"type": "raster"}, ValueError, "type='raster' is unknown"),
        ({"type": "tile", "x": 1}, ValueError, "y, z is missing"),
        ({"max_retry": -1}, ValueError, "max_retry=-1"),
        ({"max_retry": "2"}, ValueError, "max_retry='2'"),
        ({"cache_max_age": "1 week"}, ValueError, "not a duration"),
        ({"cache_max_age": "1h", "cache": False}, ValueError, "give one"),
        ({"cache": "yes"}, ValueError, "not True or False"),
        ({"instance_type": "small", "engine": "local"}, ValueError, "asks for a job on the server"),
        ({"disk_size_gb": 3}, ValueError, "is for jobs"),
        ({"on_timeout": "later"}, ValueError, "it is 'job'"),
        ({"follow_logs": "yes"}, ValueError, "follow_logs='yes' is not True, False or a function"),
        ({"parameters": [1]}, TypeError, "dictionary of names"),
        ({"_format": "docx"}, ValueError, "'docx' is no format; formats are parquet"),
        ({"q": 1}, TypeError, "no parameter 'q'; its parameters are: n, m"),
        ({"x": 1, "y": 1, "z": 30}, ValueError, "there is no tile z=30"),
        ({"x": -1, "y": 0, "z": 3}, ValueError, "there is no tile"),
        ({"x": 8, "y": 0, "z": 3}, ValueError, "there is no tile"),
        ({"x": 1.5, "y": 0, "z": 3}, TypeError, "whole number"),
    ],
)
def test_impossible_arguments_are_refused(keywords: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        fused.run(add, **keywords)


def test_parameters_win_over_keywords_and_keywords_over_stored_ones() -> None:
    stored = add.set_parameters({"n": 100, "m": 1000})
    assert fused.run(stored) == 1100
    assert fused.run(stored, n=1) == 1001
    assert fused.run(stored, n=1, parameters={"n": 5}) == 1005


def test_positional_arguments_fill_parameters_in_order() -> None:
    assert fused.run(add, 10, 20) == 30
    with pytest.raises(TypeError, match="got 'n' twice"):
        fused.run(add, 10, n=3)
    with pytest.raises(TypeError, match="takes its parameters by name"):
        fused.run("email/name", 3)


def test_older_spellings_of_the_first_argument_warn() -> None:
    with pytest.warns(FusedDeprecationWarning, match="fused.run\\('a@b.c/hello'\\)"), pytest.raises(ConfigurationError):
        fused.run("a@b.c", "hello", engine="remote")
    with pytest.warns(FusedDeprecationWarning, match="first argument"), pytest.raises(ConfigurationError):
        fused.run(udf_email="a@b.c", udf_name="hello", engine="remote")
    with pytest.warns(FusedDeprecationWarning, match="older name of _format"), pytest.raises(ConfigurationError):
        fused.run(add, dtype_out_vector="parquet", engine="remote")


def test_what_has_no_effect_is_warned_about() -> None:
    with pytest.warns(FusedIgnoredWarning, match="x=1 is ignored: a tile needs all of x, y and z"):
        assert fused.run(add, x=1) == 3
    with pytest.warns(FusedIgnoredWarning, match="type='file' is no tile"):
        fused.run(add, x=1, y=1, z=1, type="file")
    with pytest.warns(FusedIgnoredWarning, match="cache_max_age is ignored"):
        fused.run(add, cache_max_age="1h", engine="local")
    with pytest.warns(FusedIgnoredWarning, match="format is ignored"):
        fused.run(add, _format="json", engine="local")
    with pytest.warns(FusedIgnoredWarning, match="on_timeout is ignored: engine='local'"):
        fused.run(add, on_timeout="job", engine="local")


def test_keywords_of_ours_that_the_function_declares_are_its_parameters() -> None:
    @fused.udf
    def udf(cache: str = "", instance_type: str = "", x: int = 0, on_timeout: str = "", follow_logs: int = 0):
        return cache + instance_type + str(x) + on_timeout + str(follow_logs)

    assert fused.run(udf, cache="a", instance_type="b", x=4, on_timeout="c", follow_logs=5) == "ab4c5"


def test_what_becomes_of_a_long_run_is_read_from_object_and_text() -> None:
    @fused.udf(on_timeout="job")
    def udf():
        return 1

    assert udf.on_timeout == "job" and add.on_timeout is None
    assert fused.load("import fused\n@fused.udf(on_timeout='error')\ndef udf():\n    return 1\n").on_timeout == "error"
    with pytest.raises(ValueError, match="on_timeout='later'"):
        fused.udf(on_timeout="later")


def test_unknown_arguments_can_be_left_out_on_purpose() -> None:
    assert fused.run(add, n=5, other=1, _ignore_unknown_arguments=True) == 7


def test_every_kind_of_function_runs_locally() -> None:
    def plain(n: int = 4):
        return n

    assert fused.run(plain, n="6") == 6
    assert fused.run(add(n=3)) == 5
    assert fused.run(add(arg_list=[1, 2])) == [3, 4]
    assert fused.run(fused.load("@fused.udf\ndef udf(n: int):\n    return [n]"), n=1) == [1]


def test_local_returns_anything_without_validation() -> None:
    @fused.udf
    def function():
        return print

    assert fused.run(function, engine="local") is print


def test_local_reads_parameters_by_annotation() -> None:
    @fused.udf
    def udf(flag: bool = True, items: list | None = None, bounds: fused.types.Bounds | None = None):
        return flag, items, bounds

    assert fused.run(udf, flag="False", items="[1, 2]") == (False, [1, 2], None)
    with pytest.raises(ValueError, match="parameter 'n': 'x' cannot be read as int"):
        fused.run(add, n="x")


def test_a_tile_hands_over_its_bounds() -> None:
    @fused.udf
    def udf(bounds: gpd.GeoDataFrame):
        return bounds

    tile = fused.run(udf, x=33, y=22, z=6, engine="local")
    assert tile.crs.to_epsg() == 4326
    west, south, east, north = tile.total_bounds
    assert west == pytest.approx(5.625)
    assert east == pytest.approx(11.25)
    assert south < 50 < north or south < 48 < north


def test_a_failure_is_the_functions_own_exception_locally() -> None:
    @fused.udf
    def udf():
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        fused.run(udf)
    whole = fused.run(udf, _return_response=True)
    assert whole.has_exception
    assert whole.exception_class == "KeyError"
    assert 'raise KeyError("gone")' in whole.error_message


def test_max_retry_counts_every_failure_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused._run.run.RETRY_SECONDS", 0.001)
    seen: list[int] = fused.__dict__.setdefault("_test_seen", [])
    seen.clear()

    @fused.udf
    def udf(fail: int = 2):
        import fused

        fused._test_seen.append(1)
        if len(fused._test_seen) <= fail:
            raise OSError("again")
        return len(fused._test_seen)

    assert fused.run(udf, max_retry=2) == 3
    seen.clear()
    with pytest.raises(OSError, match="again"):
        fused.run(udf, fail=9, max_retry=2)
    assert len(seen) == 3
    seen.clear()
    with pytest.raises(OSError, match="again"):
        fused.run(udf, fail=9)
    assert len(seen) == 1, "by default nothing is tried again"


def test_the_whole_response_is_given_on_request() -> None:
    for keyword in ("_return_response", "_include_log"):
        result = fused.run(add, n=1, **{keyword: True})
        assert result.data == 3
        assert result.time_taken_seconds >= 0
        assert not result.has_exception
        assert "add: done in" in repr(result)


def test_sync_false_checks_now_and_runs_when_awaited() -> None:
    async def many() -> list[int]:
        return await asyncio.gather(*(fused.run(add, n=n, sync=False) for n in range(100)))

    assert asyncio.run(many()) == [n + 2 for n in range(100)]
    assert asyncio.run(fused.run_async(add, n=5)) == 7
    with pytest.raises(TypeError, match="no parameter 'q'"):
        fused.run(add, q=1, sync=False)

    @fused.udf
    def bad():
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(fused.run_async(bad))


def test_threads_of_awaited_runs_are_gone_afterwards() -> None:
    import threading

    before = threading.active_count()
    asyncio.run(fused.run_async(add))
    assert threading.active_count() <= before


def test_recursion_without_end_is_refused_locally() -> None:
    @fused.udf
    def again(n: int = 0):
        return again(n=n + 1)

    with pytest.raises(UdfRuntimeError, match="the limit is 5"):
        fused.run(again, engine="local")


def test_without_a_server_local_is_the_default_and_remote_says_what_to_do() -> None:
    assert fused.run(add) == 3
    with pytest.raises(ConfigurationError, match=r"fused serve.*fused login.*FUSED_BASE_URL"):
        fused.run(add, engine="remote")
    with pytest.raises(ConfigurationError, match="no server is known"):
        fused.run("a_saved_name")


def test_the_default_engine_can_be_chosen() -> None:
    fused.options.default_udf_run_engine = "remote"
    with pytest.raises(ConfigurationError):
        fused.run(add)
    fused.options.default_udf_run_engine = None
    fused.options.base_url = "http://127.0.0.1:9"
    fused.options.default_udf_run_engine = "local"
    assert fused.run(add) == 3


def test_local_runs_make_no_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fused.run(add, n=1, m=1) == 2
