"""Values as bodies of entries and back: Arrow and npy for tables and arrays, JSON for plain values, else pickle.

What is read back is equal in type and content to what was stored, else the value goes to the next form. Large parts are
views of the mapped file (copy-on-write), so a caller may change what he gets.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

JSON, BYTES, NPY, ARROW, TABLE, PICKLE, FAILURE = 1, 2, 3, 4, 5, 6, 7
KIND_NAMES = {
    JSON: "json",
    BYTES: "bytes",
    NPY: "npy",
    ARROW: "arrow",
    TABLE: "table",
    PICKLE: "pickle",
    FAILURE: "failure",
}
COPIED_BYTES_MAX = 64 << 10
JSON_BYTES_MAX = 1 << 24
_ALIGNMENT = 64


class NotStorable(Exception):
    """The value cannot be kept; the message says why."""


@dataclass(slots=True)
class Body:
    """What goes into the file: ``parts`` are buffers, ``note`` what is needed to read them."""

    kind: int
    parts: Sequence[Any]
    note: dict[str, Any] = field(default_factory=dict)


def encode(value: Any) -> Body:
    """``NotStorable`` for generators, open files, connections and whatever else cannot be had twice."""
    if isinstance(value, types.GeneratorType | types.AsyncGeneratorType | types.CoroutineType):
        raise NotStorable(f"it is a {type(value).__name__}, which can be read only once; return a list")
    if type(value) in (bytes, bytearray):
        return Body(BYTES, [bytes(value)], {"type": type(value).__name__})
    if _is_plain(value, 0):
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
        if len(text) <= JSON_BYTES_MAX:
            return Body(JSON, [text])
    if "numpy" in sys.modules:
        body = _array(value)
        if body is not None:
            return body
    return _pickled(value)


def decode(kind: int, note: dict[str, Any], body: memoryview) -> Any:
    if kind == JSON:
        return json.loads(bytes(body))
    if kind == BYTES:
        return bytes(body) if note["type"] == "bytes" else bytearray(body)
    if kind == NPY:
        return _read_npy(body)
    if kind == ARROW:
        return _read_arrow(note, body)
    if kind == TABLE:
        from fused._cache.tables import read_table

        return read_table(note["table"], body)
    if kind in (PICKLE, FAILURE):
        return _unpickled(body)
    raise NotStorable(f"kind {kind} is of another version")


@functools.cache
def warm_up() -> None:
    """What a first table needs to be read, done by who waits anyway: many wait, and all of them wake at once."""
    pandas, geopandas = sys.modules.get("pandas"), sys.modules.get("geopandas")
    if pandas is None:
        return
    if "DataFrame" not in vars(pandas) or (geopandas is not None and "GeoDataFrame" not in vars(geopandas)):
        return  # another thread is importing them
    tables = [pandas.DataFrame({"number": [1.5], "text": ["a"]})]
    if geopandas is not None:
        tables.append(geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([0.0], [0.0]), crs=4326))
    for table in tables:
        body = encode(table)
        decode(body.kind, body.note, memoryview(bytearray(b"".join(map(bytes, body.parts)))))


_PLAIN = frozenset({type(None), bool, int, float, str})


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return kind is not int or -(1 << 2000) < value < 1 << 2000  # Python limits the digits of texts
    if depth > 50:
        return False
    if kind is list:
        return all(_is_plain(item, depth + 1) for item in value)
    return kind is dict and all(type(key) is str and _is_plain(item, depth + 1) for key, item in value.items())


def _array(value: Any) -> Body | None:
    import numpy

    if type(value) is numpy.ndarray and not value.dtype.hasobject and value.dtype.names is None:
        return _write_npy(value)
    if "pyarrow" not in sys.modules and "pandas" not in sys.modules:
        return None
    root = type(value).__module__.partition(".")[0]
    if root in ("pandas", "geopandas"):
        from fused._cache.tables import write_table

        found = write_table(value)
        return None if found is None else Body(TABLE, found[1], {"table": found[0]})
    return _write_arrow(value) if root == "pyarrow" else None


def _write_npy(value: Any) -> Body:
    import numpy

    if not (value.flags.c_contiguous or value.flags.f_contiguous):
        value = value.copy()
    head = io.BytesIO()
    description = numpy.lib.format.header_data_from_array_1_0(value)
    numpy.lib.format.write_array_header_1_0(head, description)  # padded so that the values are aligned
    flat = value.reshape(-1, order="F" if description["fortran_order"] else "C")
    return Body(NPY, [head.getvalue(), memoryview(flat.view(numpy.uint8)) if flat.size else b""])


def _read_npy(body: memoryview) -> Any:
    import numpy

    head = io.BytesIO(bytes(body[:4096]))
    numpy.lib.format.read_magic(head)
    shape, fortran, dtype = numpy.lib.format.read_array_header_1_0(head)
    flat = numpy.frombuffer(body, dtype, offset=head.tell()) if 0 not in shape else numpy.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _write_arrow(value: Any) -> Body | None:
    import pyarrow as pa

    if type(value) not in (pa.Table, pa.RecordBatch):
        return None
    return Body(ARROW, arrow_stream(value), {"type": type(value).__name__})


def _read_arrow(note: dict[str, Any], body: memoryview) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_all() if note["type"] == "Table" else reader.read_next_batch()


class _Collector:
    """What Arrow writes, without copying it."""

    closed = False

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.parts.append(view)
        return view.nbytes

    def flush(self) -> None:
        """All is in memory."""

    def close(self) -> None:
        self.closed = True


def arrow_stream(table: Any, is_plain: bool = False) -> list[Any]:
    """A table or batch as an Arrow IPC stream, in buffers; its own are among them.

    ``is_plain``: it is one batch without dictionaries, at any depth.
    """
    import pyarrow as pa

    if table.nbytes < COPIED_BYTES_MAX:  # dearer to pass on in parts than to copy
        if is_plain:  # the two messages of a stream; its end need not be said where the body ends
            return [memoryview(table.schema.serialize()), memoryview(table.serialize())]
        whole = pa.BufferOutputStream()
        with pa.ipc.new_stream(whole, table.schema) as writer:
            writer.write(table)
        return [memoryview(whole.getvalue())]
    found = _Collector()
    file = pa.PythonFile(found, "w")
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write(table)
    return found.parts


def _pickled(value: Any) -> Body:
    """Pickle 5 with its large buffers beside it, aligned, so that they can be mapped."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
    except Exception as error:
        raise NotStorable(f"it is a {type(value).__qualname__} that cannot be pickled: {error}") from None
    sizes = [len(text), *(view.nbytes for view in views)]
    table = struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes)
    parts: list[Any] = [table]
    at = len(table)
    inner: list[Any] = [text, *views]
    for part in inner:
        gap = -at % _ALIGNMENT
        parts += [bytes(gap), part]
        at += gap + (len(part) if isinstance(part, bytes) else part.nbytes)
    return Body(PICKLE, parts)


def _unpickled(body: memoryview) -> Any:
    (count,) = struct.unpack_from("<Q", body)
    sizes = struct.unpack_from(f"<{count}Q", body, 8)
    at = 8 * (count + 1)
    parts = []
    for size in sizes:
        at += -at % _ALIGNMENT
        parts.append(body[at : at + size])
        at += size
    return pickle.loads(parts[0], buffers=parts[1:])
