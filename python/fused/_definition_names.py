"""Names that must exist when a function is *defined*: those in its decorators, annotations and defaults.

The worker runs the function's own text only. ``def udf(gdf: gpd.GeoDataFrame, when: Optional[date] = None)`` would fail
there with a NameError, although nothing is wrong with it here; so the imports are added above the text.
"""

from __future__ import annotations

import ast
import builtins
import sys
from types import FunctionType, ModuleType

PROVIDED = frozenset({"fused"})  # in every worker's namespace


def import_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, fn: FunctionType) -> list[str]:
    """Lines such as ``import geopandas as gpd`` for the names used at definition, sorted; what cannot be told is
    left out.
    """
    lines = set()
    for name in sorted(_names(node)):
        if (name in PROVIDED and isinstance(fn.__globals__.get(name), ModuleType)) or name not in fn.__globals__:
            continue
        if hasattr(builtins, name) and fn.__globals__[name] is getattr(builtins, name):
            continue
        line = _line(name, fn.__globals__[name], fn.__module__)
        if line:
            lines.add(line)
    return sorted(lines)


def _names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    parts: list[ast.expr | None] = [*node.decorator_list, node.returns, *arguments.defaults, *arguments.kw_defaults]
    parts += [argument.annotation for argument in every]
    return {inner.id for part in parts if part is not None for inner in ast.walk(part) if isinstance(inner, ast.Name)}


def _line(name: str, value: object, own_module: str) -> str | None:
    if isinstance(value, ModuleType):
        module = value.__name__
        return None if module == "__main__" else f"import {module}" if module == name else f"import {module} as {name}"
    if isinstance(value, bool | int | float | str | bytes | type(None) | tuple | list | dict):
        return _constant(name, value)
    home = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None) or getattr(value, "_name", None) or getattr(value, "__name__", None)
    if not isinstance(home, str) or home in ("__main__", own_module):
        return None
    if not isinstance(qualname, str) or "." in qualname:
        return None
    if getattr(sys.modules.get(home), qualname, None) is not value:
        return None
    return f"from {home} import {qualname}" if qualname == name else f"from {home} import {qualname} as {name}"


def _constant(name: str, value: object) -> str | None:
    text = repr(value)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return f"{name} = {text}" if same and len(text) <= 10_000 else None
