"""The text of a function: taken from files, notebooks and ``python -c``, with its decorators.

Two steps, because a decorator runs while a module is imported and must be cheap: ``snapshot`` keeps the lines as they are
at that moment, ``Snapshot.text`` finds the function in them when somebody asks for ``.code``.
"""

from __future__ import annotations

import ast
import linecache
import sys
import textwrap
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any

from fused._definition_names import import_lines
from fused.errors import SourceError

AnyFunction = Callable[..., Any]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def check_function(fn: object) -> FunctionType:
    """``fn`` if its text can stand alone; ``SourceError``/``TypeError`` says what is wrong and what to do.

    Its text is sent to a worker and run there, so it may not use variables of an enclosing function (its own name excepted).
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
            f"{fn.__name__!r} uses {_join(captured)} of the function around it ({fn.__qualname__.split('.<locals>')[0]!r}). "
            "Only its own text is sent to the worker, so that would be missing there. Pass it as a parameter, put it into "
            "default_parameters={…}, or import it inside the function."
        )
    if ".<locals>." not in fn.__qualname__ and "." in fn.__qualname__:
        raise SourceError(f"{fn.__qualname__!r} is a method; a UDF is a plain function outside of a class")
    return fn


def _join(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


class Snapshot:
    """The lines of the file, cell or command line that defined a function, as they were when it was decorated."""

    def __init__(self, fn: FunctionType) -> None:
        self._fn = fn
        self._lines = _lines_of(fn)
        self._text: str | None = None

    def text(self) -> str:
        """The function's text from its first decorator to its last line, dedented, no newline at the end.

        A function without a ``@fused.udf`` line gets one. Names that decorators, annotations and defaults use are added
        on top as imports or constants, since they are needed at definition. ``SourceError`` where Python keeps no source.
        """
        if self._text is None:
            self._text = self._find()
        return self._text

    def _find(self) -> str:
        fn = self._fn
        if not self._lines:
            raise SourceError(_no_source(fn))
        source = "".join(self._lines)
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise SourceError(
                f"the text of {fn.__name__!r} cannot be taken from {fn.__code__.co_filename}: line {error.lineno}: {error.msg}"
            ) from None
        node = find_node(tree, fn.__name__, fn.__code__.co_firstlineno)
        if node is None:
            raise SourceError(
                f"{fn.__code__.co_filename} has no function {fn.__name__!r} at line {fn.__code__.co_firstlineno}: the file "
                "changed after it was imported. Import it again (in a notebook: run the cell again)."
            )
        first = first_line(node)
        end = node.end_lineno or node.lineno
        text = textwrap.dedent("".join(self._lines[first - 1 : end])).rstrip("\n")
        head = "" if udf_decorator(node) is not None else "@fused.udf\n"
        above = import_lines(node, fn)
        return "".join(f"{line}\n" for line in above) + head + text


def find_node(tree: ast.AST, name: str, line: int) -> FunctionNode | None:
    """The definition of ``name`` whose first line (decorators counted) is ``line``."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and node.name == name and line in (first_line(node), node.lineno):
            return node
    return None


def first_line(node: FunctionNode) -> int:
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


def without_decorator_keywords(text: str, entrypoint: str, drop: frozenset[str]) -> str:
    """``text`` with the keywords ``drop`` taken out of the entry point's decorator; every other line stays as it is.

    Header files and the like are read where the function is written; a worker does not have them.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if not isinstance(node, FunctionNode) or node.name != entrypoint:
            continue
        decorator = udf_decorator(node)
        if not isinstance(decorator, ast.Call) or not any(keyword.arg in drop for keyword in decorator.keywords):
            continue
        kept = [keyword for keyword in decorator.keywords if keyword.arg not in drop]
        short = (
            ast.Call(func=decorator.func, args=decorator.args, keywords=kept)
            if kept or decorator.args
            else decorator.func
        )
        end = decorator.end_lineno or decorator.lineno
        lines[decorator.lineno - 1 : end] = [f"@{ast.unparse(short)}\n"]
    return "".join(lines)


def _lines_of(fn: FunctionType) -> list[str]:
    filename = fn.__code__.co_filename
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, fn.__globals__)
    if lines:
        return lines
    return _command_line_source(fn) if filename == "<string>" else []


def _command_line_source(fn: FunctionType) -> list[str]:
    """The lines of ``python -c CODE`` when ``fn`` was defined by them; ``exec`` of a string looks the same, so compare."""
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
        f"Python keeps no source of {fn.__name__!r}: {where}. Its text is what is sent to a worker. Write it to a .py file or a "
        "notebook cell, or give the text itself:\n"
        f"    {fn.__name__} = fused.load('''\n    @fused.udf\n    def {fn.__name__}(...):\n        ...\n    ''')"
    )
