"""Which of the variables that a function reads hold containers that it may change, or hands to code that may.

``rates["a"]``, ``for x in names``, ``len(names)``, ``x in names`` only read. Anything else done with a name counts as a
change: ``seen.append(x)``, ``totals[k] = v``, ``work(names)``, ``return names``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types

_READERS = frozenset({
    "all", "any", "bool", "dict", "enumerate", "filter", "frozenset", "isinstance", "iter", "len", "list", "map", "max",
    "min", "print", "range", "repr", "reversed", "set", "sorted", "str", "sum", "tuple", "zip",
})  # fmt: skip
_READING_METHODS = frozenset({
    "copy", "count", "difference", "get", "index", "intersection", "issubset", "items", "keys", "union", "values",
})  # fmt: skip


def changed_names(fn: types.FunctionType, unknown: frozenset[str]) -> frozenset[str]:
    """The names, or ``unknown`` where the source cannot be had."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError, ValueError, IndentationError):
        return unknown
    parents: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            parents[child] = node
    return frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not _only_reads(node, parents)
    )


def _only_reads(node: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    above = parents.get(node)
    match above:
        case ast.Subscript(value=value, ctx=context) if value is node:
            return isinstance(context, ast.Load) and _element_only_read(above, parents)
        case ast.Attribute(value=value, attr=attr) if value is node:
            call = parents.get(above)
            return attr in _READING_METHODS and isinstance(call, ast.Call) and call.func is above
        case ast.Call(func=ast.Name(id=name)) if above.func is not node:
            return name in _READERS
        case ast.Call(func=func) if func is node:
            return True
        case ast.For(iter=found) | ast.comprehension(iter=found) if found is node:
            return True
        case (
            ast.Compare() | ast.If() | ast.While() | ast.BoolOp() | ast.UnaryOp() | ast.FormattedValue() | ast.Starred()
        ):
            return True
        case ast.BinOp():
            return True
    return False


def _element_only_read(node: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    """``rates["a"]`` may itself be a container: ``rates["a"].append(1)`` and ``rates["a"]["b"] = 1`` change it."""
    above = parents.get(node)
    match above:
        case ast.Subscript(value=value, ctx=context) if value is node:
            return isinstance(context, ast.Load) and _element_only_read(above, parents)
        case ast.Attribute(value=value, attr=attr) if value is node:
            return attr in _READING_METHODS or isinstance(parents.get(above), ast.BinOp)
    return True
