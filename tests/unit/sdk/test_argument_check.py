"""What a job or a schedule would fail of later is refused at once; nothing of a loaded function is run for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fused
from fused._argument_check import ArgumentCheck

CODE = """\
from __future__ import annotations
import datetime as dt
from enum import Enum
from pathlib import Path
from typing import Optional, Literal
import pandas as pd
from somewhere import Odd

class Colour(Enum):
    RED = "red"

open({marker!r}, "w").close()

@fused.udf
def udf(
    n: int, when: dt.date, places: fused.types.Bounds = None, many: list[int] | None = None, odd: Odd = None,
    colour: Colour = Colour.RED, frame: pd.DataFrame = None, size: Literal["s", "m"] = "s", tag: Optional["int"] = None,
    other: "nothing.known" = 1, *, ratio: float = 1, **rest: int,
):
    return n
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    yield fused.load(CODE.format(marker=str(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists(), "the function's text was run to look at its arguments"


def test_all_that_is_missing_is_named_at_once(loaded: Any) -> None:
    assert ArgumentCheck(loaded).missing({}) == ["n", "when"]
    with pytest.raises(ValueError, match="'udf' requires 'n', 'when', which are not given"):
        ArgumentCheck(loaded).check({})
    assert ArgumentCheck(loaded.set_parameters({"n": 1})).missing({"when": "2026-01-01"}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "x"), ("n", 1.5), ("when", "soon"), ("places", "1,2"), ("many", "[1"), ("size", "xl"), ("tag", "x"),
        ("ratio", "much"), ("more", "x"),
    ],
)  # fmt: skip
def test_what_the_annotation_cannot_read_is_refused(loaded: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"parameter '{name}': .* cannot be read as"):
        ArgumentCheck(loaded).check({"n": 1, "when": "2026-01-01", name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "7"), ("n", True), ("when", 1e9), ("places", "1,2,3,4"), ("many", "[1, 2]"), ("many", [1, 2]),
        ("odd", "anything"), ("colour", "no member, which only its run knows"), ("frame", "x"), ("tag", None),
        ("other", "x"), ("more", 3), ("n", object()),
    ],
)  # fmt: skip
def test_what_only_the_run_can_tell_is_left_to_it(loaded: Any, name: str, value: Any) -> None:
    ArgumentCheck(loaded).check({"n": 1, "when": "2026-01-01", name: value})


def test_a_name_that_the_text_defines_itself_is_nobody_elses() -> None:
    made = fused.load("class int:\n    pass\n\n@fused.udf\ndef udf(n: int):\n    return 1\n")
    ArgumentCheck(made).check({"n": "x"})


def test_a_function_of_this_process_is_checked_by_its_own_annotations() -> None:
    @fused.udf
    def here(a: int, /, b: str = "x", bounds: fused.types.Bounds = None) -> int:
        return a

    assert ArgumentCheck(here).missing({"b": "y"}) == ["a"]
    assert ArgumentCheck(here).missing({"a": 1, "bbox": "1,2,3,4"}) == []
    with pytest.raises(TypeError, match="no parameter 'c'"):
        ArgumentCheck(here).check({"a": 1, "c": 1})


def test_a_job_is_refused_before_it_is_sent_with_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fused._jobs.response.call_json", lambda *_, **__: pytest.fail("it was sent"))

    @fused.udf
    def two(a: int, b: float) -> float:
        return a * b

    with pytest.raises(ValueError, match="'two' requires 'a', 'b', which are not given"):
        two().run_remote()
    with pytest.raises(ValueError, match="parameter 'a': 'x' cannot be read as int"):
        two(a="x", b=1).run_remote()
    with pytest.raises(ValueError, match=r"item 1 of arg_list: parameter 'b'"):
        two(arg_list=[{"a": 1, "b": 1}, {"a": 1, "b": "x"}]).run_remote()


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda udf, items: udf(arg_list=items), r"as two\(arg_list=…, b=…\)$"),
        (lambda udf, items: udf.map(items, engine="local"), r"as two\.map\(…, b=…\)$"),
        (lambda udf, items: fused.submit(udf, items, engine="local"), r"as fused\.submit\(…, b=…\)$"),
    ],
)
def test_advice_names_what_was_called(call: Any, advice: str) -> None:
    @fused.udf
    def two(a: int, b: float) -> float:
        return a * b

    with pytest.raises(ValueError, match=f"call 1 of arg_list has no 'b', which 'two' requires.*{advice}"):
        call(two, [{"a": 1, "b": 1}, {"a": 1}])
