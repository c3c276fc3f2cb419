"""Tables → native frames: every column in a shape that ``core/native/columns.hpp`` reads."""

from __future__ import annotations

from typing import Any

from ... import _native
from . import geometry, pandas_metadata, values
from .base import ColumnUnsuited, NotSerialisable, Request, ResultTooLarge, Unsuited, type_name
from .families import family

_TEXT_ONLY = frozenset({"json", "csv", "geojson", "mvt", "xml"})  # object columns may hold anything there


class Columns:
    """A table taken apart: names and values as the native side reads them, with what a format may still ask of it."""

    __slots__ = ("frame_object", "geometry", "names", "pandas", "rows", "values")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: list[Any] = []
        self.rows = 0
        self.geometry = -1
        self.pandas: Any = None  # the DataFrame, for its metadata


def make_frame(table: Any, name: str, request: Request) -> tuple[Any, str]:
    """The native frame, and the pandas metadata where the format keeps it."""
    if not hasattr(table, "_mgr"):
        return _arrow_frame(table), ""
    columns, described = _pandas_columns(table, keeps_index=name in ("parquet", "feather"))
    try:
        return _native_frame(columns, name), described
    except _native.EncodeError as error:
        raise translated(error, name) from None


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


def _pandas_columns(table: Any, keeps_index: bool) -> tuple[Columns, str]:
    columns = Columns()
    columns.rows = len(table.index)
    manager = table._mgr
    columns.names = names = _labels(table.columns)
    columns.values = [_source(manager.iget_values(at)) for at in range(len(names))]
    active = geometry.active_geometry(table)
    if active is not None and active in names:
        columns.geometry = names.index(active)
    described = _add_index(columns, table, keeps_index)
    if len(set(columns.names)) != len(columns.names):
        twice = next(label for label in columns.names if columns.names.count(label) > 1)
        raise NotSerialisable(f"the table has more than one column named '{twice}'; rename one")
    return columns, described


def _labels(index: Any) -> list[str]:
    array = index.array
    if type(array).__name__ == "ArrowStringArray" and not array._pa_array.null_count:
        texts: list[str] = array._pa_array.to_pylist()  # iterating over the index takes ten times as long
        return texts
    return [label if type(label) is str else str(label) for label in index]


def _add_index(columns: Columns, table: Any, keeps_index: bool) -> str:
    """Index levels as columns by the rule of docs/reference/formats.md; for files the metadata to get them back."""
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
    labels: list[tuple[Any, str, Any]] = [
        (label, label, dtype) for label, dtype in zip(columns.names, dtypes, strict=True)
    ]
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
        geometry.use_shapely()
        return ("geometry", array._data, geometry.crs_text(array.crs))
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
    if geometry.is_object(array):
        first = next((item for item in array if not values.is_missing(item)), None)
        if first is not None and family(type(first)) == "shapely":
            return ("geometry", array, "") if geometry.use_shapely() else _wkb(array, "")
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


def _arrow_frame(table: Any) -> Any:
    declared = geometry.declared_geometry(table)
    try:
        if not declared:
            return _native.frame_from_arrow(table)
        primary, systems = declared
        names = list(table.schema.names)
        columns = [
            ("wkb", table.column(at), systems[name]) if name in systems else table.column(at)
            for at, name in enumerate(names)
        ]
        return _native.make_frame(names, columns, names.index(primary), table.num_rows)
    except _native.EncodeError as error:
        raise translated(error, "arrow") from None


def translated(error: Any, name: str) -> Exception:
    kind, message = error.args
    if kind == "too_large":
        return ResultTooLarge(message)
    if kind == "not_acceptable":
        return Unsuited(message)
    return NotSerialisable(f"cannot write the table as {name}: {message}")
