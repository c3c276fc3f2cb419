"""The same argument reaches a function as the same value, whichever way it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fused
from tests.conftest import Server

CODE = """\
@fused.udf
def udf(plain, many: list = None, pair: tuple = None, table: dict = None, text: str = ""):
    return [[type(each).__name__, each] for each in (plain, many, pair, table, text)]
"""
GIVEN: dict[str, Any] = {"plain": (1, "é"), "many": (1, 2), "pair": [1, 2], "table": {"k": (1,)}, "text": [1]}
SEEN = [["list", [1, "é"]], ["list", [1, 2]], ["tuple", [1, 2]], ["dict", {"k": [1]}], ["str", "[1]"]]
CALLS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "run": lambda udf, given: fused.run(udf, **given),
    "step": lambda udf, given: fused.run(udf(**given)),
    "submit": lambda udf, given: fused.submit(udf, [given]).results()[0],
    "shared arguments": lambda udf, given: fused.submit(
        udf, [given.pop("plain")], **{name: given.pop(name) for name in list(given)}
    ).results()[0],
    "job": lambda udf, given: udf(arg_list=[given]).run_remote().wait_for_job().get_results(0),
    "pool of a job": lambda udf, given: fused.submit(udf, [given], instance_type="small").results()[0],
}


@pytest.fixture(autouse=True)
def connected(server: Server) -> Iterator[None]:
    fused.options.base_url, fused.options.auth_token = server.base_url, server.token
    yield
    fused.options.base_url = fused.options.auth_token = None


@pytest.mark.parametrize("way", CALLS)
def test_lists_and_tuples_arrive_as_such(way: str) -> None:
    assert CALLS[way](fused.load(CODE), dict(GIVEN)) == SEEN


@pytest.mark.parametrize("value", [True, None, 3, 2.5, "3", [1, [2]], {"a": {"b": [True, None]}}])
def test_a_parameter_without_annotation_is_what_was_given(value: Any) -> None:
    udf = fused.load(CODE)
    assert fused.run(udf, plain=value)[0] == [type(value).__name__, value]
    assert fused.submit(udf, [{"plain": value}]).results()[0][0] == [type(value).__name__, value]


def test_a_failed_task_names_its_class_once() -> None:
    udf = fused.load("@fused.udf\ndef udf(n: int):\n    raise ValueError('bad')\n")
    with pytest.raises(fused.errors.UdfRuntimeError, match=r"failed in line 3: ValueError: bad"):
        fused.submit(udf, [1], instance_type="small").results()
