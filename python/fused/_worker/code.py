"""A function's text becomes something that can be called, and tells what is wrong with it where it cannot."""

from __future__ import annotations

import ast
import hashlib
import linecache
import re
import sys
import types
from typing import Any

MODULE_PREFIX = "fused_udf_"


class InvalidCode(Exception):
    """The text cannot become a function; the message says why, ``line`` where."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def file_name(name: str) -> str:
    """The name that tracebacks show for a function or a header module."""
    return (re.sub(r"[^\w.@-]+", "_", name).strip("._")[:100] or "udf") + ".py"


def remember_lines(filename: str, source: str) -> tuple[int, None, list[str], str]:
    """Tracebacks, ``inspect`` and pdb find the lines of ``filename``; gives the entry for ``linecache``."""
    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    entry = (len(source), None, lines, filename)
    linecache.cache[filename] = entry
    return entry


class Source:
    """A compiled text: code object, entry for ``linecache``, and whether its body must be executed for every run."""

    __slots__ = ("code", "entry", "filename", "imports", "keep", "module", "module_name", "text")

    def __init__(self, text: str, name: str, module_name: str) -> None:
        self.text = text
        self.filename = file_name(name)
        self.module_name = module_name
        self.module = types.ModuleType(module_name)  # one for all runs, emptied before each that executes the body
        self.entry = remember_lines(self.filename, text)
        tree = compile(text, self.filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)  # not our own __future__
        assert isinstance(tree, ast.Module)
        self.imports = imported_modules(tree)
        self.keep = only_defines(tree)
        self.code = compile(tree, self.filename, "exec", dont_inherit=True)

    def execute(self) -> types.ModuleType:
        """Runs the body in an empty module, which is in ``sys.modules`` (dataclasses, pickle, pydantic look there)."""
        linecache.cache[self.filename] = self.entry
        module, names = self.module, self.module.__dict__
        names.clear()
        names.update(
            __name__=self.module_name, __doc__=None, __package__="", __loader__=None, __spec__=None,
            __file__=self.filename,
            fused=sys.modules["fused"],  # the official client sends texts without `import fused`
        )  # fmt: skip
        if sys.modules.get(self.module_name) is not module:
            sys.modules[self.module_name] = module
        exec(self.code, names)
        return module

    def forget(self) -> None:
        """The text will not be run again."""
        sys.modules.pop(self.module_name, None)
        linecache.cache.pop(self.filename, None)


def load(text: str, name: str, key: str) -> Source:
    """Compiles a function's text; InvalidCode with the line where it is no Python."""
    try:
        return Source(text, name, MODULE_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16])
    except SyntaxError as error:
        raise InvalidCode(
            f"{type(error).__name__}: {error.msg} ({file_name(name)}, line {error.lineno})", error.lineno
        ) from error
    except (ValueError, UnicodeEncodeError) as error:  # NUL, lone surrogates
        raise InvalidCode(f"the function's text is not Python source: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise InvalidCode("the function's text is nested too deeply for Python's compiler") from error


# --- what a text may do and still be kept ---------------------------------------------------------------------------

_IMMUTABLE_NAMES = frozenset({"True", "False", "None"})


def only_defines(tree: ast.Module) -> bool:
    """Does the body do no more than import and define: then executing it again would change nothing, and it is kept.

    Anything else at the top (a value that is computed, a container that a run could fill, a call) makes a new module
    for every run, so that no run sees what an earlier one left in it. A helper under ``functools.lru_cache`` or
    ``functools.cache`` is its author's wish to keep values in a warm worker, and is granted.
    """
    return all(_only_defines(node) for node in tree.body)


def _only_defines(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Pass():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(value=value, targets=targets):
            return _is_immutable(value) and all(isinstance(target, ast.Name) for target in targets)
        case ast.AnnAssign(value=None):
            return True
        case ast.AnnAssign(value=value, target=ast.Name()):
            return value is not None and _is_immutable(value)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            is_udf = any(_is_of(decorator, "fused", ("udf",)) for decorator in node.decorator_list)
            known = all(_is_known(decorator) for decorator in node.decorator_list)
            values = [value for value in (*node.args.defaults, *node.args.kw_defaults) if value is not None]
            # The binder hands out a copy of a function's literal defaults; nobody does for its helpers.
            return known and all(_is_literal(value) if is_udf else _is_immutable(value) for value in values)
        case ast.ClassDef():
            plain = not node.decorator_list and not node.keywords
            return plain and all(_only_defines(part) for part in node.body)
        case _:
            return False


_KNOWN = {"fused": ("udf", "cache"), "functools": ("lru_cache", "cache")}


def _is_known(decorator: ast.expr) -> bool:
    return any(_is_of(decorator, module, names) for module, names in _KNOWN.items())


def _is_of(decorator: ast.expr, module: str, names: tuple[str, ...]) -> bool:
    """``@module.name``, ``@name``, or either called with literals."""
    if isinstance(decorator, ast.Call):
        if not all(_is_literal(part) for part in (*decorator.args, *(word.value for word in decorator.keywords))):
            return False
        decorator = decorator.func
    match decorator:
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            return owner == module and attr in names
        case ast.Name(id=name):
            return name in names
    return False


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _is_immutable(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return isinstance(operand, ast.Constant)
        case ast.Tuple(elts=parts):
            return all(_is_immutable(part) for part in parts)
        case ast.Name(id=name):
            return name in _IMMUTABLE_NAMES
    return False


def imported_modules(tree: ast.Module) -> tuple[str, ...]:
    """Absolute names of all modules that the text imports, also inside its functions."""
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names[node.module] = None
    return tuple(names)


# --- entry point ----------------------------------------------------------------------------------------------------


def is_udf(value: Any) -> bool:
    """Is it what ``@fused.udf`` leaves behind."""
    return not isinstance(value, type) and callable(getattr(value, "fn", None)) and hasattr(value, "entrypoint")


def raw_function(value: Any) -> Any:
    """The Python function of an entry point."""
    return value.fn if is_udf(value) else value


def definitions(module: types.ModuleType) -> tuple[dict[str, Any], dict[str, types.FunctionType]]:
    """``(functions with @fused.udf, plain functions)`` that the text itself defines, by name."""
    udfs: dict[str, Any] = {}
    plain: dict[str, types.FunctionType] = {}
    for name, value in module.__dict__.items():
        if isinstance(value, types.FunctionType):
            if value.__module__ == module.__name__ and value.__name__ != "<lambda>":
                plain[name] = value
        elif is_udf(value) and getattr(value.fn, "__module__", None) == module.__name__:
            udfs[name] = value
    return udfs, plain


def entry_point(module: types.ModuleType, entrypoint: str | None) -> Any:
    """The one named by ``entrypoint``, else ``udf``, else the only one; InvalidCode lists the names otherwise."""
    names = module.__dict__
    udfs, plain = definitions(module)
    for name in (entrypoint, "udf"):
        value = names.get(name) if name else None
        if value is sys.modules["fused"].udf:
            continue  # `from fused import udf`: the decorator is nobody's function
        if value is not None and (is_udf(value) or (callable(value) and not isinstance(value, type))):
            return value
        if name and name == entrypoint and name != "udf":
            listed = ", ".join(udfs or plain) or "no function"
            raise InvalidCode(f"the text has no function {entrypoint!r}, which `entrypoint` names; it defines {listed}")
    for found in (udfs, plain):
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise InvalidCode(
                f"the text defines {', '.join(found)}: name one of them `udf`, or say which by `entrypoint`"
            )
    raise InvalidCode("the text defines no function: write `@fused.udf` over `def udf(...)`")
