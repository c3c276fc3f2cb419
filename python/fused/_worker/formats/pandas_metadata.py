"""The JSON under the schema key "pandas", by which pandas finds its index and types again in a file."""

from __future__ import annotations

import json
import sys
from typing import Any

_TEXT_NAMES = {
    "name": None,
    "field_name": None,
    "pandas_type": "unicode",
    "numpy_type": "str",
    "metadata": {"encoding": "UTF-8"},
}


def describe(columns: list[tuple[str, str, Any]], index: list[Any], column_names: list[str | None]) -> str:
    """``columns``: (name or None, field name, dtype). ``index``: field names, or the description of a range."""
    return json.dumps(
        {
            "index_columns": index,
            "column_indexes": [_TEXT_NAMES | {"name": name} for name in column_names],
            "columns": [_column(*column) for column in columns],
            "attributes": {},
            "creator": {"library": "fused-server", "version": "1"},
            "pandas_version": sys.modules["pandas"].__version__,
        }
    )


def range_index(index: Any) -> dict[str, Any]:
    name = None if index.name is None else str(index.name)
    return {"kind": "range", "name": name, "start": index.start, "stop": index.stop, "step": index.step}


def zone_text(zone: Any) -> str:
    """The zone as Arrow names it: of the tz database, or an offset alone (a ``datetime.timezone`` is ``UTC+05:00``)."""
    text = str(zone)
    return text[3:] if text.startswith(("UTC+", "UTC-")) else text


def _column(name: str | None, field_name: str, dtype: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "field_name": field_name, "numpy_type": str(dtype), "metadata": None}
    kind = getattr(dtype, "kind", "O")
    class_name = type(dtype).__name__
    if class_name == "CategoricalDtype":
        count = len(dtype.categories)
        codes = "int8" if count < 128 else "int16" if count < 32768 else "int32"
        described |= {
            "pandas_type": "categorical",
            "numpy_type": codes,
            "metadata": {"num_categories": count, "ordered": dtype.ordered},
        }
    elif class_name == "DatetimeTZDtype":
        described |= {
            "pandas_type": "datetimetz",
            "numpy_type": f"datetime64[{dtype.unit}]",
            "metadata": {"timezone": zone_text(dtype.tz)},
        }
    elif class_name == "GeometryDtype":
        described |= {"pandas_type": "bytes", "numpy_type": "object"}
    elif kind == "M":
        described["pandas_type"] = "datetime"
    elif kind == "O" and class_name.startswith("Object"):
        described["pandas_type"] = "unicode"
    elif kind in "biuf":
        described["pandas_type"] = str(dtype).lower().removesuffix("[pyarrow]")
    else:
        described["pandas_type"] = "object"
    return described
