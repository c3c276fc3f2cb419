"""Values and tables in a terminal."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

TEXT_MAX = 20_000  # characters of one value


def print_value(value: Any, rows: int = 20) -> None:
    """A table as a table, numbers of an array in short, everything else as JSON or text."""
    pandas = sys.modules.get("pandas")
    numpy = sys.modules.get("numpy")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        _print_frame(value.to_frame() if isinstance(value, pandas.Series) else value, rows)
    elif numpy is not None and isinstance(value, numpy.ndarray):
        _print_array(value)
    elif isinstance(value, tuple) and len(value) == 2 and numpy is not None and isinstance(value[0], numpy.ndarray):
        _print_array(value[0])
        print(f"bounds {value[1]}")
    elif isinstance(value, bytes):
        print(f"{len(value)} bytes; write them with -o FILE")
    elif isinstance(value, str):
        print(_cut(value))
    elif value is None:
        print("None")
    else:
        try:
            print(_cut(json.dumps(value, indent=2, ensure_ascii=False)))
        except (TypeError, ValueError):
            print(_cut(repr(value)))


def _print_frame(frame: Any, rows: int) -> None:
    width = shutil.get_terminal_size((120, 40)).columns
    more = f", {rows} shown" if len(frame) > rows else ""
    count = f"[{len(frame)} rows × {len(frame.columns)} columns{more}]"
    if rows == 0 or frame.empty:
        print(f"columns: {', '.join(map(str, frame.columns)) or 'none'}\n{count}")
        return
    shown = sys.modules["pandas"].DataFrame(frame.head(rows))  # a GeoDataFrame would warn about its text
    for column in shown.columns[[str(kind) == "geometry" for kind in shown.dtypes]]:
        shown = shown.assign(**{str(column): shown[column].astype(str).str.slice(0, 60)})
    print(shown.to_string(index=not _is_plain_index(frame), max_colwidth=60, line_width=width))
    print(count)


def _is_plain_index(frame: Any) -> bool:
    return type(frame.index).__name__ == "RangeIndex"


def _print_array(array: Any) -> None:
    print(f"array of shape {array.shape}, {array.dtype}")
    if array.size and array.dtype.kind in "iufb":
        print(f"from {array.min()} to {array.max()}, mean {array.mean():.6g}")


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= TEXT_MAX
        else f"{text[:TEXT_MAX]}\n… {len(text) - TEXT_MAX} characters more; write them with -o FILE"
    )


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """Columns as wide as their longest cell; ``empty`` is said when there are no rows."""
    if not rows:
        print(empty)
        return
    cells = [[str(cell) if cell is not None else "" for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(headers), *cells]) for at in range(len(headers))]
    for row in [[header.upper() for header in headers], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
