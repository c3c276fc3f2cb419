"""One item of a job's input as arguments of its function."""

from __future__ import annotations

from typing import Any

import pytest

from fused._parameters import InvalidParameter


def arguments(function: Any, item: Any) -> dict[str, Any]:
    from fused._worker.runner import item_arguments

    return item_arguments(function, item)


def two(a, b=2):
    return a, b


def any_names(first, **more):
    return first, more


def nothing():
    return None


def test_keys_that_are_parameters_are_names() -> None:
    assert arguments(two, {"a": 1}) == {"a": 1}
    assert arguments(two, {"a": 1, "b": None}) == {"a": 1, "b": None}
    assert arguments(two, {}) == {}


def test_anything_else_is_the_first_parameters_value() -> None:
    assert arguments(two, {"a": 1, "c": 3}) == {"a": {"a": 1, "c": 3}}
    for value in (7, "x", None, [1, 2], True):
        assert arguments(two, value) == {"a": value}


def test_a_function_of_any_names_takes_every_dict() -> None:
    assert arguments(any_names, {"x": 1}) == {"x": 1}
    assert arguments(any_names, 1) == {"first": 1}


def test_a_function_without_arguments_takes_only_an_empty_dict() -> None:
    assert arguments(nothing, {}) == {}
    with pytest.raises(InvalidParameter, match="takes none"):
        arguments(nothing, 3)
