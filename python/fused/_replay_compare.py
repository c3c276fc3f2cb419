"""Two results beside each other: tables row by row, arrays cell by cell, text line by line."""

from __future__ import annotations

import difflib
import json
from typing import Any

SHOWN_MAX = 20  # cells, lines


def compare(a: Any, b: Any) -> list[str]:
    """What differs, a line each; empty where nothing does. The first value is "A", the second "B"."""
    tables = _table(a), _table(b)
    if tables[0] is not None and tables[1] is not None:
        return _compare_tables(*tables)
    if type(a).__module__.startswith("numpy") and type(b).__module__.startswith("numpy"):
        return _compare_arrays(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return [f"part {at + 1}: {line}" for at in range(len(a)) for line in compare(a[at], b[at])]
    if type(a) is not type(b):
        return [f"A is a {type(a).__name__}, B a {type(b).__name__}"]
    if isinstance(a, bytes):
        return [] if a == b else [f"A has {len(a)} bytes, B {len(b)}; they differ"]
    texts = [each if isinstance(each, str) else _text(each) for each in (a, b)]
    if texts[0] == texts[1]:
        return []
    lines = list(difflib.unified_diff(texts[0].splitlines(), texts[1].splitlines(), "A", "B", lineterm="", n=1))
    more = len(lines) - 2 * SHOWN_MAX
    return [*lines[: 2 * SHOWN_MAX], *([f"… {more} lines more"] if more > 0 else [])]


def _text(value: Any) -> str:
    try:
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def _table(value: Any) -> Any:
    """A DataFrame; of a JSON list of records, too. None for what is no table."""
    if type(value).__name__ in ("DataFrame", "GeoDataFrame"):
        return value
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        import pandas

        return pandas.DataFrame(value)
    return None


def _compare_tables(a: Any, b: Any) -> list[str]:
    said = []
    for label, one, other in (("A", a, b), ("B", b, a)):
        only = [str(name) for name in one.columns if name not in other.columns]
        if only:
            said.append(f"columns only in {label}: {', '.join(only)}")
    both = [name for name in a.columns if name in b.columns]
    if not said and list(a.columns) != list(b.columns):
        said.append("the columns are the same in another order")
    said += [
        f"column {name}: {a[name].dtype} in A, {b[name].dtype} in B" for name in both if a[name].dtype != b[name].dtype
    ]
    if len(a) != len(b):
        label, one = ("A", len(a) - len(b)) if len(a) > len(b) else ("B", len(b) - len(a))
        said.append(f"A has {len(a)} rows, B {len(b)}: the last {one} of {label} have no counterpart")
    rows = min(len(a), len(b))
    found: dict[int, list[str]] = {}
    cells = 0
    for name in both:
        left, right = a[name].iloc[:rows], b[name].iloc[:rows]
        for at in _different(left, right):
            cells += 1
            if len(found) < SHOWN_MAX or at in found:
                found.setdefault(at, []).append(f"{name}: {_shown(left.iloc[at])} → {_shown(right.iloc[at])}")
    if cells:
        said.append(f"{cells} cells differ in {rows} rows compared:")
        said += [f"  row {at}: {'; '.join(found[at])}" for at in sorted(found)[:SHOWN_MAX]]
    return said


def _different(left: Any, right: Any) -> list[int]:
    """Positions of the cells that differ; missing values are equal to each other."""
    if str(left.dtype) == "geometry" and str(right.dtype) == "geometry":
        left, right = left.to_wkb(), right.to_wkb()
    if left.dtype.kind in "biufMmSU" and right.dtype.kind in "biufMmSU":
        unequal = (left.to_numpy() != right.to_numpy()) & ~(left.isna().to_numpy() & right.isna().to_numpy())
        return [int(at) for at in unequal.nonzero()[0]]
    return [at for at, (x, y) in enumerate(zip(left, right, strict=True)) if not _equal(x, y)]


def _equal(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if hasattr(x, "shape") or hasattr(y, "shape"):
        import numpy

        return bool(numpy.array_equal(numpy.asarray(x), numpy.asarray(y)))
    try:
        return bool(x == y) or bool(x != x and y != y)
    except (TypeError, ValueError):
        return repr(x) == repr(y)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _compare_arrays(a: Any, b: Any) -> list[str]:
    import numpy

    a, b = numpy.asarray(a), numpy.asarray(b)
    said = [] if a.dtype == b.dtype else [f"A is {a.dtype}, B {b.dtype}"]
    if a.shape != b.shape:
        return [*said, f"A has the shape {a.shape}, B {b.shape}"]
    unequal = a != b
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        unequal &= ~(numpy.isnan(a) & numpy.isnan(b))
    count = int(numpy.count_nonzero(unequal))
    if count:
        said.append(f"{count} of {a.size} cells differ")
        if a.dtype.kind in "iuf" and b.dtype.kind in "iuf":
            most = float(numpy.nanmax(numpy.abs(a[unequal].astype("f8") - b[unequal].astype("f8"))))
            said[-1] += f", by {most:g} at most"
    return said
