"""What an annotation asks for: a reader from text or JSON value to its type. Heavy packages come when one is met."""

from __future__ import annotations

import collections.abc as abc
import datetime as dt
import enum
import inspect
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from . import _places
from ._readers import PLAIN, Unreadable, by_class, read_json
from .types import Place, TileXYZ

_MANY = (list, tuple, set, frozenset)
_ABSTRACT: dict[Any, type] = {
    abc.Iterable: list, abc.Sequence: list, abc.MutableSequence: list, abc.Collection: list, abc.Set: set,
    abc.MutableSet: set, abc.Mapping: dict, abc.MutableMapping: dict,
}  # fmt: skip
_UNION = (typing.Union, types.UnionType)


class Reader(NamedTuple):
    """How values of one annotation are read; ``read`` is None where they pass as they are."""

    read: Callable[[Any], Any] | None
    name: str
    is_many: bool = False
    is_place: bool = False
    from_tile: Callable[[int, int, int], Any] | None = None


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
    if kind in PLAIN:
        return Reader(PLAIN[kind], name_of(kind), from_tile=_places.text_of_tile if kind is str else None)
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
        read = by_class(base.__module__, base.__name__)
        if read is not None:
            from_tile = _places.frame_of_tile if root == "geopandas" and base.__name__ == "GeoDataFrame" else None
            return Reader(read, name_of(kind), from_tile=from_tile)
    validate = getattr(kind, "model_validate", None)  # pydantic
    if callable(validate):
        return Reader(lambda value: validate(read_json(value)), name_of(kind))
    return Reader(None, name_of(kind))


def _place(kind: str) -> Reader:
    bare, from_tile = _places.READERS[kind]
    wanted = "four numbers west,south,east,north as 4.7,52.2,5.1,52.5, GeoJSON or WKT"

    def read(value: Any) -> Any:
        try:
            return bare(value)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Unreadable(f"write {wanted}, or [x, y, z]" if "Tile" in kind else f"write {wanted}") from None

    return Reader(read, f"fused.types.{kind}", is_many=kind == "Bounds", is_place=True, from_tile=from_tile)


def _type_variable(variable: typing.TypeVar) -> Reader:
    if variable.__name__ in _places.READERS:
        return _place(variable.__name__)
    return reader_of(variable.__bound__) if variable.__bound__ is not None else UNTOUCHED


def _many(kind: type, inner: tuple[Any, ...], name: str) -> Reader:
    fixed = kind is tuple and inner and inner[-1] is not ...
    readers = [reader_of(part).read for part in inner if part is not ...]

    def read(value: Any) -> Any:
        try:
            values = read_json(value)
        except Unreadable as error:
            raise Unreadable(f'{error}; write a JSON list, as ["a", "b"] or [1, 2]') from None
        if not isinstance(values, list | tuple | set | frozenset):
            raise Unreadable('it is no JSON list, as ["a", "b"] or [1, 2]')
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
