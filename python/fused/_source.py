"""The text of a function: taken from files, notebooks and ``python -c``, with its decorators.

Two steps, because a decorator runs while a module is imported and must be cheap: ``snapshot`` keeps the lines as they
are at that moment, ``Snapshot.text`` finds the function in them when somebody asks for ``.code``.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any

from fused._definition_names import import_lines
from fused.errors import SourceError

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def check_function(fn: object) -> FunctionType:
    """``fn`` if its text can stand alone; ``SourceError``/``TypeError`` says what is wrong and what to do.

    Its text is sent to a worker and run there, so it may not use variables of an enclosing function (its own name
    excepted).
    """
    if not isinstance(fn, FunctionType):
        kind = "a class" if isinstance(fn, type) else f"{type(fn).__name__} object"
        raise TypeError(f"fused.udf wants a function (def …), not {kind}: {fn!r}")
    if fn.__name__ == "<lambda>":
        raise SourceError(
            "a lambda cannot be a UDF, because it has no name to be called by: write it as `def udf(...): return ...`"
        )
    captured = [name for name in fn.__code__.co_freevars if name != fn.__name__]
    if captured:
        raise SourceError(
            f"{fn.__name__!r} uses {_join(captured)} of the function around it "
            f"({fn.__qualname__.split('.<locals>')[0]!r}). Only its own text is sent to the worker, so that would be "
            "missing there. Pass it as a parameter, put it into default_parameters={…}, or import it inside the "
            "function."
        )
    if ".<locals>." not in fn.__qualname__ and "." in fn.__qualname__:
        raise SourceError(f"{fn.__qualname__!r} is a method; a UDF is a plain function outside of a class")
    return fn


def _join(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


class Snapshot:
    """The lines of the file, cell or command line that defined a function, as they were when it was decorated.

    ``stated``: what its decorator was given, as literals; they take the place of expressions that only work where the
    function was written (``cache_max_age=AGE``).
    """

    def __init__(self, fn: FunctionType, stated: Mapping[str, Any] | None = None) -> None:
        self._fn = fn
        self._stated = dict(stated or {})
        self._lines = _lines_of(fn)
        self._text: str | None = None

    def text(self) -> str:
        """The function's text from its first decorator to its last line, dedented, no newline at the end.

        A function without a ``@fused.udf`` line gets one. Names that annotations, defaults and other decorators use are
        added on top as imports or constants, since they are needed at definition. ``SourceError`` where Python keeps no
        source.
        """
        if self._text is None:
            self._text = self._find()
        return self._text

    def _find(self) -> str:
        fn = self._fn
        where = fn.__code__.co_filename
        if not self._lines:
            raise SourceError(_no_source(fn))
        try:
            tree = ast.parse("".join(self._lines))
        except SyntaxError as error:
            raise SourceError(f"{where} is not Python any more: line {error.lineno}: {error.msg}") from None
        node = find_node(tree, fn.__name__, fn.__code__.co_firstlineno)
        if node is None:
            raise SourceError(
                f"{where} has no function {fn.__name__!r} at line {fn.__code__.co_firstlineno}: the file changed after "
                "it was imported. Import it again (in a notebook: run the cell again)."
            )
        text = _dedented(node, self._lines)
        decorator = udf_decorator(node)
        if decorator is None:
            text = f"{_decorator_text(None, self._stated)}\n{text}"
        elif isinstance(decorator, ast.Call) and not all(_is_literal(word) for word in decorator.keywords):
            at = decorator.lineno - first_line(node)
            lines = text.split("\n")
            lines[at : at + (decorator.end_lineno or decorator.lineno) - decorator.lineno + 1] = [
                _decorator_text(decorator, self._stated)
            ]
            text = "\n".join(lines)
            decorator.keywords = []
        return "".join(f"{line}\n" for line in import_lines(node, fn)) + text


def _is_literal(keyword: ast.keyword) -> bool:
    """May this keyword of the decorator stay as it is written. Header files are read where the function is written."""
    return keyword.arg not in (None, "headers") and is_literal(keyword.value)


def is_literal(node: ast.expr) -> bool:
    """Can this expression be evaluated without any name."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _decorator_text(decorator: ast.Call | None, stated: Mapping[str, Any]) -> str:
    """``@fused.udf(...)`` with literals alone; what cannot be one is in the record that travels with the text."""
    called = "fused.udf" if decorator is None else ast.unparse(decorator.func)
    words = {name: repr(value) for name, value in stated.items() if decorator is not None or name != "parameters"}
    if decorator is not None:
        for word in decorator.keywords:
            if word.arg is not None and _is_literal(word):
                words[word.arg] = ast.unparse(word.value)
        asked = [word.arg for word in decorator.keywords if word.arg is not None]
        words = {name: words[name] for name in asked if name in words}
    inside = ", ".join(f"{name}={value}" for name, value in words.items())
    return f"@{called}({inside})" if inside else f"@{called}"


def _dedented(node: FunctionNode, lines: Sequence[str]) -> str:
    """The lines of a definition without its own indentation; lines inside of text constants stay as they are."""
    first, last = first_line(node), node.end_lineno or node.lineno
    indent = len(lines[first - 1]) - len(lines[first - 1].lstrip())
    fixed: set[int] = set()
    for inner in ast.walk(node):
        is_text = isinstance(inner, ast.JoinedStr) or (
            isinstance(inner, ast.Constant) and isinstance(inner.value, str | bytes)
        )
        if is_text and not _is_docstring(inner, node):
            fixed.update(range(inner.lineno + 1, (inner.end_lineno or inner.lineno) + 1))  # type: ignore[attr-defined]
    kept = []
    for number in range(first, last + 1):
        line = lines[number - 1].rstrip("\r\n")
        margin = len(line) - len(line.lstrip())
        kept.append(line if number in fixed else line[min(indent, margin) :])
    return "\n".join(kept)


def _is_docstring(inner: ast.AST, node: FunctionNode) -> bool:
    first = node.body[0]
    return isinstance(first, ast.Expr) and first.value is inner


def find_node(tree: ast.AST, name: str, line: int) -> FunctionNode | None:
    """The definition of ``name`` whose first line (decorators counted) is ``line``."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and node.name == name and line in (first_line(node), node.lineno):
            return node
    return None


def first_line(node: FunctionNode) -> int:
    """The line of the first decorator, else of ``def``; from 1."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def udf_decorator(node: FunctionNode) -> ast.expr | None:
    """The decorator ``@fused.udf``, ``@udf`` or a call of it; None when there is none."""
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if (isinstance(called, ast.Attribute) and called.attr == "udf") or (
            isinstance(called, ast.Name) and called.id == "udf"
        ):
            return decorator
    return None


def _lines_of(fn: FunctionType) -> list[str]:
    filename = fn.__code__.co_filename
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, fn.__globals__)
    if lines:
        return lines
    return _command_line_source(fn) if filename == "<string>" else []


def _command_line_source(fn: FunctionType) -> list[str]:
    """The lines of ``python -c CODE`` when ``fn`` was defined by them; ``exec`` of a string looks the same, so
    compare.
    """
    arguments = sys.orig_argv[1:]
    for at, argument in enumerate(arguments):
        if not argument.startswith("-") or argument.startswith("--"):
            break
        if argument.endswith("c") and at + 1 < len(arguments):
            source = arguments[at + 1]
        elif "c" in argument and not argument.startswith(("-W", "-X")):
            source = argument.split("c", 1)[1]
        else:
            continue
        try:
            compiled = compile(source, "<string>", "exec", dont_inherit=True)
        except SyntaxError:
            break
        return source.splitlines(keepends=True) if _contains(compiled, fn.__code__) else []
    return []


def _contains(code: CodeType, wanted: CodeType) -> bool:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            same_place = constant.co_name == wanted.co_name and constant.co_firstlineno == wanted.co_firstlineno
            if (same_place and constant.co_code == wanted.co_code) or _contains(constant, wanted):
                return True
    return False


def _no_source(fn: FunctionType) -> str:
    filename = fn.__code__.co_filename
    where = {
        "<stdin>": "it was typed at the plain Python prompt or read from standard input",
        "<string>": "it was made by exec() or eval() of a string",
    }.get(filename, f"its code says it comes from {filename!r}, which cannot be read")
    return (
        f"Python keeps no source of {fn.__name__!r}: {where}. Its text is what is sent to a worker. Write it to a .py "
        "file or a notebook cell, or give the text itself:\n"
        f"    {fn.__name__} = fused.load('''\n    @fused.udf\n    def {fn.__name__}(...):\n        ...\n    ''')"
    )
