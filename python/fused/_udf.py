"""``@fused.udf``: makes a function one that can be run elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, cast, overload

from fused._duration import format_duration, parse_duration
from fused._inside import is_loaded_code
from fused._limits import check_limits, check_on_timeout
from fused._source import Snapshot, check_function
from fused.errors import SourceError
from fused.models.header import Header, read_headers
from fused.models.schema import Schema
from fused.models.udf import Udf

KNOWN = (
    "fn, schema, name, cache_max_age, default_parameters, headers, engine, instance_type, disk_size_gb, region, "
    "parameters, limits, on_timeout, stale_while_revalidate, cache_errors"
)
NAME_LENGTH_MAX = 200
CACHE_ERRORS_SECONDS_MAX = 3600  # as the server's kCacheErrorsSecondsMax


Given = ParamSpec("Given")


class _Decorator(Protocol[Given]):
    """What type checkers see of ``udf``: bare it gives a ``Udf``, with keywords (its own) a decorator."""

    @overload
    def __call__(self, fn: Callable[..., Any], /) -> Udf: ...

    @overload
    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Callable[[Callable[..., Any]], Udf]: ...


def _bare_or_called(function: Callable[Given, Any]) -> _Decorator[Given]:
    return cast("_Decorator[Given]", function)


@_bare_or_called
def udf(
    fn: Callable[..., Any] | None = None,
    schema: Schema | dict[str, Any] | str | None = None,
    name: str | None = None,
    cache_max_age: str | int | None = None,
    default_parameters: dict[str, Any] | None = None,
    headers: Sequence[str | Path | Header] | None = None,
    *,
    engine: str | None = None,
    instance_type: str | None = None,
    disk_size_gb: int | None = None,
    region: str | None = None,
    parameters: dict[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
    on_timeout: str | None = None,
    stale_while_revalidate: str | int | None = None,
    cache_errors: str | int | None = None,
    **unknown: Any,
) -> Udf | Callable[[Callable[..., Any]], Udf]:
    """Makes a function a UDF, as ``@fused.udf`` or ``@fused.udf(...)``.

    Serves seed 000, "A decorator that transforms a function into a Fused UDF".

    ``schema``: columns of the table it returns, as ``"id:int64 label:string"``, JSON text, a dictionary or a
    ``Schema``; checked here and kept in ``.table_schema``.
    ``name``: defaults to the function's name.
    ``cache_max_age``: how old a stored result may be, ``"48h"``, ``"10s"``; default ``"90d"`` on the server; ``"0s"``:
    none.
    ``default_parameters``: values beneath those of a call (``parameters`` is its newer name).
    ``headers``: files that become modules: with ``headers=["my_header.py"]`` the function may ``import my_header``.
    ``engine``, ``instance_type``, ``disk_size_gb``, ``region``: kept and sent; ``engine`` is the default of
    ``fused.run``.
    ``limits``: less than the server allows a run, as ``{"wall_seconds": 10, "memory_bytes": 2**30}``; what is above
    the server's own limits is lowered to them and said in the run's metadata.
    ``on_timeout="job"``: a run that reaches its wall limit goes on as a job, where its caller takes a job for an
    answer; ``"error"``, the default: it ends.
    ``stale_while_revalidate``: a tile whose stored result is older than ``cache_max_age`` by no more than this is
    answered with it, and made anew behind the answer.
    ``cache_errors``: how long the same error is answered again without running, ``"10s"``, at most an hour; default:
    not at all.

    Raises ``TypeError`` for an unknown keyword or something that is no function, ``ValueError`` for a value that
    cannot be read, ``SourceError`` (a ``ValueError``) for lambdas, closures, methods and missing header files. In a
    worker and in loaded code unknown keywords are accepted: it may be written for another version.
    """
    if unknown and not is_loaded_code():
        raise TypeError(f"fused.udf has no keyword {', '.join(map(repr, unknown))}; it has {KNOWN}")
    if default_parameters is not None and parameters is not None:
        raise ValueError("default_parameters and parameters are two names of one thing: give one")
    stored = default_parameters if default_parameters is not None else parameters
    if stored is not None and (not isinstance(stored, Mapping) or not all(isinstance(key, str) for key in stored)):
        raise TypeError(f"default_parameters is a dictionary with names as keys, not {stored!r}")
    if fn is not None and isinstance(fn, str):
        raise TypeError(f"fused.udf is used as a decorator; to give it a name write @fused.udf(name={fn!r})")
    kept = {
        "parameters": stored,
        "cache_max_age": None if cache_max_age is None else parse_duration(cache_max_age),
        "table_schema": None if schema is None else Schema.parse(schema),
        "engine": engine,
        "instance_type": instance_type,
        "disk_size_gb": disk_size_gb,
        "region": region,
        "limits": None if limits is None else check_limits(limits),
        "on_timeout": check_on_timeout(on_timeout),
    }
    if name is not None:
        check_name(name)
    caching = {
        word: None if value is None else parse_duration(value, word)
        for word, value in (("stale_while_revalidate", stale_while_revalidate), ("cache_errors", cache_errors))
    }
    if (caching["cache_errors"] or 0) > CACHE_ERRORS_SECONDS_MAX:
        raise ValueError(f"cache_errors={cache_errors!r} is more than {CACHE_ERRORS_SECONDS_MAX} seconds")
    stated = _literals({**kept, "name": name, "default_parameters": stored}) | {
        word: format_duration(age) for word, age in caching.items() if age is not None
    }

    def decorate(function: Callable[..., Any]) -> Udf:
        plain = function.fn if isinstance(function, Udf) else function
        checked = check_function(plain)
        return Udf(
            name or checked.__name__,
            fn=checked,
            source=Snapshot(checked, stated),
            headers=_headers(headers, checked.__code__.co_filename),
            **kept,  # type: ignore[arg-type]
        )

    return decorate if fn is None else decorate(fn)


udf.__module__ = "fused"  # `from fused import udf` is what a sent function's text says


def check_name(name: str) -> str:
    """A name that can stand in a URL and a folder; ``ValueError`` otherwise."""
    wrong = not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH_MAX
    if wrong or "/" in name or name in (".", "..") or any(ord(letter) < 32 for letter in name):
        raise ValueError(
            f"{name!r} cannot be a UDF's name: 1 to {NAME_LENGTH_MAX} characters, no '/', no control characters"
        )
    return name


def _literals(kept: dict[str, Any]) -> dict[str, Any]:
    """What the decorator was given, in the words of a decorator, as far as it can be written down."""
    age, schema, stored = kept["cache_max_age"], kept["table_schema"], kept["default_parameters"]
    stated = {
        "schema": None if schema is None else str(schema),
        "name": kept["name"],
        "cache_max_age": None if age is None else format_duration(age),
        "default_parameters": stored,
        "parameters": stored,
        **{word: kept[word] for word in ("engine", "instance_type", "disk_size_gb", "region", "limits", "on_timeout")},
    }
    return {word: value for word, value in stated.items() if value is not None and _is_literal(value)}


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def _headers(headers: Sequence[str | Path | Header] | None, filename: str) -> list[Header]:
    try:
        return read_headers(headers, None if filename.startswith("<") else filename)
    except SourceError:
        if not is_loaded_code():
            raise
        return []  # their text came with the run; the files are where the function was written
