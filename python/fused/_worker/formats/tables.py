"""Tables: pandas, geopandas, pyarrow, polars and whatever speaks the Arrow capsule protocol."""

from __future__ import annotations

import sys
from typing import Any

from ... import _native
from . import columns, geometry
from .base import CONTENT_TYPES, Encoded, Request, Unsuited
from .families import family, geopandas_module

TABLE_FORMATS = ("parquet", "json", "csv", "feather", "xlsx", "xml", "html")
GEO_FORMATS = ("parquet", "geojson", "mvt", "json", "csv", "feather", "xlsx", "xml", "html")

TYPED_FORMATS = ("parquet", "feather")  # every column has one type there


def encode(value: Any, name: str, request: Request) -> Encoded:
    """The table as one of GEO_FORMATS; ``Unsuited`` where this table cannot be that."""
    table = normal(value)
    if name in ("geojson", "mvt"):
        table = geometry.in_degrees(table, name)
    if name in ("xlsx", "xml", "html"):
        from . import documents

        return documents.encode(table, name, request)
    frame, described = columns.make_frame(table, name, request)
    body = write(frame, name, described, request)
    return Encoded(CONTENT_TYPES[name], name, body, rows=frame.rows, schema=frame.schema)


def records(value: Any) -> Any:
    """JSON records of a table within another value."""
    request = Request(["json"])
    frame, _ = columns.make_frame(normal(value), "json", request)
    return write(frame, "json", "", request)


def write(frame: Any, name: str, described: str, request: Request) -> Any:
    try:
        match name:
            case "json":
                return _native.encode_json(frame, request.bytes_max)
            case "parquet":
                return _native.encode_parquet(frame, described)
            case "geojson":
                return _native.encode_geojson(frame, request.bytes_max)
            case "csv":
                return _native.encode_csv(frame, request.bytes_max)
            case "feather":
                return _native.encode_feather(frame, described)
            case "mvt":
                if request.tile is None:
                    raise Unsuited("a vector tile needs a tile: ask for …/run/tiles/{z}/{x}/{y}?format=mvt")
                return _native.encode_mvt(frame, *request.tile)
    except _native.EncodeError as error:
        raise columns.translated(error, name) from None
    raise Unsuited(f"a table has no {name}")


def normal(value: Any) -> Any:
    """One of: DataFrame, GeoDataFrame, or an object with ``__arrow_c_stream__``."""
    kind = type(value)
    which = family(kind)
    name = kind.__name__
    if which == "shapely":
        return geopandas_module().GeoDataFrame(geometry=[value])
    if which == "geopandas" and _is_series(value):
        return value.to_frame(value.name if value.name is not None else "geometry")
    if which == "pandas" and _is_series(value):
        return value.to_frame("0" if value.name is None else value.name)
    if which == "pandas" and not hasattr(value, "columns"):
        return value.to_frame(index=False)
    if which == "polars" and name == "LazyFrame":
        return value.collect()
    if which == "polars" and name == "Series":
        return value.to_frame()
    if which == "pyarrow" and not hasattr(value, "schema"):
        pyarrow = sys.modules["pyarrow"]
        return pyarrow.table({"0": value})
    return value


def _is_series(value: Any) -> bool:
    return getattr(value, "ndim", 2) == 1 and hasattr(value, "index")
