"""Many runs at once: submit, its pool, map."""

from __future__ import annotations

import pytest

import fused


@fused.udf
def square(n: int = 1, label: str = "a"):
    import pandas as pd

    if n == 13:
        raise ValueError("thirteen")
    return pd.DataFrame({"square": [n * n], "label": [label]})


@pytest.mark.v2
def test_submit_collects_a_table():
    frame = fused.submit(square, [{"n": i} for i in range(8)], max_workers=4)
    assert sorted(frame["square"].tolist()) == [i * i for i in range(8)]


@pytest.mark.v2
def test_submit_takes_plain_values_and_a_table_of_arguments():
    import pandas as pd

    assert sorted(fused.submit(square, [1, 2, 3])["square"]) == [1, 4, 9]
    frame = fused.submit(square, pd.DataFrame({"n": [4, 5], "label": ["x", "y"]}))
    assert sorted(zip(frame["square"], frame["label"], strict=True)) == [(16, "x"), (25, "y")]


def test_the_pool_waits_and_gives_results_in_order():
    pool = fused.submit(square, [{"n": i} for i in range(6)], max_workers=3, **later())
    pool.wait()
    assert pool.done()
    assert [int(frame["square"].iloc[0]) for frame in pool.results()] == [i * i for i in range(6)]


def later() -> dict:
    """collect=False: 2.x collects when it is not told otherwise, 1.x does not."""
    return {"collect": False} if fused.__version__.startswith("2") else {}


def uncached() -> dict:
    """2.9.5 fails on a name or a token, in which it looks for the age of its local cache, unless told cache=False."""
    return {"cache": False, **later()} if fused.__version__.startswith("2") else {}


def test_a_failing_item_does_not_take_the_others_with_it():
    pool = fused.submit(square, [{"n": 12}, {"n": 13}, {"n": 14}], max_retry=0, **later())
    pool.wait()
    results = pool.results(return_exceptions=True)
    assert int(results[0]["square"].iloc[0]) == 144 and int(results[2]["square"].iloc[0]) == 196
    assert isinstance(results[1], Exception) and "thirteen" in str(results[1])
    with pytest.raises(Exception, match="thirteen"):
        pool.results()


@pytest.mark.v2
def test_the_pool_tells_status_times_logs_and_errors():
    pool = fused.submit(square, [{"n": 1}, {"n": 13}], max_retry=0, collect=False, cache=False)
    pool.wait()
    assert pool.any_failed() and pool.any_succeeded() and not pool.all_succeeded()
    assert set(pool.success()) == {0} and set(pool.errors()) == {1}
    assert "thirteen" in str(pool.first_error())
    assert dict(pool.status()) == {"success": 1, "error": 1}
    assert all(time is not None for time in pool.times())
    assert pool.arg_df()["n"].tolist() == [1, 13]
    assert len(pool.logs_df()) == 2
    assert pool.collect(ignore_exceptions=True)["square"].tolist() == [1]


@pytest.mark.v1
def test_the_old_pool_collects_and_tells_status():
    pool = fused.submit(square, [{"n": 1}, {"n": 2}])
    pool.wait()
    assert sorted(pool.collect_df()["square"].tolist()) == [1, 4]
    frame = pool.get_results_df()
    assert frame["status"].tolist() == ["success", "success"]
    assert pool.get_status_df()["n"].tolist() == [1, 2]


@pytest.mark.v1
def test_the_old_submit_waits_on_results_when_told():
    frame = fused.submit(square, [{"n": 3}, {"n": 4}], wait_on_results=True)
    assert len(frame) == 2


def test_submit_of_a_saved_function(save, name, email):
    save(square, name)
    pool = fused.submit(f"{email}/{name}", [{"n": 2}, {"n": 3}], **uncached())
    pool.wait()
    assert [int(frame["square"].iloc[0]) for frame in pool.results()] == [4, 9]


def test_submit_of_a_share_token(save, name):
    token = save(square, name).create_access_token().token
    pool = fused.submit(token, [{"n": 2}, {"n": 3}], **uncached())
    pool.wait()
    assert [int(frame["square"].iloc[0]) for frame in pool.results()] == [4, 9]


def test_common_arguments_go_to_every_item():
    pool = fused.submit(square, [{"n": 2}, {"n": 3}], label="same", **later())
    pool.wait()
    assert [frame["label"].iloc[0] for frame in pool.results()] == ["same", "same"]


def test_debug_mode_runs_the_first_only():
    value = fused.submit(square, [{"n": 7}, {"n": 13}], debug_mode=True)
    assert value["square"].tolist() == [49]


@pytest.mark.v2
def test_submit_with_threads_of_forty_items_ends():
    frame = fused.submit(square, [{"n": 20 + i} for i in range(40)], max_workers=16)
    assert len(frame) == 40


@pytest.mark.v2
def test_submit_in_an_event_loop():
    import nest_asyncio

    nest_asyncio.apply()
    frame = fused.submit(square, [{"n": 2}, {"n": 3}], execution_type="async_loop")
    assert sorted(frame["square"].tolist()) == [4, 9]


@pytest.mark.v2
def test_udf_map_gives_a_pool():
    pool = square.map([{"n": 5}, {"n": 6}])
    pool.wait()
    assert sorted(pool.df()["square"].tolist()) == [25, 36]


@pytest.mark.v2
def test_tail_prints_until_the_end(capfd):
    pool = fused.submit(square, [{"n": 8}, {"n": 9}], collect=False)
    pool.tail(timeout=60)
    assert pool.all_succeeded()


@pytest.mark.v2
def test_a_cancelled_pool_ends():
    @fused.udf
    def udf(n: int):
        import time

        time.sleep(1)
        return n

    pool = fused.submit(udf, [{"n": i} for i in range(12)], max_workers=2, collect=False, cache=False)
    pool.cancel(wait=True)
    assert len(pool.cancelled()) > 0


def test_submit_inside_a_function_is_not_needed_to_run_others(run):
    @fused.udf
    def udf():
        import pandas as pd

        import fused

        @fused.udf
        def inner(n: int = 1):
            return n + 1

        return pd.DataFrame({"n": [inner.name]})

    assert run(udf)["n"].tolist() == ["inner"]
