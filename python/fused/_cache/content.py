"""Any value becomes bytes that are equal exactly when the values are: the arguments' part of a key.

Each part starts with a tag and a length, so that no two values run into each other. Containers keep their order
(a function may depend on it), sets have none. Types that are not listed are taken apart as ``pickle`` would do it; what
pickle refuses (generators, open files, locks, connections) is ``Unhashable``.
"""

from __future__ import annotations

import enum
import functools
import os
import struct
import sys
import types
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from pathlib import PurePath
from typing import Any

from blake3 import blake3

from fused._cache.errors import Unhashable

DEPTH_MAX = 100
_INLINE_MAX = 1 << 16

Encoder = Callable[[Any, "Parts", int], None]
_exact: dict[type, Encoder] = {}


class Parts:
    """The bytes of a key so far; large buffers are not copied."""

    __slots__ = ("_hash", "small", "with_files")

    def __init__(self, key: bytes | None = None, with_files: bool = False) -> None:
        self._hash = blake3() if key is None else blake3(key=key)
        self.small = bytearray()
        self.with_files = with_files

    def text(self, tag: bytes, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self.small += tag + len(data).to_bytes(8, "little") + data

    def data(self, tag: bytes, data: Any) -> None:
        length = len(data) if isinstance(data, bytes) else data.nbytes
        self.small += tag + length.to_bytes(8, "little")
        if length > _INLINE_MAX:
            self._hash.update(self.small)
            self._hash.update(data)
            self.small = bytearray()
        else:
            self.small += data

    def count(self, tag: bytes, count: int) -> None:
        self.small += tag + count.to_bytes(8, "little")

    def digest(self) -> bytes:
        self._hash.update(self.small)
        self.small = bytearray()
        return self._hash.digest()


def encode(value: Any, out: Parts, depth: int = 0) -> None:
    """Appends ``value``; ``Unhashable`` says what in it cannot be."""
    found = _exact.get(type(value))
    if found is not None:
        found(value, out, depth)
        return
    if depth > DEPTH_MAX:
        raise Unhashable(f"it is nested more than {DEPTH_MAX} deep, or contains itself")
    _encode_other(value, out, depth)


def digest_of(value: Any) -> bytes:
    out = Parts()
    encode(value, out)
    return out.digest()


def type_name(of: type) -> str:
    return f"{of.__module__}.{of.__qualname__}"


def _sequence(tag: bytes) -> Encoder:
    def encode_sequence(value: Any, out: Parts, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Unhashable(f"it is nested more than {DEPTH_MAX} deep, or contains itself")
        out.count(tag, len(value))
        for item in value:
            encode(item, out, depth + 1)

    return encode_sequence


def _mapping(value: Any, out: Parts, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise Unhashable(f"it is nested more than {DEPTH_MAX} deep, or contains itself")
    out.count(b"d", len(value))
    for key, item in value.items():
        encode(key, out, depth + 1)
        encode(item, out, depth + 1)


def _set(value: Any, out: Parts, depth: int) -> None:
    digests = []
    for item in value:
        inner = Parts(with_files=out.with_files)
        encode(item, inner, depth + 1)
        digests.append(inner.digest())
    out.data(b"e" if type(value) is set else b"E", b"".join(sorted(digests)))


def _moment(value: Any, out: Parts, depth: int) -> None:
    out.text(b"m", f"{type(value).__name__} {value.isoformat()} {value.fold if hasattr(value, 'fold') else 0}")
    if getattr(value, "tzinfo", None) is not None:
        encode(value.tzinfo, out, depth + 1)


def _code(value: types.CodeType, out: Parts, depth: int) -> None:
    from fused._cache.code import encode_code

    encode_code(value, out, depth)


def _function(value: Any, out: Parts, depth: int) -> None:
    from fused._cache.code import reach

    out.data(b"f", reach(value).digest())


def _class(value: type, out: Parts, depth: int) -> None:
    from fused._cache.code import class_digest

    out.text(b"C", type_name(value))
    out.data(b"c", class_digest(value))


def _method(value: types.MethodType, out: Parts, depth: int) -> None:
    encode(value.__func__, out, depth + 1)
    encode(value.__self__, out, depth + 1)


def _partial(value: functools.partial[Any], out: Parts, depth: int) -> None:
    out.small += b"p"
    encode((value.func, value.args, value.keywords), out, depth + 1)


def _builtin(value: Any, out: Parts, depth: int) -> None:
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType | type):
        raise Unhashable(f"it is the method {value.__name__!r} of a {type(owner).__name__}")
    out.text(b"b", f"{value.__module__}.{value.__qualname__}")


_exact.update({
    type(None): lambda value, out, depth: out.small.extend(b"N"),
    bool: lambda value, out, depth: out.small.extend(b"T" if value else b"F"),
    int: lambda value, out, depth: out.text(b"i", hex(value)),
    float: lambda value, out, depth: out.small.extend(b"g" + struct.pack("<d", value)),
    complex: lambda value, out, depth: out.small.extend(b"j" + struct.pack("<dd", value.real, value.imag)),
    str: lambda value, out, depth: out.text(b"s", value),
    bytes: lambda value, out, depth: out.data(b"y", value),
    bytearray: lambda value, out, depth: out.data(b"Y", bytes(value)),
    memoryview: lambda value, out, depth: out.data(b"v", value.tobytes()),
    tuple: _sequence(b"t"),
    list: _sequence(b"l"),
    dict: _mapping,
    set: _set,
    frozenset: _set,
    date: _moment,
    datetime: _moment,
    time: _moment,
    timedelta: lambda value, out, depth: out.text(b"D", f"{value.days} {value.seconds} {value.microseconds}"),
    range: lambda value, out, depth: out.text(b"r", repr(value)),
    slice: lambda value, out, depth: encode((b"slice", value.start, value.stop, value.step), out, depth + 1),
    type(...): lambda value, out, depth: out.small.extend(b"."),
    types.CodeType: _code,
    types.FunctionType: _function,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    functools.partial: _partial,
})  # fmt: skip


def _encode_other(value: Any, out: Parts, depth: int) -> None:
    kind = type(value)
    if isinstance(value, type):
        _class(value, out, depth)
    elif isinstance(value, enum.Enum):
        out.text(b"n", f"{type_name(kind)}.{value.name}")
        encode(value.value, out, depth + 1)
    elif isinstance(value, PurePath):
        _path(value, out)
    elif isinstance(value, tzinfo):
        out.text(b"z", f"{type_name(kind)} {value} {value.utcoffset(None)}")
    elif isinstance(value, types.ModuleType):
        out.text(b"M", value.__name__)
    else:
        if "numpy" in sys.modules:
            from fused._cache.content_arrays import encode_array

            if encode_array(value, out, depth):
                return
        if callable(getattr(value, "fn", None)) and hasattr(value, "entrypoint"):  # what @fused.udf makes
            out.text(b"U", f"{value.name}\0{value.entrypoint}\0{value.code}")
            encode([(header.module_name, header.source_code) for header in value.headers], out, depth + 1)
            encode(value.parameters, out, depth + 1)
            return
        _taken_apart(value, out, depth)


def _path(value: PurePath, out: Parts) -> None:
    out.text(b"P", str(value))
    if out.with_files:
        try:
            found = os.stat(value)
            out.text(b"@", f"{found.st_size} {found.st_mtime_ns}")
        except OSError:
            out.text(b"@", "")


def _taken_apart(value: Any, out: Parts, depth: int) -> None:
    """As pickle does: class, arguments of its making, state."""
    kind = type(value)
    if isinstance(value, types.GeneratorType | types.CoroutineType | types.AsyncGeneratorType):
        raise Unhashable(f"it is a {kind.__name__}, which can be read only once; pass a list")
    if isinstance(value, types.MappingProxyType):
        _mapping(value, out, depth)
        return
    if not hasattr(kind, "__reduce_ex__") or (hasattr(value, "__next__") and not hasattr(value, "__len__")):
        raise Unhashable(f"it is a {type_name(kind)}, which can be read only once; pass a list")
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as error:
        raise Unhashable(f"it is a {type_name(kind)}, which has no content to compare ({error})") from None
    _class(kind, out, depth)
    if isinstance(reduced, str):
        out.text(b"S", reduced)
        return
    made, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    out.text(b"R", getattr(made, "__qualname__", repr(type(made))))
    encode(tuple(arguments), out, depth + 1)
    encode(state, out, depth + 1)
    encode(None if items is None else list(items), out, depth + 1)
    encode(None if pairs is None else [tuple(pair) for pair in pairs], out, depth + 1)
