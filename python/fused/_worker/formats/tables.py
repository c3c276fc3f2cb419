"""Tables: pandas, geopandas, pyarrow, polars and whatever speaks the Arrow capsule protocol."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

from ... import _native
from . import pandas_metadata, values
from .base import CONTENT_TYPES, ColumnUnsuited, Encoded, NotSerialisable, Request, ResultTooLarge, Unsuited, type_name

TABLE_FORMATS = ("parquet", "json", "csv", "feather", "xlsx", "xml", "html")
GEO_FORMATS = ("parquet", "geojson", "mvt", "json", "csv", "feather", "xlsx", "xml", "html")
_TEXT_ONLY = frozenset({"json", "csv", "geojson", "mvt", "xml"})  # object columns may hold anything there
_XLSX_ROWS_MAX = 1_048_575


def is_table(value: Any) -> bool:
    return family(type(value)) is not None


@lru_cache(maxsize=4096)
def family(kind: type) -> str | None:
    """Which library's table a type is, by name: nothing is imported to find out."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        name = base.__name__
        if package == "geopandas" and name in ("GeoDataFrame", "GeoSeries"):
            return "geopandas"
        if package == "pandas" and name in ("DataFrame", "Series", "Index"):
            return "pandas"
        if package == "shapely" and name == "BaseGeometry":
            return "shapely"
        if package == "pyarrow" and name in ("Table", "RecordBatch", "RecordBatchReader", "ChunkedArray", "Array"):
            return "pyarrow"
        if package == "polars" and name in ("DataFrame", "LazyFrame", "Series"):
            return "polars"
    if kind.__module__.partition(".")[0] not in ("numpy", "pandas") and hasattr(kind, "__arrow_c_stream__"):
        return "arrow"
    return None


class Columns:
    """A table taken apart: names and values as the native side reads them, with what a format may still ask of it."""

    __slots__ = ("frame_object", "geometry", "names", "pandas", "rows", "values")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: list[Any] = []
        self.rows = 0
        self.geometry = -1
        self.pandas: Any = None  # the DataFrame, for its metadata


def encode(value: Any, name: str, request: Request) -> Encoded:
    """The table as one of GEO_FORMATS; ``Unsuited`` where this table cannot be that."""
    table = normal(value)
    if name in ("geojson", "mvt"):
        table = in_degrees(table, name)
    if name in ("xlsx", "xml", "html"):
        from . import documents

        return documents.encode(table, name, request)
    frame, described = make_frame(table, name, request)
    body = _write(frame, name, described, request)
    return Encoded(CONTENT_TYPES[name], name, body, rows=frame.rows, schema=frame.schema)


def records(value: Any) -> Any:
    """JSON records of a table within another value."""
    request = Request(["json"])
    frame, _ = make_frame(normal(value), "json", request)
    return _write(frame, "json", "", request)


def _write(frame: Any, name: str, described: str, request: Request) -> Any:
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
        raise _translated(error, name) from None
    raise Unsuited(f"a table has no {name}")


def _translated(error: Any, name: str) -> Exception:
    kind, message = error.args
    if kind == "too_large":
        return ResultTooLarge(message)
    if kind == "not_acceptable":
        return Unsuited(message)
    return NotSerialisable(f"cannot write the table as {name}: {message}")


def normal(value: Any) -> Any:
    """One of: DataFrame, GeoDataFrame, or an object with ``__arrow_c_stream__``."""
    kind = type(value)
    which = family(kind)
    name = kind.__name__
    if which == "shapely":
        return _geopandas().GeoDataFrame(geometry=[value])
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


def _geopandas() -> Any:
    try:
        import geopandas
    except ImportError:
        raise NotSerialisable("a shapely geometry needs geopandas to be written; install geopandas") from None
    return geopandas


# --- columns -----------------------------------------------------------------------------------------------------------


def make_frame(table: Any, name: str, request: Request) -> tuple[Any, str]:
    """The native frame, and the pandas metadata where the format keeps it."""
    if not hasattr(table, "_mgr"):
        return _arrow_frame(table), ""
    columns, described = _pandas_columns(table, keeps_index=name in ("parquet", "feather"))
    try:
        return _native_frame(columns, name), described
    except _native.EncodeError as error:
        raise _translated(error, name) from None


def _native_frame(columns: Columns, name: str) -> Any:
    frame = _native.make_frame(columns.names, columns.values, columns.geometry, columns.rows)
    if type(frame) is not list:
        return frame
    for at in frame:
        columns.values[at] = _converted(columns.names[at], columns.values[at], name)
        if columns.geometry < 0 and type(columns.values[at]) is tuple and columns.values[at][0] in ("geometry", "wkb"):
            columns.geometry = at
    frame = _native.make_frame(columns.names, columns.values, columns.geometry, columns.rows)
    if type(frame) is list:
        bad = columns.names[frame[0]]
        raise NotSerialisable(f"column '{bad}' of type {type_name(columns.values[frame[0]])} cannot be written")
    return frame


def active_geometry(table: Any) -> str | None:
    """Asked by type: a plain DataFrame takes 30 µs to say that it lacks an attribute."""
    return table._geometry_column_name if family(type(table)) == "geopandas" else None


def _pandas_columns(table: Any, keeps_index: bool) -> tuple[Columns, str]:
    columns = Columns()
    columns.rows = len(table.index)
    manager = table._mgr
    columns.names = names = [label if type(label) is str else str(label) for label in table.columns]
    columns.values = [_source(manager.iget_values(at)) for at in range(len(names))]
    active = active_geometry(table)
    if active is not None and active in names:
        columns.geometry = names.index(active)
    described = _add_index(columns, table, keeps_index)
    if len(set(columns.names)) != len(columns.names):
        twice = next(label for label in columns.names if columns.names.count(label) > 1)
        raise NotSerialisable(f"the table has more than one column named '{twice}'; rename one")
    return columns, described


def _add_index(columns: Columns, table: Any, keeps_index: bool) -> str:
    """Index levels as columns, by the rule of docs/reference/formats.md; for files the metadata that takes them back."""
    index = table.index
    is_range = type(index).__name__ == "RangeIndex"
    if not keeps_index:
        if is_range and index.name is None:
            return ""
        for at in range(index.nlevels):
            level = index.get_level_values(at) if index.nlevels > 1 else index
            if level.name is None and index.nlevels == 1 and level.dtype.kind in "iu":
                continue  # row numbers
            _insert(columns, at, _free_name(columns, level.name, at, index.nlevels), level)
        return ""
    dtypes = table.dtypes
    labels: list[tuple[Any, str, Any]] = [(label, label, dtype) for label, dtype in zip(columns.names, dtypes, strict=True)]
    fields: list[Any] = []
    if is_range:
        fields.append(pandas_metadata.range_index(index))
    else:
        for at in range(index.nlevels):
            level = index.get_level_values(at) if index.nlevels > 1 else index
            name = None if level.name is None else str(level.name)
            field = name if name is not None and name not in columns.names else f"__index_level_{at}__"
            columns.names.append(field)
            columns.values.append(_source(_array_of(level)))
            fields.append(field)
            labels.append((name, field, level.dtype))
    names = [None if name is None else str(name) for name in table.columns.names]
    return pandas_metadata.describe(labels, fields, names if len(names) == 1 else [None])


def _insert(columns: Columns, at: int, name: str, level: Any) -> None:
    columns.names.insert(at, name)
    columns.values.insert(at, _source(_array_of(level)))
    if columns.geometry >= at:
        columns.geometry += 1


def _free_name(columns: Columns, name: Any, level: int, levels: int) -> str:
    wanted = str(name) if name is not None else "index" if levels == 1 else f"level_{level}"
    while wanted in columns.names:
        wanted = f"{wanted}_index"
    return wanted


def _array_of(level: Any) -> Any:
    array = level.array
    return array.to_numpy() if type(array).__name__ == "NumpyExtensionArray" else array


def _source(array: Any) -> Any:
    """A column as ``core/native/columns.hpp`` takes it; what it does not take is found out there and comes back."""
    kind = type(array).__name__
    if kind == "ndarray":
        dtype = array.dtype
        if dtype.kind in "biufO":
            return array if dtype.isnative else array.astype(dtype.newbyteorder("="))
        return _numpy_time(array)
    if kind in ("ArrowStringArray", "ArrowExtensionArray"):
        return array._pa_array
    if kind == "GeometryArray":
        return ("geometry", array._data, crs_text(array.crs))
    if kind in ("DatetimeArray", "TimedeltaArray"):
        return _pandas_time(array, kind)
    if kind in ("IntegerArray", "FloatingArray", "BooleanArray"):
        return ("masked", array._data, array._mask)
    if kind == "StringArray":
        return array._ndarray
    return _Unknown(array)


class _Unknown:
    """A column that only pyarrow may know how to convert."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


def _numpy_time(array: Any) -> Any:
    import numpy as np

    if array.dtype.kind not in "mM":
        return array.astype(object)
    unit = np.datetime_data(array.dtype)[0]
    if unit not in ("s", "ms", "us", "ns"):
        unit = "s"
        array = array.astype(f"{array.dtype.kind}8[s]")
    ticks = array.view("i8")
    return ("timestamp", ticks, unit, "") if array.dtype.kind == "M" else ("duration", ticks, unit)


def _pandas_time(array: Any, kind: str) -> Any:
    ticks = array.asi8
    if kind == "TimedeltaArray":
        return ("duration", ticks, array.unit)
    if array.tz is None:
        return ("timestamp", ticks, array.unit, "")
    return ("timestamp", ticks, array.unit, pandas_metadata.zone_text(array.tz))


def _converted(name: str, column: Any, format_name: str) -> Any:
    """A column that the native side refused: mixed objects, geometry without a GeometryArray, rare extension types."""
    import pyarrow

    if type(column) is tuple and column[0] == "geometry":
        return _wkb(column[1], column[2])
    array = column.array if type(column) is _Unknown else column
    if getattr(array, "dtype", None) == object:
        first = next((item for item in array if not values.is_missing(item)), None)
        if first is not None and family(type(first)) == "shapely":
            return ("geometry", array, "") if use_shapely() else _wkb(array, "")
        if first is not None and format_name in _TEXT_ONLY and not isinstance(first, bytes):
            return ("json", _native.json_values(array, values.is_missing, values.plain))
    try:
        converted = pyarrow.array(array, from_pandas=True)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        why = f"column '{name}' cannot be written as {format_name}: {str(error).splitlines()[0]}"
        if format_name in _TEXT_ONLY:
            raise NotSerialisable(why) from None
        raise ColumnUnsuited(why) from None
    return _stored(converted, format_name)


def _stored(array: Any, format_name: str) -> Any:
    """Extension values (periods, intervals) as text where the format has no such type."""
    import pyarrow

    if not isinstance(array.type, pyarrow.BaseExtensionType) or format_name not in _TEXT_ONLY:
        return array
    texts = [None if values.is_missing(item) else str(item) for item in array.to_pandas()]
    return pyarrow.array(texts, type=pyarrow.large_string())


def _wkb(array: Any, crs: str) -> Any:
    import pyarrow
    import shapely

    return ("wkb", pyarrow.array(shapely.to_wkb(array, flavor="iso"), type=pyarrow.binary()), crs)


# --- Arrow tables -------------------------------------------------------------------------------------------------------


def _arrow_frame(table: Any) -> Any:
    geometry = _geo_columns(table)
    try:
        if not geometry:
            return _native.frame_from_arrow(table)
        primary, systems = geometry
        names = list(table.schema.names)
        columns = [
            ("wkb", table.column(at), systems[name]) if name in systems else table.column(at) for at, name in enumerate(names)
        ]
        return _native.make_frame(names, columns, names.index(primary), table.num_rows)
    except _native.EncodeError as error:
        raise _translated(error, "arrow") from None


def _geo_columns(table: Any) -> tuple[str, dict[str, str]] | None:
    """The geometry columns that a pyarrow table declares: GeoParquet's ``geo`` or GeoArrow's WKB extension."""
    import json

    schema = getattr(table, "schema", None)
    if schema is None or not hasattr(schema, "names") or not hasattr(schema, "metadata") or not hasattr(table, "column"):
        return None
    geo = (schema.metadata or {}).get(b"geo")
    if geo:
        described = json.loads(geo)
        found = {
            name: json.dumps(column["crs"]) if column.get("crs") else ""
            for name, column in described.get("columns", {}).items()
            if name in schema.names and column.get("encoding") == "WKB"
        }
        primary = described.get("primary_column")
        if found:
            return (primary if primary in found else next(iter(found))), found
    found = {}
    for at, name in enumerate(schema.names):
        marks = schema.field(at).metadata or {}
        if marks.get(b"ARROW:extension:name") in (b"geoarrow.wkb", b"ogc.wkb"):
            crs = json.loads(marks.get(b"ARROW:extension:metadata") or b"{}").get("crs")
            found[name] = json.dumps(crs) if isinstance(crs, dict) else ""
    return (next(iter(found)), found) if found else None


# --- geometry -----------------------------------------------------------------------------------------------------------


def crs_text(crs: Any) -> str:
    """PROJJSON of a pyproj CRS, or ""."""
    if crs is None:
        return ""
    use_shapely()
    text = _crs_texts.get(id(crs))
    if text is None or text[0] is not crs:
        if len(_crs_texts) > 64:
            _crs_texts.clear()
        text = (crs, crs.to_json())  # keeping the object keeps its id from being used again
        _crs_texts[id(crs)] = text
    return text[1]


_crs_texts: dict[int, tuple[Any, str]] = {}
_shapely: bool | None = None


def use_shapely() -> bool:
    """Lets the native side read geometries where they lie; once a process. False: they go through WKB objects."""
    global _shapely
    if _shapely is None:
        import shapely

        point = shapely.Point(1, 2)
        _shapely = _native.use_shapely(
            shapely.lib.__file__, getattr(shapely.lib, "_C_API", None), point, shapely.to_wkb(point, byte_order=1)
        )
    return _shapely


def in_degrees(table: Any, name: str) -> Any:
    """The table with its geometry in EPSG:4326, where longitude and latitude are what the format wants."""
    use_shapely()
    if not hasattr(table, "_mgr"):
        return _arrow_in_degrees(table)
    active = active_geometry(table)
    if active is None or active not in table.columns:
        return _with_found_geometry(table, name)
    crs = table[active].crs
    return table if crs is None or _is_degrees(crs) else table.to_crs(4326)


def _with_found_geometry(table: Any, name: str) -> Any:
    """A plain DataFrame whose object column holds shapely geometries counts as one with geometry in degrees."""
    for label in table.columns:
        column = table[label]
        if type(column.array).__name__ == "GeometryArray":
            return in_degrees(_geopandas().GeoDataFrame(table, geometry=label), name)
        if getattr(column, "dtype", None) == object:
            first = next((item for item in column if not values.is_missing(item)), None)
            if first is not None and family(type(first)) == "shapely":
                return _geopandas().GeoDataFrame(table, geometry=label, crs=4326)
    raise Unsuited(f"{name} needs a geometry column and this table has none")


def _arrow_in_degrees(table: Any) -> Any:
    found = _geo_columns(table)
    if not found:
        raise Unsuited("the table has no geometry column (neither 'geo' metadata nor a geoarrow.wkb field)")
    primary, systems = found
    if not systems[primary]:
        return table
    import pyproj

    if _is_degrees(pyproj.CRS.from_json(systems[primary])):
        return table
    import pyarrow
    import shapely

    at = table.schema.names.index(primary)
    geometry = _geopandas().GeoSeries(shapely.from_wkb(table.column(at).to_numpy(zero_copy_only=False)), crs=systems[primary])
    moved = pyarrow.chunked_array([pyarrow.array(shapely.to_wkb(geometry.to_crs(4326).array), type=pyarrow.binary())])
    return table.set_column(at, table.schema.field(at).with_type(pyarrow.binary()), moved)


def _is_degrees(crs: Any) -> bool:
    known = _degrees.get(id(crs))
    if known is None or known[0] is not crs:
        if len(_degrees) > 64:
            _degrees.clear()
        known = (crs, crs.equals("EPSG:4326", ignore_axis_order=True) or crs.equals("OGC:CRS84", ignore_axis_order=True))
        _degrees[id(crs)] = known
    return known[1]


_degrees: dict[int, tuple[Any, bool]] = {}
