"""A run that gave no result becomes an error that tells all the server said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fused.errors import UdfError, UdfRuntimeError, UdfSerializationError, UdfTimeoutError

if TYPE_CHECKING:
    from fused._run.evaluation import UdfEvaluationResult
    from fused._transport import Response
    from fused.models.udf import Udf

_KINDS: dict[str, type[UdfError]] = {
    "runtime_error": UdfRuntimeError,
    "serialization_error": UdfSerializationError,
    "timeout_error": UdfTimeoutError,
}


def failure_of(
    result: UdfEvaluationResult,
    metadata: Mapping[str, Any],
    response: Response,
    udf: Udf | None,
    what: str = "the shared function",
) -> None:
    """Fills the failure into ``result``: class, message, line, and the exception to raise.

    ``what`` failed, where the function is not known.

    Header and body both tell: the header is short by protocol, the body holds the traceback whole.
    """
    try:
        body = json.loads(response.body)
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    said = str(body.get("message") or metadata.get("errormsg") or "the function failed and the server said no more")
    traceback = _longest(body.get("detail"), metadata.get("exception"))
    line = metadata.get("lineno")
    name = metadata.get("exception_class")
    label = repr(udf.name) if udf is not None else what
    where = f" in line {line}" if line else ""
    message = f"{label} failed{where}: {said}{_hint(said, name, udf)}"
    kind = _KINDS.get(str(metadata.get("error_type")), UdfRuntimeError)
    error = kind(
        message,
        child_exception_class=name,
        lineno=line,
        udf_traceback="" if traceback == said else traceback,
        stdout=result.stdout,
        stderr=result.stderr,
        request_id=response.request_id,
    )
    result.has_exception = True
    result.exception_class = name
    result.error_message = str(error)
    result.error_lineno = line
    result.error_type = metadata.get("error_type") or "runtime_error"
    result.exception = error


def _longest(*texts: Any) -> str:
    return max((text for text in texts if isinstance(text, str)), key=len, default="")


def _hint(said: str, name: str | None, udf: Udf | None) -> str:
    """A name or a file that is known where the function was written, and not where it ran."""
    if name == "FileNotFoundError" or "No such file or directory" in said:
        return (
            "\nA function on the server sees the files of `/mount` and no others: that is the folder `mount` in the "
            "server's data folder. Put the file there and read it as /mount/…"
        )
    match = re.search(r"name '(\w+)' is not defined", said) if name in (None, "NameError") else None
    fn = None if udf is None else udf.__dict__.get("_fn")
    if match is None or fn is None or match[1] not in getattr(fn, "__globals__", {}):
        return ""
    return (
        f"\n{match[1]!r} is defined in your module, but only the function's own text was sent: import or define it "
        f"inside {fn.__name__!r}, or put it into a file and name that in headers=[…]."
    )
