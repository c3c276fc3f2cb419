"""What functions a file of `fused serve FOLDER` holds. The text is parsed and not executed."""

from __future__ import annotations

import ast
from typing import Any

from .._source import FunctionNode, udf_decorator

KEYWORDS = ("name", "headers", "cache_max_age")


def describe(text: str) -> dict[str, Any]:
    """``{"udfs": [...]}`` in the order of the file, or ``{"error": {...}}`` as in a result.

    Each has ``entrypoint``, ``line``, ``is_main`` (it is what the file's own name runs) and what its decorator says in
    literals of ``name``, ``headers`` and ``cache_max_age``.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        where = f" (line {line})" if line else ""
        message = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}{where}"
        return {"error": {"class": "InvalidCode", "message": message, "traceback": message, "line": line}}
    found: dict[str, FunctionNode] = {}  # of two definitions of one name the last counts, as in Python
    for node in tree.body:
        if isinstance(node, FunctionNode):
            found.pop(node.name, None)
            if udf_decorator(node) is not None:
                found[node.name] = node
    main = "udf" if "udf" in found else next(iter(found)) if len(found) == 1 else None
    return {
        "udfs": [
            {"entrypoint": name, "line": node.lineno, "is_main": name == main, **_stated(node)}
            for name, node in found.items()
        ]
    }


def _stated(node: FunctionNode) -> dict[str, Any]:
    decorator = udf_decorator(node)
    stated: dict[str, Any] = {}
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg in KEYWORDS:
            try:
                value = ast.literal_eval(keyword.value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue  # an expression: it holds where the text is executed
            if _is_plain(value):
                stated[keyword.arg] = value
    return stated


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(part, str) for part in value)
    return value is None or isinstance(value, str | int)
