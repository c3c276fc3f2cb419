"""Python values as JSON: what the native writer does not know by itself."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from ... import _native
from .base import NotSerialisable, type_name


def dumps(value: Any) -> Any:
    """JSON of any value, NaN as null, or ``NotSerialisable``."""
    try:
        return _native.json_value(value, plain)
    except _native.EncodeError as error:
        raise NotSerialisable(f"a {type_name(value)} cannot be written as JSON: {error.args[1]}") from None


def plain(value: Any) -> Any:
    """Something that JSON has, or ready JSON as ``bytes``, for a value that it has not."""
    by_type = _BY_TYPE.get(type(value))
    if by_type is not None:
        return by_type(value)
    if type(value).__module__.partition(".")[0] == "pandas":  # before their bases: NaT is a datetime too
        found = _of_pandas(value)
        if found is not _NOTHING:
            return found
    for kind, convert in _BY_BASE:
        if isinstance(value, kind):
            return convert(value)
    found = _of_library(value)
    if found is not _NOTHING:
        return found
    raise NotSerialisable(
        f"a value of type {type_name(value)} cannot be written as JSON; return numbers, text, lists, tables or arrays"
    )


_NOTHING = object()


def _decimal(value: decimal.Decimal) -> Any:
    return str(value).encode() if value.is_finite() and abs(value.adjusted()) < 400 else None


def _seconds(value: datetime.timedelta) -> float:
    return value.total_seconds()


_BY_TYPE: dict[type, Any] = {
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: _seconds,
    decimal.Decimal: _decimal,
    uuid.UUID: str,
    complex: lambda value: [value.real, value.imag],
    range: list,
}


def _bytes(value: Any) -> Any:
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise NotSerialisable(
            f"a {type_name(value)} that is not UTF-8 text cannot be written as JSON; return it alone, or as base64 text"
        ) from None


_BY_BASE: list[tuple[Any, Any]] = [
    (enum.Enum, lambda value: value.value),
    (bool, bool),
    (str, str.__str__),
    (int, int),
    (float, float),
    (Mapping, dict),
    (tuple, tuple),
    (list, list),
    ((set, frozenset), list),
    (datetime.datetime, datetime.datetime.isoformat),
    (datetime.date, datetime.date.isoformat),
    (datetime.timedelta, _seconds),
    (os.PathLike, os.fspath),
    ((bytes, bytearray, memoryview), _bytes),
]


def _of_library(value: Any) -> Any:
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        return _of_numpy(value)
    if package == "shapely" and hasattr(value, "__geo_interface__"):
        return value.__geo_interface__
    if dataclasses.is_dataclass(value):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    for method in ("model_dump", "to_pylist", "to_dicts", "__geo_interface__"):  # pydantic, pyarrow, polars, geometry
        found = getattr(value, method, None)
        if callable(found):
            return found()
        if found is not None:
            return found
    if package in ("geopandas", "xarray", "polars", "pyarrow"):
        return _of_tables(value)
    if hasattr(kind, "__iter__") and (hasattr(value, "keys") or hasattr(value, "__len__")):
        return dict(value) if hasattr(value, "keys") else list(value)
    return _NOTHING


def _of_numpy(value: Any) -> Any:
    np = sys.modules["numpy"]
    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()
    if isinstance(value, np.datetime64 | np.timedelta64):
        if np.isnat(value):
            return None
        return str(value) if isinstance(value, np.datetime64) else float(value / np.timedelta64(1, "s"))
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "mM":
            return [plain(item) for item in value] if value.ndim else plain(value[()])
        if value.dtype.names:
            return [dict(zip(value.dtype.names, row.tolist(), strict=True)) for row in value.ravel()]
        return value.tolist()
    if isinstance(value, np.dtype | type):
        return str(value)
    if isinstance(value, np.void) and value.dtype.names:
        return {name: value[name] for name in value.dtype.names}
    if isinstance(value, np.generic):
        item = value.item()
        return float(value) if isinstance(item, np.generic) else item  # longdouble gives itself
    return _NOTHING


def _of_pandas(value: Any) -> Any:
    name = type(value).__name__
    if name in ("NAType", "NaTType"):
        return None
    if name == "Timestamp":
        return value.isoformat()
    if name == "Timedelta":
        return value.total_seconds()
    if name in ("Period", "Interval"):
        return str(value)
    if hasattr(value, "to_numpy") or name in ("DataFrame", "Series"):
        return _of_tables(value)
    return _NOTHING


def _of_tables(value: Any) -> Any:
    from . import families, tables

    if families.is_table(value):
        return bytes(tables.records(value))
    for method in ("to_numpy", "to_dict", "tolist", "as_py"):
        found = getattr(value, method, None)
        if callable(found):
            return found()
    return _NOTHING


def is_missing(value: Any) -> bool:
    """None, NaN, NaT, pandas.NA: what a cell of a table without a value holds."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )
