"""What functions a text holds, for ``fused serve FOLDER`` and for pages that list parameters."""

from __future__ import annotations

import inspect
import json
from typing import Any

from .. import _annotations, _parameters
from . import code, failure
from .runner import Function, Runner


def describe(runner: Runner, udf: dict[str, Any]) -> dict[str, Any]:
    """``{"udfs": [...]}``, or ``{"error": {...}}`` as in a result. Executes the text's body."""
    try:
        function = Function(udf, f"describe\n{udf.get('hash', '')}")
    except code.InvalidCode as error:
        return {"error": {"class": "InvalidCode", "message": str(error), "traceback": str(error), "line": error.line}}
    try:
        if function.headers:
            runner.finder.begin(function.headers)
        module = function.source.execute()
        udfs, plain = code.definitions(module)
        try:
            chosen = code.entry_point(module, udf.get("entrypoint"))
        except code.InvalidCode as error:
            if not udfs:
                return {"error": {"class": "InvalidCode", "message": str(error), "traceback": str(error), "line": None}}
            chosen = None
        listed = udfs or {name: value for name, value in plain.items() if value is chosen}
        return {"udfs": [_describe_one(name, value, value is chosen) for name, value in listed.items()]}
    except BaseException as error:
        return {"error": failure.describe(error, function.source.filename, function.files)}


def _describe_one(name: str, value: Any, chosen: bool) -> dict[str, Any]:
    function = code.raw_function(value)
    shown: dict[str, Any] = {
        "name": str(getattr(value, "name", None) or name),
        "entrypoint": name,
        "is_entrypoint": chosen,
        "line": function.__code__.co_firstlineno if hasattr(function, "__code__") else None,
        "doc": inspect.getdoc(function),
        "cache_max_age": _plain(getattr(value, "cache_max_age", None)),
        "default_parameters": _plain(getattr(value, "parameters", None) if code.is_udf(value) else None),
        "parameters": [],
    }
    binder = _parameters.plan(function)
    for made in binder.parameters.values():
        shown["parameters"].append(
            {
                "name": made.name,
                "type": made.wanted,
                "annotation": _annotation(made.annotation),
                "required": made.required,
                "default": _plain(made.default),
            }
        )
    shown["accepts_any"] = binder.rest is not None
    return shown


def _annotation(annotation: Any) -> str | None:
    if annotation is inspect.Parameter.empty:
        return None
    return annotation if isinstance(annotation, str) else _annotations.name_of(annotation)


def _plain(value: Any) -> Any:
    """The value as JSON where it has one, else its text."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return str(value)
