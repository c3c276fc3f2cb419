"""What an annotation asks for: a reader from text or JSON value to its type. Heavy packages come when one is met."""

from __future__ import annotations

import collections.abc as abc
import datetime as dt
import decimal
import enum
import inspect
import json
import pathlib
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _places
from .types import Place, TileXYZ

_MANY = (list, tuple, set, frozenset)
_ABSTRACT: dict[Any, type] = {
    abc.Iterable: list, abc.Sequence: list, abc.MutableSequence: list, abc.Collection: list, abc.Set: set,
    abc.MutableSet: set, abc.Mapping: dict, abc.MutableMapping: dict,
}  # fmt: skip
_UNION = (typing.Union, types.UnionType)


class Unreadable(Exception):
    """A value is not what the annotation asks for; the text may say more."""


class Reader(NamedTuple):
    """How values of one annotation are read; ``read`` is None where they pass as they are."""

    read: Callable[[Any], Any] | None
    name: str
    is_many: bool = False
    is_place: bool = False
    from_tile: Callable[[int, int, int], Any] | None = None


# --- text and numbers -----------------------------------------------------------------------------------------------


def read_str(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)


def read_int(value: Any) -> int:
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
    if type(value) is str and "_" in value:
        raise Unreadable("digits only")
    return float(value)


def read_bool(value: Any) -> bool:
    if type(value) is str:
        return value.lower() != "false" and value != ""
    return bool(value)


def read_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def read_complex(value: Any) -> complex:
    return complex(value)


def read_json(value: Any) -> Any:
    """The value of a JSON text; what is no text is one already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Unreadable(f"no JSON ({error})") from None
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


def read_timestamp(value: Any) -> Any:
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
    import pandas

    value = read_json(value)
    if not isinstance(value, list | dict):
        raise Unreadable("a list or a dict")
    return pandas.Series(value)


def read_array(value: Any) -> Any:
    import numpy

    value = read_json(value)
    if not isinstance(value, list | int | float):
        raise Unreadable("a list of numbers")
    return numpy.array(value)


def _by_class(module: str, name: str) -> Callable[[Any], Any] | None:
    """Readers of classes that are known without importing their package."""
    root = module.partition(".")[0]
    if root == "pandas":
        return {
            "DataFrame": read_dataframe, "Series": read_series, "Timestamp": read_timestamp,
            "Timedelta": read_timedelta,
        }.get(name)  # fmt: skip
    if root == "geopandas":
        return {"GeoDataFrame": _places.to_frame, "GeoSeries": _places.to_geoseries}.get(name)
    if root == "numpy" and name == "ndarray":
        return read_array
    return None


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: read_str, int: read_int, float: read_float, bool: read_bool, bytes: read_bytes, complex: read_complex,
    uuid.UUID: lambda value: uuid.UUID(value), decimal.Decimal: lambda value: decimal.Decimal(str(value)),
    dt.datetime: read_datetime, dt.date: read_date, dt.time: read_time, dt.timedelta: read_timedelta,
    pathlib.Path: lambda value: pathlib.Path(value), pathlib.PurePath: lambda value: pathlib.Path(value),
}  # fmt: skip


# --- annotations ----------------------------------------------------------------------------------------------------

UNTOUCHED = Reader(None, "any value", from_tile=_places.frame_of_tile)


def name_of(annotation: Any) -> str:
    """An annotation as people write it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        module = annotation.__module__
        plain = module in ("builtins", "uuid", "datetime", "decimal", "pathlib", "enum") or module.startswith(
            "fused_udf_"
        )
        return annotation.__qualname__ if plain else f"{module.partition('.')[0]}.{annotation.__qualname__}"
    return re.sub(r"\b(typing|collections\.abc|fused_udf_\w+)\.", "", str(annotation))


def reader_of(annotation: Any) -> Reader:
    """The reader for an annotation; what nobody knows passes as it is."""
    if annotation in (inspect.Parameter.empty, Any, object) or isinstance(annotation, str):
        return UNTOUCHED
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        mark = next((mark for mark in annotation.__metadata__ if isinstance(mark, Place)), None)
        return _place(mark.kind) if mark else reader_of(annotation.__origin__)
    if origin in _UNION:
        return _union(typing.get_args(annotation))
    if origin is typing.Literal:
        return _literal(typing.get_args(annotation))
    if isinstance(annotation, typing.NewType):
        return reader_of(annotation.__supertype__)
    if isinstance(annotation, typing.TypeVar):
        return _type_variable(annotation)
    if annotation is None or annotation is type(None):
        return Reader(_read_none, "None")
    kind = _ABSTRACT.get(origin or annotation, origin or annotation)
    if kind in _MANY:
        return _many(kind, typing.get_args(annotation), name_of(annotation))
    if kind is dict:
        return _mapping(typing.get_args(annotation), name_of(annotation))
    return _class(kind) if isinstance(kind, type) else UNTOUCHED


def _class(kind: type) -> Reader:
    if kind in _PLAIN:
        return Reader(_PLAIN[kind], name_of(kind), from_tile=_places.text_of_tile if kind is str else None)
    if kind is TileXYZ:
        return _place("TileXYZ")
    if issubclass(kind, enum.Enum):
        return Reader(
            lambda value: _read_enum(kind, value), f"{kind.__name__} ({', '.join(map(str, kind.__members__))})"
        )
    if issubclass(kind, dict):  # TypedDict
        return Reader(_read_dict, name_of(kind))
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        if root == "shapely":
            return Reader(lambda value: _places.to_geometry(value, kind), name_of(kind), from_tile=_places.box_of_tile)
        read = _by_class(base.__module__, base.__name__)
        if read is not None:
            from_tile = _places.frame_of_tile if root == "geopandas" and base.__name__ == "GeoDataFrame" else None
            return Reader(read, name_of(kind), from_tile=from_tile)
    validate = getattr(kind, "model_validate", None)  # pydantic
    if callable(validate):
        return Reader(lambda value: validate(read_json(value)), name_of(kind))
    return Reader(None, name_of(kind))


def _place(kind: str) -> Reader:
    read, from_tile = _places.READERS[kind]
    return Reader(read, f"fused.types.{kind}", is_many=kind == "Bounds", is_place=True, from_tile=from_tile)


def _type_variable(variable: typing.TypeVar) -> Reader:
    if variable.__name__ in _places.READERS:
        return _place(variable.__name__)
    return reader_of(variable.__bound__) if variable.__bound__ is not None else UNTOUCHED


def _many(kind: type, inner: tuple[Any, ...], name: str) -> Reader:
    fixed = kind is tuple and inner and inner[-1] is not ...
    readers = [reader_of(part).read for part in inner if part is not ...]

    def read(value: Any) -> Any:
        values = read_json(value)
        if not isinstance(values, list | tuple | set | frozenset):
            raise Unreadable("a JSON list")
        if fixed:
            if len(values) != len(readers):
                raise Unreadable(f"{len(values)} values where {len(readers)} are asked for")
            return tuple(
                item if each is None or item is None else each(item) for each, item in zip(readers, values, strict=True)
            )
        each = readers[0] if readers else None
        return kind(values) if each is None else kind([item if item is None else each(item) for item in values])

    from_tile = _places.list_of_tile if kind in (list, tuple) else None
    return Reader(read, name, is_many=True, from_tile=from_tile)


def _mapping(inner: tuple[Any, ...], name: str) -> Reader:
    readers = [reader_of(part).read for part in inner] if len(inner) == 2 else [None, None]

    def read(value: Any) -> Any:
        values = _read_dict(value)
        for at, each in enumerate(readers):
            if each is not None:
                values = {
                    (key if at else each(key)): (each(item) if at and item is not None else item)
                    for key, item in values.items()
                }
        return values

    return Reader(read, name)


def _read_dict(value: Any) -> dict[Any, Any]:
    value = read_json(value)
    if not isinstance(value, dict):
        raise Unreadable("a JSON object")
    return value


def _read_none(value: Any) -> None:
    if value not in ("", "null", "None", None):
        raise Unreadable


def _read_enum(kind: type[enum.Enum], value: Any) -> enum.Enum:
    for member in kind:
        try:
            read = reader_of(type(member.value)).read
            if member.value == (value if read is None else read(value)):
                return member
        except (Unreadable, ValueError, TypeError):
            continue
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    raise Unreadable(f"one of {', '.join(repr(member.value) for member in kind)}")


def _literal(choices: tuple[Any, ...]) -> Reader:
    readers = [(choice, reader_of(type(choice)).read) for choice in choices]

    def read(value: Any) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        for choice, each in readers:
            try:
                if choice == (value if each is None else each(value)) and not (
                    isinstance(choice, bool) and value in (0, 1)
                ):
                    return choice
            except (Unreadable, ValueError, TypeError):
                continue
        raise Unreadable(f"one of {', '.join(map(repr, choices))}")

    return Reader(read, f"Literal[{', '.join(map(repr, choices))}]")


def _union(choices: tuple[Any, ...]) -> Reader:
    inner = [choice for choice in choices if choice is not type(None)]
    optional = len(inner) < len(choices)
    readers = [reader_of(choice) for choice in inner]
    name = " | ".join(reader.name for reader in readers)
    takes_text = any(choice is str or reader.read is None for choice, reader in zip(inner, readers, strict=True))
    nothing = ("", "null", "none") if optional and not takes_text else ()

    def read(value: Any) -> Any:
        if isinstance(value, str) and nothing and value.lower() in nothing:
            return None
        if any(type(value) is choice for choice in inner) and not (isinstance(value, str) and len(inner) > 1):
            return value
        whys = []
        for reader in readers:
            if reader.read is None:
                return value
            try:
                return reader.read(value)
            except (Unreadable, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
                whys.append(str(error) if isinstance(error, Unreadable) else "")
        raise Unreadable("; ".join(why for why in whys if why))

    tile = next((reader for reader in readers if reader.from_tile is not None), None)
    return Reader(
        readers[0].read if len(readers) == 1 and not nothing else read,
        f"{name} | None" if optional else name,
        is_many=any(reader.is_many for reader in readers),
        is_place=any(reader.is_place for reader in readers),
        from_tile=tile.from_tile if tile else None,
    )


# --- annotations that are text --------------------------------------------------------------------------------------


class Resolver:
    """Annotations of one function; text (``"gpd.GeoDataFrame"``, or all under ``from __future__``) becomes the type."""

    def __init__(self, function: Callable[..., Any]) -> None:
        wrapped = inspect.unwrap(function)
        self._globals: dict[str, Any] = getattr(wrapped, "__globals__", {})

    def __call__(self, annotation: Any) -> Any:
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if not isinstance(annotation, str):
            return annotation
        try:
            # The text stands in the function's own source, which was executed with the same rights.
            found = eval(annotation, self._globals, _Fallback(self._globals))
        except Exception:
            return _by_name(annotation)
        return self(found) if isinstance(found, str) and found != annotation else found


class _Fallback(dict[str, Any]):
    """Names of an annotation that its module did not import (under ``TYPE_CHECKING``): typing's, and the usual ones."""

    def __init__(self, known: dict[str, Any]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if hasattr(typing, name):
            return getattr(typing, name)
        raise KeyError(name)


def _by_name(annotation: str) -> Any:
    """The type that a name means that cannot be looked up, by its last part."""
    last = annotation.strip().rpartition(".")[2]
    if last in _places.READERS:
        from . import types as places

        return getattr(places, last)
    if last in ("DataFrame", "Series", "Timestamp", "Timedelta"):
        import pandas

        return getattr(pandas, last)
    if last in ("GeoDataFrame", "GeoSeries"):
        import geopandas

        return getattr(geopandas, last)
    if last in ("Polygon", "Point", "LineString", "MultiPolygon", "MultiPoint", "MultiLineString", "BaseGeometry"):
        import shapely.geometry.base

        return getattr(sys.modules["shapely.geometry"], last, None) or shapely.geometry.base.BaseGeometry
    known = {"UUID": uuid.UUID, "datetime": dt.datetime, "date": dt.date, "time": dt.time, "timedelta": dt.timedelta}
    return known.get(last, Any)
