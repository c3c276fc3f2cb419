"""Arguments of work that begins later (a job, a schedule), looked at now: what is missing, and what cannot be read."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fused._code import find_entrypoint, parse_code
from fused._parameters import Binder, MissingParameter, plan

if TYPE_CHECKING:
    from fused.models.udf import Udf

# Modules whose types an annotation may name without anything of the function being run. The rest is left to its run.
_MODULES = ("collections.abc", "datetime", "decimal", "fused", "fused.types", "pathlib", "typing", "uuid")
_BUILTINS = (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)


class ArgumentCheck:
    """What one function asks of its arguments, read as its run will read them; made once, used for every call."""

    def __init__(self, udf: Udf) -> None:
        self._udf = udf
        fn = udf.__dict__.get("_fn")
        self._binder: Binder = plan(fn) if fn is not None else plan(_signature_alone(udf))
        self._stored = {name: _seen(value) for name, value in udf.parameters.items()}

    def missing(self, given: Mapping[str, Any]) -> list[str]:
        """The names of required parameters that neither ``given`` nor the function's stored values have."""
        found: list[str] = []
        while True:
            try:
                self._binder.bind(typed=dict.fromkeys([*given, *found]), beneath=dict.fromkeys(self._stored))
            except MissingParameter as error:
                found.append(error.name)
            else:
                return found

    def check(self, given: Mapping[str, Any]) -> None:
        """``TypeError`` for names that the function does not have; ``ValueError`` for what is missing, and for text
        and numbers that its annotations cannot read.
        """
        self._udf.check_names(given)
        missing = self.missing(given)
        if missing:
            names = ", ".join(map(repr, missing))
            verb = "are" if len(missing) > 1 else "is"
            raise ValueError(f"{self._udf.name!r} requires {names}, which {verb} not given")
        self._binder.bind(typed={name: _seen(value) for name, value in given.items()}, beneath=self._stored)


def _seen(value: Any) -> Any:
    """Text and numbers are read here; of tables, lists and objects only the run tells, and None passes all readers."""
    return value if type(value) in (str, int, float, bool) else None


def _signature_alone(udf: Udf) -> Any:
    """A function with the parameters of ``udf``'s text, made without running any of it."""
    tree = parse_code(udf.code, udf.name)
    node = find_entrypoint(tree, udf._entrypoint)
    names = _names_of(tree)
    made = []
    positional = [*node.args.posonlyargs, *node.args.args]
    optional = len(positional) - len(node.args.defaults)
    for at, each in enumerate(positional):
        kind = inspect.Parameter.POSITIONAL_ONLY if at < len(node.args.posonlyargs) else None
        made.append(_parameter(each, at >= optional, names, kind or inspect.Parameter.POSITIONAL_OR_KEYWORD))
    for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        made.append(_parameter(each, default is not None, names, inspect.Parameter.KEYWORD_ONLY))
    if node.args.kwarg is not None:
        made.append(_parameter(node.args.kwarg, False, names, inspect.Parameter.VAR_KEYWORD))

    def fn() -> None:
        """Never called."""

    fn.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    return fn


def _parameter(node: ast.arg, has_default: bool, names: Mapping[str, Any], kind: Any) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    annotation = empty if node.annotation is None else _type_of(node.annotation, names)
    return inspect.Parameter(node.arg, kind, default=None if has_default else empty, annotation=annotation)


def _names_of(tree: ast.Module) -> dict[str, Any]:
    """The names that annotations may use: Python's types, and what the text imports of the modules above.

    A name that the text defines itself is nobody else's.
    """
    names: dict[str, Any] = {kind.__name__: kind for kind in _BUILTINS}
    import fused

    names["fused"] = fused
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.pop((alias.asname or alias.name).partition(".")[0], None)
                if alias.name in _MODULES:
                    module = __import__(alias.name, fromlist=["_"] if alias.asname else [])
                    names[alias.asname or alias.name.partition(".")[0]] = module
        elif isinstance(node, ast.ImportFrom):
            known: Any = __import__(node.module, fromlist=["_"]) if node.module in _MODULES and not node.level else None
            for alias in node.names:
                names.pop(alias.asname or alias.name, None)
                if hasattr(known, alias.name):
                    names[alias.asname or alias.name] = getattr(known, alias.name)
        else:
            for each in ast.walk(node):
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names.pop(each.name, None)
                elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    names.pop(each.id, None)
    return names


def _type_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an annotation means, put together from ``names`` without evaluating anything; ``Any`` where they do not
    say."""
    try:
        return _read(node, names)
    except (LookupError, TypeError, AttributeError, SyntaxError, ValueError):
        return Any


def _read(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Attribute):
        owner = _read(node.value, names)
        if not inspect.ismodule(owner) or owner.__name__ not in _MODULES:
            raise LookupError(node.attr)
        return getattr(owner, node.attr)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _read(ast.parse(node.value, mode="eval").body, names)
        if node.value is None or node.value is ...:
            return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return typing.Union[_read(node.left, names), _read(node.right, names)]  # noqa: UP007
    if isinstance(node, ast.Subscript):
        outer = _read(node.value, names)
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer is typing.Literal:
            return outer[tuple(ast.literal_eval(each) for each in inside)]
        parts = tuple(_type_of(each, names) for each in inside)
        return outer[parts if len(parts) > 1 else parts[0]]
    raise LookupError(type(node).__name__)
