"""docs/reference/formats.md against the encoder, cell by cell."""

from __future__ import annotations

import pytest
from support import CLIENT_LIST, MATRIX, TILE, VALUES

from fused._worker.encode import CONTENT_TYPES, NoFormat, NotSerialisable, encode


def _rows(first_heading: str) -> tuple[list[str], dict[str, list[str]]]:
    """Column names and rows of the table whose header's second cell is ``first_heading``."""
    lines = MATRIX.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| value | {first_heading} |"))
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:] if line.startswith("|") or line
    ]
    end = next(at for at, row in enumerate(cells) if len(row) != len(cells[0]))
    return cells[0][1:], {row[0]: row[1:] for row in cells[2:end]}


FORMATS, MATRIX_ROWS = _rows("parquet")
_, CHOICES = _rows("client's list")


def test_the_page_has_a_row_for_every_value_and_a_column_for_every_format():
    assert list(MATRIX_ROWS) == list(VALUES)
    assert list(CHOICES) == list(VALUES)
    assert set(FORMATS) == set(CONTENT_TYPES) - {"bin"}


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("value", list(VALUES))
def test_a_cell_holds_what_the_page_says(value: str, format_name: str):
    promised = MATRIX_ROWS[value][FORMATS.index(format_name)] == "✓"
    if promised:
        encoded = encode(VALUES[value](), [format_name], format_from="query", tile=TILE)
        assert encoded.status in (200, 203)
        if value not in ("`None`", "`Response`"):
            assert encoded.content_type == CONTENT_TYPES[format_name]
            assert encoded.format == format_name
            assert len(encoded.body) > 0
    else:
        with pytest.raises(NoFormat) as refused:
            encode(VALUES[value](), [format_name], format_from="query", tile=TILE)
        possible = {name for name, cell in zip(FORMATS, MATRIX_ROWS[value], strict=True) if cell == "✓"}
        assert set(refused.value.possible) <= possible
        assert refused.value.possible
        assert format_name in str(refused.value)


@pytest.mark.parametrize("value", list(VALUES))
def test_each_kind_of_caller_gets_the_format_that_the_page_says(value: str):
    answers = []
    for arguments in (
        {"formats": CLIENT_LIST, "format_from": "query"},
        {"formats": [], "format_from": "query", "dtype_out": {"vector": "parquet", "raster": "tiff"}},
        {"formats": [], "format_from": "default"},
    ):
        try:
            answers.append(encode(VALUES[value](), **arguments).format)
        except NoFormat:
            answers.append("refused")
    assert answers == CHOICES[value]


@pytest.mark.parametrize("value", [object(), len, lambda: 1, {"a": object()}, [object()], iter([1])])
def test_a_value_of_no_known_type_is_refused_by_the_name_of_its_type(value):
    for arguments in ({"formats": CLIENT_LIST}, {"formats": ["png"]}, {"formats": []}):
        with pytest.raises(NotSerialisable) as refused:
            encode(value, arguments["formats"], format_from="query")
        inner = value["a"] if isinstance(value, dict) else value[0] if isinstance(value, list) else value
        assert type(inner).__name__ in str(refused.value)
