"""The form in which parameters enter a cache key: one table for C++ (core/cache/canonical_test.cpp) and Python."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from fused._annotations import reader_of
from fused._canonical import canonical_json, canonical_parameters, canonical_text

TABLE = json.loads((Path(__file__).parent / "parameters_canonical.json").read_text())
ANNOTATIONS: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict,
    "int?": int | None, "float?": float | None, "bool?": bool | None, "str?": str | None, "list?": list | None,
    "dict?": dict | None,
}  # fmt: skip
REFUSED = "(refused)"


def form(kind: str, value: Any) -> bytes:
    return canonical_text(kind, value) if isinstance(value, str) else canonical_json(kind, value)


def read(kind: str, value: Any) -> Any:
    """What the function would get: with its type, and with the sign and bits of floats."""
    if value is None:
        return repr(None)
    reader = reader_of(ANNOTATIONS[kind]).read
    assert reader is not None
    try:
        return repr(reader(value))
    except Exception:
        return REFUSED


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['kind']}-{row['canonical'][:24]}")
def test_the_table_holds_in_python(row: dict[str, Any]) -> None:
    for value in [*row["texts"], *row["values"]]:
        assert form(row["kind"], value).hex() == row["canonical"], value


@pytest.mark.parametrize("row", [row for row in TABLE if row["kind"] in ANNOTATIONS], ids=lambda row: row["canonical"])
def test_what_shares_a_form_is_read_as_one_value(row: dict[str, Any]) -> None:
    assert len({read(row["kind"], value) for value in [*row["texts"], *row["values"]]}) == 1, row


@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_random_texts_that_share_a_form_are_read_as_one_value(kind: str) -> None:
    source = random.Random(kind)
    alphabet = ["0", "1", "9", ".", "-", "+", "e", "E", " ", "[", "]", "{", "}", ",", ":", '"', "\\", "u0041", "_", "a"]
    words = ["true", "false", "null", "NaN", "none", "1e5", '"a"', "[1]", '{"a":1}', "٣", "\u00a01"]
    seen: dict[bytes, tuple[Any, str]] = {}
    for _ in range(8_000):
        text = "".join(source.choice(alphabet if source.random() < 0.7 else words) for _ in range(source.randint(0, 5)))
        values: list[Any] = [text]
        try:
            values.append(json.loads(text))
        except ValueError:
            pass
        for value in values:
            if isinstance(value, float) and value != value:
                continue  # no JSON body can hold it
            got, known = read(kind, value), seen.setdefault(form(kind, value), (read(kind, value), repr(value)))
            assert got == known[0], (kind, value, known[1])


def test_a_value_by_url_equals_the_same_by_body() -> None:
    signature = {"n": "int", "tags": "list"}
    by_url = canonical_parameters(signature, None, {}, [("n", "3"), ("tags", '[1, "a"]')], {})
    assert by_url == canonical_parameters(signature, None, {}, [], {"n": 3, "tags": [1, "a"]})
    assert [name for name, _ in by_url] == ["n", "tags"]
