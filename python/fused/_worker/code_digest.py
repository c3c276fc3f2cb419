"""What the result cache has to know of a text, without executing it: a digest of the code that can run, the kinds of
the entry point's parameters, and what its decorator says about caching.

Comments, layout and the decorator's arguments about caching are not in the digest. Helpers that the entry point cannot
reach are not either, unless the text looks names up while it runs.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from .._duration import parse_duration

TEXT_CHARACTERS_MAX = 1 << 20  # a longer text stands for itself
CACHING = ("cache_max_age", "stale_while_revalidate", "cache_errors")
# A text that uses one of these may reach any name.
_LOOKUPS = frozenset(
    (
        "globals", "locals", "vars", "eval", "exec", "compile", "getattr", "__import__", "__dict__", "__globals__",
        "modules", "sys", "inspect", "gc", "importlib", "pickle", "dill", "cloudpickle", "__builtins__", "builtins",
        "f_globals", "f_locals",
    )
)  # fmt: skip
_KINDS = {name: name for name in ("int", "float", "bool", "str", "list", "dict")} | {
    "List": "list", "Dict": "dict", "tuple": "list", "Tuple": "list", "set": "list",
}  # fmt: skip
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def describe(udf: dict[str, Any]) -> dict[str, Any]:
    """``{"tree", "sees_caller", "parameters", "rest", "cache_max_age", "stale_while_revalidate",
    "cache_errors"}``, or an error.
    """
    text: str = udf["code"]
    headers = udf.get("headers") or []
    if len(text) + sum(len(header["source_code"]) for header in headers) > TEXT_CHARACTERS_MAX:
        return _as_it_is(text, headers)
    try:
        tree = _parse(text)
        modules = [(header["module_name"], _parse(header["source_code"])) for header in headers]
        entry = _entry(tree, udf.get("entrypoint") or "")
        stated = _caching(entry) if entry is not None else {}
        digest = hashlib.blake2b(digest_size=32)
        _add(digest, "tree 1")
        _add(digest, _dump(tree, entry))
        for name, module in modules:
            _add(digest, name)
            _add(digest, ast.dump(module, annotate_fields=False))
        described: dict[str, Any] = {
            "tree": digest.hexdigest(),
            "sees_caller": any(
                "context" in _mentioned([module], strings=False) for module in (tree, *(m for _, m in modules))
            ),
            **stated,
        }
        if entry is not None:
            described |= _signature(tree, entry)
        return described
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def _add(digest: Any, part: str) -> None:
    data = part.encode("utf-8", "surrogatepass")
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _as_it_is(text: str, headers: list[dict[str, Any]]) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=32)
    _add(digest, "text 1")
    _add(digest, text)
    for header in headers:
        _add(digest, header["module_name"])
        _add(digest, header["source_code"])
    return {"tree": digest.hexdigest(), "sees_caller": "context" in text or bool(headers)}


# --- which function ------------------------------------------------------------------------------------------------


def _entry(tree: ast.Module, entrypoint: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function that will run, where the text leaves no doubt."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    marked = [node for node in functions if any(_is_udf(decorator) for decorator in node.decorator_list)]
    for name in (entrypoint, "udf"):
        named = [node for node in functions if name and node.name == name]
        if named:
            return named[-1]
    for several in (marked, functions):
        if len(several) == 1:
            return several[0]
        if several:
            return None
    return None


def _is_udf(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return (isinstance(decorator, ast.Attribute) and decorator.attr == "udf") or (
        isinstance(decorator, ast.Name) and decorator.id == "udf"
    )


def _caching(entry: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, int]:
    """What the decorator says about caching, taken out of it."""
    stated: dict[str, int] = {}
    for decorator in entry.decorator_list:
        if not (isinstance(decorator, ast.Call) and _is_udf(decorator)):
            continue
        kept = []
        for keyword in decorator.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
            if keyword.arg not in CACHING or (value is not None and not isinstance(value, str | int)):
                kept.append(keyword)
            elif value is not None:
                stated[keyword.arg] = parse_duration(value, keyword.arg)
        decorator.keywords = kept
    # @fused.udf() and @fused.udf are one.
    entry.decorator_list = [
        decorator.func
        if isinstance(decorator, ast.Call) and _is_udf(decorator) and not decorator.args and not decorator.keywords
        else decorator
        for decorator in entry.decorator_list
    ]
    return stated


# --- what can run --------------------------------------------------------------------------------------------------


def _mentioned(nodes: Iterable[ast.AST], strings: bool = True) -> set[str]:
    """Every name that stands in the nodes, also as an attribute, in an import or (``strings``) in a text."""
    names: set[str] = set()
    for top in nodes:
        for node in ast.walk(top):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.arg(arg=name):
                    names.add(name)
                case ast.alias(name=name, asname=other):
                    names.update(name.split("."))
                    names.add(other or "")
                case ast.ImportFrom(module=str(name)):
                    names.update(name.split("."))
                case ast.Constant(value=str(text)) if strings:
                    names.update(re.findall(r"\w+", text))
                case ast.Global(names=several) | ast.Nonlocal(names=several):
                    names.update(several)
    return names


def _dump(tree: ast.Module, entry: ast.AST | None) -> str:
    """The text of the tree, without top-level definitions that nothing which runs can reach."""
    kept = tree.body if entry is None else _reachable(tree, entry)
    return "\n".join(ast.dump(node, annotate_fields=False) for node in kept)


def _reachable(tree: ast.Module, entry: ast.AST) -> list[ast.stmt]:
    loose = [node for node in tree.body if isinstance(node, _DEFINITIONS) and node is not entry and _is_quiet(node)]
    running = [node for node in tree.body if node not in loose]
    names = _mentioned(running)
    while True:
        if names & _LOOKUPS:
            return tree.body
        found = [node for node in loose if node.name in names]
        if not found:
            return [node for node in tree.body if node not in loose]
        loose = [node for node in loose if node not in found]
        names |= _mentioned(found)


def _is_quiet(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Does defining it do nothing else: no decorator but @fused.udf, plain defaults."""
    if not all(_is_udf(decorator) and not isinstance(decorator, ast.Call) for decorator in node.decorator_list):
        return False
    if isinstance(node, ast.ClassDef):
        return False
    values = [value for value in (*node.args.defaults, *node.args.kw_defaults) if value is not None]
    annotations = [arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg) and arg.annotation]
    return all(isinstance(value, ast.Constant) for value in values) and all(
        isinstance(annotation, ast.Name | ast.Constant) for annotation in annotations
    )


# --- parameters ----------------------------------------------------------------------------------------------------


def _signature(tree: ast.Module, entry: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any]:
    rebound = _bound(tree)
    plain = not any(not _is_udf(decorator) for decorator in entry.decorator_list)  # others may change the signature
    arguments = entry.args

    def kind(argument: ast.arg) -> str:
        return _kind(argument.annotation, rebound) if plain else "other"

    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return {
        "parameters": [[argument.arg, kind(argument)] for argument in every],
        "rest": None if arguments.kwarg is None else kind(arguments.kwarg),
    }


def _bound(tree: ast.Module) -> set[str]:
    """Names that the module gives a meaning of its own, but for what typing calls so."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ImportFrom(module="typing", names=aliases):
                names.update(alias.asname for alias in aliases if alias.asname)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update((alias.asname or alias.name).split(".")[0] for alias in aliases)
                if any(alias.name == "*" for alias in aliases):
                    names |= _KINDS.keys() | {"Optional"}
    return names


def _kind(annotation: ast.expr | None, rebound: set[str]) -> str:
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return _kind(ast.parse(text, mode="eval").body, rebound)
            except SyntaxError:
                return "other"
        case ast.Name(id=name) if name in _KINDS and name not in rebound:
            return _KINDS[name]
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner) if "Optional" not in rebound:
            return _optional(_kind(inner, rebound))
        case ast.Subscript(value=ast.Name(id=name)) if name in _KINDS and name not in rebound:
            return _KINDS[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _optional(_kind(left, rebound))
        case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=right):
            return _optional(_kind(right, rebound))
    return "other"


def _optional(kind: str) -> str:
    return kind if kind == "other" or kind.endswith("?") else kind + "?"
