"""The schema of a table that exists: pandas, geopandas, Arrow."""

from __future__ import annotations

import sys
from typing import Any

from fused.models.data_type import check_type
from fused.models.schema import Field, Schema

_NUMPY = {"float64": "float64", "float32": "float32", "float16": "float16", "bool": "bool", "boolean": "bool"}


def schema_of_value(value: Any) -> Schema | None:
    """None for anything that is no table; libraries that are not imported cannot have made the value."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.Series):
        value = value.to_frame(value.name if value.name is not None else "0")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        try:
            return Schema([Field(str(name), _pandas_type(column)) for name, column in value.items()])
        except (ValueError, TypeError, NotImplementedError):  # Arrow's errors: a column of mixed values has no type
            return None
    arrow = getattr(value, "schema", None)
    if "pyarrow" in sys.modules and isinstance(arrow, sys.modules["pyarrow"].Schema):
        return Schema([Field(each.name, _arrow_type(each.type), each.nullable) for each in arrow])
    return None


def _pandas_type(column: Any) -> Any:
    name = str(column.dtype)
    if name == "geometry":
        return "geometry"
    if name in _NUMPY:
        return _NUMPY[name]
    import pyarrow as pa

    return _arrow_type(pa.Array.from_pandas(column.head(1000)).type)


def _arrow_type(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _arrow_type(kind.value_type)
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": [{"name": each.name, "type": _arrow_type(each.type)} for each in kind]}
    if pa.types.is_fixed_size_list(kind):
        return {"type": "fixed_size_list", "element_type": _arrow_type(kind.value_type), "inner_size": kind.list_size}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        name = "list" if pa.types.is_list(kind) else "large_list"
        return {"type": name, "element_type": _arrow_type(kind.value_type)}
    if pa.types.is_map(kind):
        return {"type": "list", "element_type": {"type": "struct", "fields": [
            {"name": "key", "type": _arrow_type(kind.key_type)}, {"name": "value", "type":
            _arrow_type(kind.item_type)}]}}  # fmt: skip
    if pa.types.is_fixed_size_binary(kind):
        return {"type": "fixed_size_binary", "byte_width": kind.byte_width}
    text = str(kind)
    for long, short in (
        ("date32[day]", "date32"),
        ("date64[ms]", "date64"),
        ("string_view", "string"),
        ("binary_view", "binary"),
    ):
        text = short if text == long else text
    if text.startswith("extension<"):
        return "geometry" if "geoarrow" in text else _arrow_type(kind.storage_type)
    return check_type({"halffloat": "float16", "float": "float32", "double": "float64"}.get(text, text), "?")
