"""`fused.submit` on the real server."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import fused
from fused.errors import UdfRuntimeError, UdfSelfRecursionError

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("connected")]


@fused.udf
def double(n: int = 1, tag: str = ""):
    if tag == "loud":
        print(f"call {n}")
    if tag == "bad":
        raise KeyError(f"no {n}")
    return n * 2


@fused.udf
def rows(n: int):
    import pandas as pd

    return pd.DataFrame({"i": range(n)})


def test_calls_keep_their_order_their_output_and_their_errors() -> None:
    items: list[Any] = [{"n": 1, "tag": "loud"}, {"n": 2, "tag": "bad"}, *({"n": n} for n in range(3, 20))]
    pool = fused.submit(double, items, max_workers=4)
    pool.wait()
    assert pool.status().to_dict() == {"success": 18, "error": 1}
    assert [pool[index].result() for index in range(2, 19)] == [2 * n for n in range(3, 20)]
    assert pool.logs()[0] == "call 1\n" and pool[1].attempts() == 1
    error = pool.first_error()
    assert isinstance(error, UdfRuntimeError) and error.exception_class == "KeyError" and "no 2" in str(error)


def test_tables_are_put_together() -> None:
    found = fused.submit(rows, pd.DataFrame({"n": [2, 3]}), collect=True)
    assert found["i"].tolist() == [0, 1, 0, 1, 2] and found.index.tolist() == [2, 2, 3, 3, 3]


def test_max_retry_as_given_counts_for_failures_of_the_function() -> None:
    pool = fused.submit(double, [{"n": 1, "tag": "bad"}], max_retry=1)
    pool.wait()
    assert pool[0].attempts() == 2
    pool.retry()
    pool.wait()
    assert pool[0].attempts() == 4


def test_calls_that_wait_can_be_cancelled() -> None:
    @fused.udf
    def slow(n: int):
        import time

        while True:  # until it is ended
            time.sleep(0.1)

    pool = fused.submit(slow, range(50), max_workers=2)
    pool.cancel(wait=True)
    assert pool.done() and len(pool.cancelled()) == 50


def test_a_function_on_the_server_submits_others_but_not_itself() -> None:
    @fused.udf
    def outer(n: int):
        import fused

        def inner(k: int):
            return k + 1

        return sum(fused.submit(fused.udf(inner), [n, n + 1], max_workers=2).results())

    assert fused.run(outer, n=1) == 5

    @fused.udf
    def again(n: int):
        import fused

        return fused.submit(fused.context.this_udf(), [n]).results()

    with pytest.raises(UdfRuntimeError, match="submits itself") as raised:
        fused.run(again, n=1)
    assert raised.value.exception_class == UdfSelfRecursionError.__name__
