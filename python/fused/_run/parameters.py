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


def encode_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Every value as None, text, whole number or fraction; ``TypeError`` names a parameter that cannot travel.

    Lists, tuples, dictionaries and flags become JSON text, tables JSON records, geometries WKT, GeoDataFrames GeoJSON.
    """
    return {name: encode_parameter(value, name) for name, value in parameters.items()}


def encode_parameter(value: Any, name: str) -> Any:
    """One value, see ``encode_parameters``; ``name`` is for the message of a ``TypeError``."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool | enum.Enum)):
        plain = _plain(value)
        # Beyond 64 bits JSON readers change it: as text, which the annotation ``int`` reads.
        return str(plain) if isinstance(plain, int) and not -(1 << 63) <= plain < 1 << 64 else plain
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(_json_value(value, name), ensure_ascii=False)
    encoded = _json_value(value, name)
    return json.dumps(encoded, ensure_ascii=False) if isinstance(encoded, list | dict | bool) else encoded


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
