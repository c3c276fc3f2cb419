"""What `fused.submit` accepts and refuses, and what its pool tells, with processes of this machine."""

from __future__ import annotations

import asyncio
import datetime
import inspect
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fused
from fused.errors import ConfigurationError, JobPoolTailTimeoutError, UdfSelfRecursionError
from fused.warnings import FusedIgnoredWarning


@fused.udf
def double(n: int = 1, tag: str = ""):
    if tag == "loud":
        print(f"call {n}")
    if tag == "bad":
        raise KeyError(f"no {n}")
    return n * 2


@fused.udf
def needs(n: int, m: int):
    return n + m


def pool_of(arg_list: Any, udf: Any = double, **more: Any) -> Any:
    return fused.submit(udf, arg_list, engine="local", max_workers=2, **more)


def test_the_signature_is_the_seeds() -> None:
    names = inspect.signature(fused.submit).parameters
    assert list(names)[:7] == [
        "udf", "arg_list", "engine", "max_workers", "max_retry", "debug_mode", "wait_on_results",
    ]  # fmt: skip
    defaults = [names[name].default for name in list(names)[2:7]]
    assert defaults == ["remote", None, 2, False, False]


# -- arg_list ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arg_list", "expected"),
    [
        ([1, 2, 3], [2, 4, 6]),
        ((1, 2), [2, 4]),
        (range(3), [0, 2, 4]),
        (np.array([5, 6]), [10, 12]),
        ([{"n": 1}, {"n": 2, "tag": "x"}], [2, 4]),
        ([{"tag": "x"}, {"n": 4}], [2, 8]),
        (pd.DataFrame({"n": [7, 8], "tag": ["a", None]}), [14, 16]),
        (pd.DataFrame({"n": pd.array([7, None], dtype="Int64")}).head(1), [14]),
    ],
)
def test_values_dictionaries_and_tables_are_calls_in_their_order(arg_list: Any, expected: list[int]) -> None:
    assert pool_of(arg_list).results() == expected


def test_keywords_are_given_to_every_call_and_an_items_own_value_wins() -> None:
    pool = pool_of([{"n": 1}, {"n": 2, "m": 100}], needs, m=10)
    assert pool.results() == [11, 102]


def test_a_dictionary_is_a_value_for_a_function_of_one_parameter_that_it_does_not_name() -> None:
    @fused.udf
    def size(box: dict):
        return len(box)

    assert pool_of([{"a": 1, "b": 2}, {"c": 3}], size).results() == [2, 1]


def test_missing_values_of_a_table_are_None_and_times_are_times() -> None:
    @fused.udf
    def kind(when=None, what=None):
        return f"{type(when).__name__} {what}"

    table = pd.DataFrame({"when": pd.to_datetime(["2026-01-01", None]), "what": pd.array([1, None], dtype="Int64")})
    assert pool_of(table, kind).results() == ["Timestamp 1", "NoneType None"]


@pytest.mark.parametrize("dtype", ["str", "string", "object", "category"])
def test_a_missing_text_of_a_table_is_None(dtype: str) -> None:
    @fused.udf
    def shown(text=None):
        return repr(text)

    table = pd.DataFrame({"text": pd.Series(["a", None, float("nan")], dtype=dtype)})
    assert pool_of(table, shown).results() == ["'a'", "None", "None"]


@pytest.mark.parametrize(
    ("arg_list", "error", "says"),
    [
        ([], ValueError, "arg_list is empty"),
        (pd.DataFrame({"n": []}), ValueError, "arg_list is empty"),
        ((n for n in range(3)), TypeError, "generator, whose length nobody knows"),
        (iter([1]), TypeError, "whose length nobody knows"),
        ("abc", TypeError, "not str"),
        ({"n": 1}, TypeError, "not dict"),
        (3, TypeError, "not int"),
        (None, TypeError, "not NoneType"),
        ([{"n": 1}, {"k": 2}], TypeError, "no parameter 'k'; its parameters are: n, tag"),
        ([{"n": 1}, 5], TypeError, "item 1 of arg_list is 5, item 0 is a dictionary"),
        ([{"n": 1, 3: 2}], TypeError, "has 3 as a name"),
        (pd.DataFrame({"n": [1], "q": [2]}), TypeError, "no parameter 'q'"),
        (pd.DataFrame([[1, 2]], columns=["n", "n"]), ValueError, "column 'n' twice"),
        (pd.DataFrame(index=[0, 1]), ValueError, "without columns"),
    ],
)
def test_lists_that_are_none_are_refused_before_anything_runs(arg_list: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        pool_of(arg_list)


def test_a_required_parameter_that_a_call_lacks_is_named_with_the_call() -> None:
    with pytest.raises(ValueError, match="call 1 of arg_list has no 'm'"):
        pool_of([{"n": 1, "m": 2}, {"n": 1}], needs)
    with pytest.raises(ValueError, match="call 0 of arg_list has no 'm'"):
        pool_of([1, 2], needs)


@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"engine": "cloud"}, ValueError, "engine='cloud' is unknown"),
        ({"max_workers": 0}, ValueError, "max_workers=0"),
        ({"max_workers": 2.5}, ValueError, "max_workers=2.5"),
        ({"max_retry": -1}, ValueError, "max_retry=-1"),
        ({"n_processes_per_worker": 0}, ValueError, "n_processes_per_worker=0"),
        ({"execution_type": "fast"}, ValueError, "execution_type='fast'"),
        ({"instance_type": "small", "engine": "local"}, ValueError, "asks for a job"),
        ({"collect": "yes"}, ValueError, "collect='yes'"),
        ({"k": 1}, TypeError, "no parameter 'k'"),
    ],
)
def test_impossible_options_are_refused(keywords: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        fused.submit(double, [1], **{"engine": "local", **keywords})


def test_what_cannot_be_submitted_is_refused() -> None:
    with pytest.raises(TypeError, match="a lambda has no name"):
        fused.submit(lambda n: n, [1], engine="local")
    with pytest.raises(ValueError, match="needs a function"):
        fused.submit(None, [1])
    with pytest.raises(ValueError, match="a share token runs on its server"):
        fused.submit("fsh_abc", [{"n": 1}], engine="local")

    @fused.udf
    def nothing():
        return 1

    with pytest.raises(ValueError, match="has no parameters"):
        pool_of([1], nothing)


def test_without_a_server_the_default_engine_says_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="engine='local'"):
        fused.submit(double, [1])


def test_more_workers_than_can_be_are_lowered_with_a_warning() -> None:
    with pytest.warns(FusedIgnoredWarning, match="max_workers=1000000 is lowered"):
        assert fused.submit(double, [1], engine="local", max_workers=1_000_000).results() == [2]


def test_a_plain_function_and_map_are_the_same() -> None:
    def plain(n):
        return n + 1

    assert pool_of([1, 2], plain).results() == [2, 3]
    assert double.map([1, 2], engine="local", worker_concurrency=4).results() == [2, 4]


def test_a_function_cannot_submit_itself() -> None:
    @fused.udf
    def again(n: int):
        import fused

        return fused.submit(again, [n], engine="local").results()

    pool = pool_of([1], again)
    pool.wait()
    assert isinstance(pool.first_error(), UdfSelfRecursionError)


def test_a_function_can_submit_another() -> None:
    @fused.udf
    def outer(n: int):
        return sum(fused.submit(double, [n, n], engine="local", max_workers=1).results())

    assert pool_of([1, 2], outer).results() == [4, 8]


def test_debug_mode_runs_the_first_item_alone() -> None:
    assert pool_of([4, 5, 6], debug_mode=True) == 8
    with pytest.raises(KeyError):
        pool_of([{"n": 1, "tag": "bad"}], debug_mode=True)


# -- what comes back --------------------------------------------------------------------------------------------------


def test_wait_on_results_is_a_table_of_arguments_status_and_result() -> None:
    found = pool_of([{"n": 1}, {"n": 2}], wait_on_results=True)
    assert found.to_dict("list") == {"n": [1, 2], "status": ["success", "success"], "result": [2, 4]}
    with pytest.raises(KeyError, match="no 2"):
        pool_of([{"n": 1}, {"n": 2, "tag": "bad"}], wait_on_results=True)


def test_collect_puts_the_arguments_into_the_index() -> None:
    one = pool_of([1, 2], collect=True)
    assert one.index.name == "n" and one["result"].tolist() == [2, 4] and one.index.tolist() == [1, 2]
    two = pool_of([{"n": 1, "tag": "a"}, {"n": 2, "tag": "b"}]).df()
    assert two.index.names == ["n", "tag"] and two.index.tolist() == [(1, "a"), (2, "b")]
    assert pool_of([1, 2], collect=True, drop_index=True).index.tolist() == [0, 1]


def test_collect_puts_tables_together_unless_told_not_to() -> None:
    @fused.udf
    def rows(n: int):
        return pd.DataFrame({"i": range(n)})

    pool = pool_of([2, 3], rows)
    found = pool.collect()
    assert found["i"].tolist() == [0, 1, 0, 1, 2] and found.index.tolist() == [2, 2, 3, 3, 3]
    assert [len(each) for each in pool.collect(flatten=False)["result"]] == [2, 3]


def test_collect_leaves_failures_out_only_when_told() -> None:
    pool = pool_of([{"n": 1}, {"n": 2, "tag": "bad"}])
    with pytest.raises(KeyError):
        pool.collect()
    assert pool.collect(ignore_exceptions=True)["result"].tolist() == [2]
    assert pool.collect_df()["result"].tolist() == [2]


def test_an_argument_that_no_index_takes_is_written_as_text() -> None:
    @fused.udf
    def total(numbers: list):
        return sum(numbers)

    assert pool_of([[1, 2], [3]], total).collect().index.tolist() == ["[1, 2]", "[3]"]


def test_a_pool_tells_states_times_logs_and_errors() -> None:
    pool = pool_of([{"n": 1, "tag": "loud"}, {"n": 2, "tag": "bad"}, {"n": 3}])
    assert len(pool) == pool.n_jobs == 3
    pool.wait()
    assert pool.done() and pool.any_failed() and pool.any_succeeded() and not pool.all_succeeded()
    assert pool.status().to_dict() == {"success": 2, "error": 1}
    assert pool.success() == {0: 2, 2: 6} == pool.results_now()
    assert list(pool.errors()) == [1] and isinstance(pool.first_error(), KeyError)
    assert "raise KeyError" in "".join(pool.first_error().__notes__)
    assert list(pool.results_now(return_exceptions=True)) == [0, 1, 2]
    assert pool.logs() == ["call 1\n", "", ""] and pool.first_log() == "call 1\n"
    assert pool.pending() == pool.running() == pool.cancelled() == {}
    assert pool.arg_df().columns.tolist() == ["n", "tag"]
    assert all(isinstance(each, datetime.timedelta) for each in pool.times())
    assert pool.total_time() >= max(pool.times())
    assert [type(each) for each in pool.results(return_exceptions=True)] == [int, KeyError, int]
    with pytest.raises(KeyError):
        pool.results()
    frame = pool.logs_df()
    assert frame.columns.tolist() == ["n", "tag", "status", "time", "result", "logs"] or set(frame.columns) == {
        "n", "tag", "status", "time", "result", "logs",
    }  # fmt: skip
    assert isinstance(frame["result"][1], KeyError) and frame["logs"][0] == "call 1\n"
    own = pool.logs_df(exception_column="why", time_column=None)
    assert isinstance(own["why"][1], KeyError) and own["result"][1] is None and "time" not in own


def test_a_call_is_a_future() -> None:
    pool = pool_of([{"n": 1, "tag": "loud"}, {"n": 2, "tag": "bad"}])
    first, last = pool[0], pool[-1]
    assert first.result(timeout=120) == 2 and first.done() and first.status() == "success"
    assert first.logs() == first.get_logs() == "call 1\n" and first.exception() is None
    assert first.time() is not None and first.args == {"n": 1, "tag": "loud"}
    with pytest.raises(KeyError):
        last.result()
    assert isinstance(last.exception(), KeyError)
    with pytest.raises(IndexError, match="there is no call 2"):
        pool[2]


def test_tail_ends_with_the_arguments_that_are_not_done(tmp_path: Path) -> None:
    @fused.udf
    def waits(path: str):
        import pathlib
        import time

        while path and not pathlib.Path(path).exists():
            time.sleep(0.01)
        return path

    gate = str(tmp_path / "gate")
    pool = pool_of(["", gate], waits)
    with pytest.raises(JobPoolTailTimeoutError, match=r"1 of 2 calls .* 0.2 s") as raised:
        pool[0].result()
        pool.tail(timeout=0.2)
    assert isinstance(raised.value, TimeoutError) and raised.value.not_succeeded_args == [{"path": gate}]
    Path(gate).touch()
    pool.tail(timeout=120)
    assert pool.all_succeeded()


def test_tail_can_stop_at_the_first_failure() -> None:
    with pytest.raises(KeyError):
        pool_of([{"n": 1, "tag": "bad"}]).tail(stop_on_exception=True)


def test_the_async_pool_has_awaitable_twins() -> None:
    async def work() -> None:
        pool = pool_of([{"n": 1, "tag": "loud"}, {"n": 2, "tag": "bad"}], execution_type="async_loop")
        await pool.wait_async()
        assert await pool.success_async() == {0: 2} == await pool.results_now_async()
        assert list(await pool.errors_async()) == [1]
        assert isinstance(await pool.first_error_async(), KeyError)
        assert await pool.logs_async() == ["call 1\n", ""] and await pool.first_log_async() == "call 1\n"
        assert len(await pool.results_async(return_exceptions=True)) == 2
        assert len(await pool.logs_df_async()) == 2
        await pool.tail_async()
        await pool.cancel_async(wait=True)

    asyncio.run(work())


def test_cancelled_calls_raise_when_their_value_is_asked_for(tmp_path: Path) -> None:
    @fused.udf
    def waits(path: str):
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.01)

    pool = pool_of([str(tmp_path / "never")] * 5, waits)
    pool.cancel(wait=True)
    assert pool.status().to_dict() == {"cancelled": 5} and len(pool.cancelled()) == 5
    with pytest.raises(CancelledError):
        pool.results()
    pool.cancel()  # of what has ended: nothing
