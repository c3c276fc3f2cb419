"""Reading a function's text without running it, and running it when it is really wanted."""

from __future__ import annotations

import ast
import hashlib
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fused._inside import loading
from fused._source import FunctionNode, udf_decorator
from fused.errors import SourceError


@dataclass(frozen=True)
class CodeDescription:
    """What the text says: the entry point, its parameters, and the literal keywords of its ``@fused.udf(...)``."""

    entrypoint: str
    parameters: tuple[str, ...]
    takes_any_keyword: bool
    keywords: dict[str, Any] = field(default_factory=dict)
    docstring: str | None = None


def find_entrypoint(tree: ast.Module, entrypoint: str | None = None) -> FunctionNode:
    """The function to call: the one named, else ``udf``, else the only ``@fused.udf``, else the only function.

    Of two definitions of one name the last counts, as in Python. ``SourceError`` lists the names when it cannot be
    told.
    """
    functions = {node.name: node for node in tree.body if isinstance(node, FunctionNode)}
    if entrypoint is not None:
        if entrypoint in functions:
            return functions[entrypoint]
        raise SourceError(f"the code has no function {entrypoint!r}; it has {', '.join(functions) or 'none'}")
    marked = [name for name, node in functions.items() if udf_decorator(node) is not None]
    if "udf" in functions and (not marked or "udf" in marked):
        return functions["udf"]
    candidates = marked or list(functions)
    if len(candidates) == 1:
        return functions[candidates[0]]
    if not candidates:
        raise SourceError("the code has no function; write `@fused.udf` above a `def udf(...)`")
    raise SourceError(
        f"the code has several functions ({', '.join(candidates)}): call one of them `udf`, or name it by entrypoint="
    )


def parse_code(code: str, name: str = "udf") -> ast.Module:
    """The syntax tree; ``SourceError`` with line and text where the code is not Python."""
    try:
        return ast.parse(code)
    except SyntaxError as error:
        text = (error.text or "").rstrip()
        raise SourceError(f"the code of {name!r} is not Python: line {error.lineno}: {error.msg}\n    {text}") from None
    except ValueError as error:  # NUL bytes
        raise SourceError(f"the code of {name!r} is not Python: {error}") from None


def describe_code(code: str, entrypoint: str | None = None, name: str = "udf") -> CodeDescription:
    """Entry point, parameters and decorator keywords of a text; nothing of it is run."""
    node = find_entrypoint(parse_code(code, name), entrypoint)
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    decorator = udf_decorator(node)
    keywords = {}
    if isinstance(decorator, ast.Call):
        for keyword in decorator.keywords:
            if keyword.arg is not None:
                try:
                    keywords[keyword.arg] = ast.literal_eval(keyword.value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
    return CodeDescription(node.name, tuple(names), arguments.kwarg is not None, keywords, ast.get_docstring(node))


def run_module(code: str, name: str, modules: Callable[[], Any]) -> Mapping[str, Any]:
    """Runs the text as a module with ``fused`` in it and gives its names; ``modules()`` makes its headers importable.

    Its lines are put where tracebacks and ``inspect`` find them.
    """
    import fused

    filename = f"<udf {name} {hashlib.sha256(code.encode()).hexdigest()[:12]}>"
    try:
        compiled = compile(code, filename, "exec", dont_inherit=True)
    except SyntaxError:
        parse_code(code, name)
        raise
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": f"fused_udf_{name}", "__file__": filename, "fused": fused}
    with modules(), loading():
        exec(compiled, namespace)
    return namespace
