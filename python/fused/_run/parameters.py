"""Python values as parameters that travel (client-protocol.md §3): JSON values, or text that annotations read back."""

from __future__ import annotations

import datetime
import enum
import json
import math
import os
import sys
import uuid
from collections.abc import Mapping
from typing import Any

DEPTH_MAX = 16  # of lists in lists that travel as JSON; servers read a request to a depth of 32


def encode_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every value as JSON can say it; ``TypeError`` names a parameter that cannot travel.

    Tuples, sets and arrays become lists, tables records, geometries WKT, GeoDataFrames GeoJSON.
    """
    return {name: encode_parameter(value, name) for name, value in parameters.items()}


def encode_parameter(value: Any, name: str) -> Any:
    """One value, see ``encode_parameters``; ``name`` is for the message of a ``TypeError``."""
    if type(value) is str:
        return value
    encoded = _json_value(value, name)
    if encoded is None or isinstance(encoded, str | float | bool) or _is_plain(encoded, DEPTH_MAX):
        return encoded
    # JSON readers would change or refuse it: as text, which the annotation (``int``, ``list``, …) reads.
    return parameter_text(encoded)


def parameter_text(value: Any) -> str:
    """What ``encode_parameter`` gave, as the text that an address carries."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _is_plain(value: Any, depth: int) -> bool:
    """Is it no deeper than ``depth``, and each of its whole numbers one of 64 bits."""
    if isinstance(value, list | dict):
        items = value if isinstance(value, list) else value.values()
        return depth > 0 and all(_is_plain(item, depth - 1) for item in items)
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 64


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)  # JSON has no NaN; float("nan") reads the text
    return str(value) if isinstance(value, str) else int(value) if isinstance(value, int) else None


def _json_value(value: Any, name: str) -> Any:
    """``value`` as JSON can say it, at any depth."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _json_value(value.value, name)
    if isinstance(value, str | int | float):
        return _plain(value)
    if isinstance(value, Mapping):
        return {str(key): _json_value(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, name) for item in value]
    if isinstance(value, set | frozenset):
        return [_json_value(item, name) for item in sorted(value, key=repr)]
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas' missing values; NaT passes for a datetime
        return None
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | os.PathLike):
        return str(value)
    return _library_value(value, name)


def _library_value(value: Any, name: str) -> Any:
    """Values of libraries; one that is not imported cannot have made the value."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _json_value(value.item(), name)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _json_value(value.tolist(), name)
    geopandas = sys.modules.get("geopandas")
    if geopandas is not None and isinstance(value, geopandas.GeoSeries):
        value = value.to_frame("geometry")
    if geopandas is not None and isinstance(value, geopandas.GeoDataFrame):
        lonlat = value.to_crs(4326) if value.crs is not None else value
        return json.loads(lonlat.to_json())
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return json.loads(value.to_json(orient="records", date_format="iso", default_handler=str))
    if pandas is not None and isinstance(value, pandas.Series | pandas.Index):
        return _json_value(value.tolist(), name)
    if hasattr(value, "__geo_interface__") and isinstance(getattr(value, "wkt", None), str):
        return value.wkt
    raise TypeError(
        f"parameter {name!r} is a {type(value).__module__}.{type(value).__qualname__}, which cannot travel to a "
        "server; give text, numbers, flags, lists, dictionaries, dates, arrays, tables or geometries, or run with "
        "engine='local'"
    )
