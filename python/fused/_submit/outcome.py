"""A call's record as what its caller sees: a value, or an exception to raise."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from fused._submit.record import EMPTY, PICKLED, RAISED, WIRE, Record, describe_bytes
from fused.errors import FusedError, UdfError, UdfRuntimeError, UdfSerializationError, UdfTimeoutError

if TYPE_CHECKING:
    from fused.models.udf import Udf

LENGTH = struct.Struct("<I")
_KINDS: dict[str, type[UdfError]] = {
    "runtime_error": UdfRuntimeError,
    "serialization_error": UdfSerializationError,
    "timeout_error": UdfTimeoutError,
}


def value_of(record: Record, udf: Udf | None) -> Any:
    """The value that the call returned; made anew each time."""
    if record.kind == PICKLED:
        with udf.header_modules() if udf is not None else contextlib.nullcontext():
            return pickle.loads(record.body)
    if record.kind != WIRE:
        raise FusedError(f"a call that succeeded left a record of kind {record.kind!r}")
    from fused._run.decode import decode

    content_type, _, body = record.body.partition(b"\0")
    return decode(content_type.decode(), body)


def exception_of(index: int, record: Record, label: str, udf: Udf | None) -> BaseException:
    """What raising the call's failure raises: a local function's own exception, else a ``UdfError``."""
    if record.kind == EMPTY:
        return CancelledError(f"call {index} of {label!r} was cancelled")
    body, whole = record.body, None
    if record.kind == RAISED:
        length = LENGTH.unpack_from(body)[0]
        body, whole = body[LENGTH.size : LENGTH.size + length], body[LENGTH.size + length :]
    told = json.loads(body)
    if whole is not None:
        with contextlib.suppress(Exception), udf.header_modules() if udf is not None else contextlib.nullcontext():
            error = pickle.loads(whole)
            if isinstance(error, BaseException):
                error.add_note(f"in call {index} of {label!r}:\n{told.get('traceback') or ''}".rstrip())
                return error
    return _told(index, told, record, label)


def _told(index: int, told: dict[str, Any], record: Record, label: str) -> UdfError:
    line = told.get("line")
    where = f" in line {line}" if line else ""
    kind = _KINDS.get(str(told.get("error_type")), UdfRuntimeError)
    name = told.get("class")
    return kind(
        f"call {index} of {label!r} failed{where}: {f'{name}: ' if name else ''}{told.get('message')}",
        child_exception_class=name,
        lineno=line,
        udf_traceback=str(told.get("traceback") or ""),
        stdout=describe_bytes(record.stdout),
        stderr=describe_bytes(record.stderr),
    )


def log_of(record: Record) -> str:
    """What the call printed: stdout, then stderr."""
    return describe_bytes(record.stdout) + describe_bytes(record.stderr)
