"""From what a request carries to what a function's annotations ask for: one plan a function, made once.

Values come as text (a query string) or as JSON values (a body, ``parameters=``); both are read the same way, and None
passes through. A name that is given twice counts by its last value, unless its annotation is a list, tuple or set.
Names that the function does not have are dropped, unless it takes ``**kwargs``.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import _annotations
from ._annotations import Reader, reader_of
from ._readers import Unreadable

_SHOWN = 200  # characters of a value in a message


class InvalidParameter(ValueError):
    """A value cannot be read as its annotation; the message names parameter, value and type."""

    def __init__(self, name: str, value: Any, wanted: str, why: str = "") -> None:
        shown = value if isinstance(value, str) else _text(value)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}… ({len(shown)} characters)"
        super().__init__(f"parameter {name!r}: {shown!r} cannot be read as {wanted}" + (f": {why}" if why else ""))
        self.name = name
        self.wanted = wanted


class MissingParameter(InvalidParameter):
    """A parameter without default was not given."""

    def __init__(self, name: str, wanted: str) -> None:
        ValueError.__init__(self, f"parameter {name!r} ({wanted}) is required and was not given")
        self.name = name
        self.wanted = wanted


def _text(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


class Parameter:
    """One parameter of a function, as it is read."""

    __slots__ = (
        "annotation", "default", "fresh_default", "from_tile", "is_many", "is_place", "kind", "name", "read",
        "required", "wanted",
    )  # fmt: skip

    def __init__(self, parameter: inspect.Parameter, reader: Reader) -> None:
        self.name = parameter.name
        self.kind = parameter.kind
        self.annotation = parameter.annotation
        self.read: Callable[[Any], Any] | None = reader.read
        self.wanted = reader.name
        self.is_many = reader.is_many
        self.is_place = reader.is_place
        self.from_tile = reader.from_tile
        self.required = parameter.default is inspect.Parameter.empty
        self.default = None if self.required else parameter.default
        self.fresh_default = isinstance(self.default, (list, dict, set, bytearray))


class Binder:
    """How the parameters of one function are read."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.rest: Parameter | None = None  # **kwargs
        self.positional_only: list[str] = []
        resolve = _annotations.Resolver(function)
        for parameter in inspect.signature(function).parameters.values():
            made = Parameter(parameter, reader_of(resolve(parameter.annotation)))
            if parameter.kind is parameter.VAR_KEYWORD:
                self.rest = made
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                self.parameters[parameter.name] = made
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    self.positional_only.append(parameter.name)
        self._reads = {name: made.read for name, made in self.parameters.items()}
        self._required = [name for name, made in self.parameters.items() if made.required]
        self._fresh = [name for name, made in self.parameters.items() if made.fresh_default]
        self._tile_plan = _TilePlan(self.parameters)
        # `bbox` is the older name of `bounds`: a caller may use either, where the function has the other.
        self._alias = next(
            (
                (given, own)
                for given, own in (("bbox", "bounds"), ("bounds", "bbox"))
                if own in self.parameters and given not in self.parameters and self.rest is None
            ),
            None,
        )

    def bind(
        self,
        query: Iterable[tuple[str, str]] = (),
        typed: Mapping[str, Any] | None = None,
        beneath: Mapping[str, Any] | None = None,
        tile: tuple[int, int, int] | None = None,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for one call.

        ``typed`` wins over ``query``, both over ``beneath`` (the defaults that were saved with the function);
        ``tile`` is ``(z, x, y)``. InvalidParameter where a value cannot be read.
        """
        given: dict[str, Any] = dict(beneath) if beneath else {}
        if query:
            pairs = query if isinstance(query, list) else list(query)
            texts: dict[str, Any] = dict(pairs)
            if len(texts) != len(pairs):
                self._gather(pairs, texts)
            given.update(texts)
        if typed:
            given.update(typed)
        if self._alias and self._alias[0] in given:
            given.setdefault(self._alias[1], given.pop(self._alias[0]))
        reads = self._reads
        arguments: dict[str, Any] = {}
        for name, value in given.items():
            read = reads.get(name, self)
            if read is None or (value is None and read is not self):
                arguments[name] = value
            elif read is not self:
                try:
                    arguments[name] = read(value)  # type: ignore[operator]
                except (
                    Unreadable,
                    ValueError,
                    TypeError,
                    OverflowError,
                    ArithmeticError,
                    LookupError,
                    AttributeError,
                ) as error:
                    if isinstance(value, str | int | float | list | tuple | dict):
                        raise self._invalid(self.parameters[name], value, error) from None
                    arguments[name] = value  # an object of Python's: no request holds one, so it is the caller's own
            elif self.rest is not None:
                arguments[name] = self._read_rest(name, value)
        if tile is not None:
            self._tile_plan.fill(arguments, tile)
        for name in self._required:
            if name not in arguments:
                raise MissingParameter(name, self.parameters[name].wanted)
        for name in self._fresh:
            if name not in arguments:
                arguments[name] = copy.deepcopy(self.parameters[name].default)
        if self.positional_only:
            return self._split(arguments), arguments
        return [], arguments

    def _gather(self, pairs: list[tuple[str, str]], texts: dict[str, Any]) -> None:
        many: dict[str, list[str]] = {}
        for name, text in pairs:
            many.setdefault(name, []).append(text)
        for name, values in many.items():
            parameter = self.parameters.get(name, self.rest)
            if len(values) > 1 and parameter is not None and parameter.is_many:
                texts[name] = values

    def _read_rest(self, name: str, value: Any) -> Any:
        rest = self.rest
        assert rest is not None
        if rest.read is None or value is None:
            return value
        try:
            return rest.read(value)
        except (Unreadable, ValueError, TypeError, OverflowError, ArithmeticError, LookupError) as error:
            raise InvalidParameter(
                name, value, rest.wanted, str(error) if isinstance(error, Unreadable) else ""
            ) from None

    @staticmethod
    def _invalid(parameter: Parameter, value: Any, error: Exception) -> InvalidParameter:
        return InvalidParameter(
            parameter.name, value, parameter.wanted, str(error) if isinstance(error, Unreadable) else ""
        )

    def _split(self, arguments: dict[str, Any]) -> list[Any]:
        # Python takes these by position only, so those before the last that was given need their defaults spelled out.
        given = [name for name in self.positional_only if name in arguments]
        if not given:
            return []
        last = self.positional_only.index(given[-1])
        return [
            arguments.pop(name) if name in arguments else self.parameters[name].default
            for name in self.positional_only[: last + 1]
        ]


class _TilePlan:
    """Which parameter takes the box of a tile, and which take its numbers."""

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.target: Parameter | None = None
        self.numbers = [(name, parameters[name]) for name in ("x", "y", "z") if name in parameters]
        places = [made for made in parameters.values() if made.is_place]
        for made in (parameters.get("bounds"), parameters.get("bbox"), *places[:1], *list(parameters.values())[:1]):
            if made is not None and made.from_tile is not None and made.name not in ("x", "y", "z"):
                self.target = made
                break
        self.is_named = self.target is not None and (self.target.name in ("bounds", "bbox") or self.target.is_place)

    def fill(self, arguments: dict[str, Any], tile: tuple[int, int, int]) -> None:
        z, x, y = tile
        for name, parameter in self.numbers:
            number = {"x": x, "y": y, "z": z}[name]
            arguments[name] = number if parameter.read is None else parameter.read(number)
        target = self.target
        if target is None or target.from_tile is None:
            return
        # The first positional parameter is a guess: a value for it, or a default that is one, counts more.
        if self.is_named or (target.name not in arguments and target.default is None):
            arguments[target.name] = target.from_tile(z, x, y)


def plan(function: Callable[..., Any]) -> Binder:
    """How to call ``function`` with what a request carries."""
    return Binder(function)
