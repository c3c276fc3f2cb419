"""Readers of single types: from a query's text or a JSON value. Heavy packages come with their types."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

from . import _places


class Unreadable(Exception):
    """A value is not what the annotation asks for; the text may say more."""


# --- text and numbers -----------------------------------------------------------------------------------------------


def read_str(value: Any) -> str:
    """Text as it is; JSON values as their JSON text."""
    if type(value) is str:
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)


def read_int(value: Any) -> int:
    """Decimal digits, or a number without decimals."""
    if type(value) is str:
        if "_" in value:
            raise Unreadable("digits only")
        return int(value, 10)
    if isinstance(value, float) and not value.is_integer():
        raise Unreadable("it has decimals")
    if isinstance(value, int | float):
        return int(value)
    raise Unreadable


def read_float(value: Any) -> float:
    """What Python's ``float`` takes, so ``nan`` and ``inf`` too; no ``_`` between digits."""
    if type(value) is str and "_" in value:
        raise Unreadable("digits only")
    return float(value)


def read_bool(value: Any) -> bool:
    """False for an empty text and ``false`` in any case; every other text is True."""
    if type(value) is str:
        return value.lower() != "false" and value != ""
    return bool(value)


def read_bytes(value: Any) -> bytes:
    """Text as UTF-8; a list of numbers from 0 to 255."""
    if isinstance(value, int | float):
        raise Unreadable("text, or a list of numbers from 0 to 255")
    return value.encode() if isinstance(value, str) else bytes(value)


def read_complex(value: Any) -> complex:
    """``1+2j``."""
    return complex(value)


def read_json(value: Any) -> Any:
    """The value of a JSON text; what is no text is one already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Unreadable(f"it is no JSON ({error})") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None


# --- time -----------------------------------------------------------------------------------------------------------

_MILLISECONDS_FROM = 2e10  # an epoch number above it (the year 2603) is in milliseconds


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        raise Unreadable
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value)
    except ValueError:
        return None


def read_datetime(value: Any) -> dt.datetime:
    """ISO 8601, or seconds (milliseconds) since 1970, which give UTC."""
    try:
        return dt.datetime.fromisoformat(value.strip()) if isinstance(value, str) else _from_epoch(value)
    except ValueError:
        return _from_epoch(value)


def _from_epoch(value: Any) -> dt.datetime:
    seconds = _number(value)
    if seconds is None:
        raise Unreadable("neither ISO 8601 nor seconds since 1970")
    if abs(seconds) > _MILLISECONDS_FROM:
        seconds /= 1000
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


def read_date(value: Any) -> dt.date:
    """The day of ``read_datetime``."""
    return read_datetime(value).date()


def read_time(value: Any) -> dt.time:
    """ISO 8601, or seconds since midnight."""
    if isinstance(value, str):
        try:
            return dt.time.fromisoformat(value.strip())
        except ValueError:
            pass
    seconds = _number(value)
    if seconds is None:
        try:
            return read_datetime(value).timetz()
        except Unreadable:
            raise Unreadable("neither ISO 8601 nor seconds since midnight") from None
    if not 0 <= seconds < 86_400:
        raise Unreadable("a day has 86400 seconds")
    return (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)).time()


def read_timedelta(value: Any) -> dt.timedelta:
    """Seconds, ``HH:MM:SS``, ISO 8601 (``PT1H``) or words (``2h``, ``3 days``)."""
    seconds = _number(value)
    if seconds is not None:
        return dt.timedelta(seconds=seconds)
    import pandas

    span = pandas.Timedelta(value)
    if pandas.isna(span):
        raise Unreadable
    return span.to_pytimedelta()


def read_pandas_timedelta(value: Any) -> Any:
    """A ``pandas.Timedelta``, to the nanosecond, of what ``read_timedelta`` reads."""
    import pandas

    seconds = _number(value)
    return pandas.Timedelta(value) if seconds is None else pandas.Timedelta(seconds, "s")


def read_timestamp(value: Any) -> Any:
    """A ``pandas.Timestamp``; numbers are seconds (milliseconds) since 1970, in UTC."""
    import pandas

    if isinstance(value, str) and _number(value) is None:
        return pandas.Timestamp(value)
    return pandas.Timestamp(_from_epoch(value))


# --- tables and geometry --------------------------------------------------------------------------------------------


def read_dataframe(value: Any) -> Any:
    """Records, columns, or the ``split`` form of pandas."""
    import pandas

    value = read_json(value)
    if isinstance(value, pandas.DataFrame):
        return value
    if isinstance(value, list):
        return pandas.DataFrame(value)
    if isinstance(value, dict):
        if {"columns", "data"} <= value.keys():
            return pandas.DataFrame(value["data"], columns=value["columns"], index=value.get("index"))
        if value and all(isinstance(column, dict) for column in value.values()):
            frame = pandas.DataFrame(value)
            if all(isinstance(label, str) and label.lstrip("-").isdigit() for label in frame.index):
                frame.index = frame.index.astype("int64")
            return frame
        return pandas.DataFrame(value if any(isinstance(column, list) for column in value.values()) else [value])
    raise Unreadable("a table is a list of records or a dict of columns")


def read_series(value: Any) -> Any:
    """A ``pandas.Series`` of a JSON list, or of an object whose keys become its index."""
    import pandas

    value = read_json(value)
    if not isinstance(value, list | dict):
        raise Unreadable("a list or a dict")
    return pandas.Series(value)


def read_array(value: Any) -> Any:
    """A ``numpy.ndarray`` of a JSON list (of lists) of numbers."""
    import numpy

    value = read_json(value)
    if not isinstance(value, list | int | float):
        raise Unreadable("a list of numbers")
    return numpy.array(value)


def by_class(module: str, name: str) -> Callable[[Any], Any] | None:
    """Readers of classes that are known without importing their package."""
    root = module.partition(".")[0]
    if root == "pandas":
        return {
            "DataFrame": read_dataframe, "Series": read_series, "Timestamp": read_timestamp,
            "Timedelta": read_pandas_timedelta,
        }.get(name)  # fmt: skip
    if root == "geopandas":
        return {"GeoDataFrame": _places.to_frame, "GeoSeries": _places.to_geoseries}.get(name)
    if root == "numpy" and name == "ndarray":
        return read_array
    return None


PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: read_str, int: read_int, float: read_float, bool: read_bool, bytes: read_bytes, complex: read_complex,
    uuid.UUID: lambda value: uuid.UUID(value), decimal.Decimal: lambda value: decimal.Decimal(str(value)),
    dt.datetime: read_datetime, dt.date: read_date, dt.time: read_time, dt.timedelta: read_timedelta,
    pathlib.Path: lambda value: pathlib.Path(value), pathlib.PurePath: lambda value: pathlib.Path(value),
}  # fmt: skip
