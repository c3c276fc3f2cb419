"""The function's part of a key: its own code and what that reaches.

In it: bytecode, constants and defaults (not comments, layout, docstring, annotations, file names or line numbers) of
the function and of every function, method and class of the user's own modules that it names, also through modules
(``utils.area``) and imports inside functions; variables that hold numbers, text and other unchangeable values; arrays,
tables and geometries; lists, dictionaries and sets of at most a thousand such values where the code only reads them.
Of installed packages: name and version. Not in it: variables that the code assigns, containers that it changes or
hands on, and other objects.

What was found is remembered with the objects it was found in, so that a call costs one comparison for each name.
"""

from __future__ import annotations

import contextlib
import dis
import enum
import functools
import os
import re
import sys
import sysconfig
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import Any

from fused._cache.content import Parts, digest_of, encode, type_name
from fused._cache.errors import Unhashable

_MISSING = object()
_CONSTANTS = (
    type(None), bool, int, float, complex, str, bytes, date, datetime, time, timedelta, range, PurePath, enum.Enum,
    re.Pattern, types.CodeType, type(...),
)  # fmt: skip
_CONTAINERS = (list, dict, set)
_PYTHON = f"python {sys.version_info.major}.{sys.version_info.minor}"
KNOWN_MAX = 256
LIVE_ITEMS_MAX = 1000
_known: OrderedDict[int, Reached] = OrderedDict()


class Reached:
    """A function or class with all it reaches; ``digest()`` is new when something of that was replaced."""

    __slots__ = ("_digest", "_live", "_root", "_watched")

    def __init__(self, root: Any) -> None:
        self._root = root
        self._digest = b""
        self._watched: list[tuple[Callable[[Any, Any], Any], Any, Any]] = []
        self._live: list[tuple[Callable[[Any, Any], Any], Any]] = []

    def digest(self) -> bytes:
        for get, name, value in self._watched:
            if get(name, _MISSING) is not value:
                self._digest = b""
                break
        if not self._digest:
            walk = _Walk()
            walk.start(self._root)
            self._digest, self._watched, self._live = walk.end()
        if not self._live:
            return self._digest
        out = Parts()
        out.data(b"f", self._digest)
        for get, name in self._live:
            _encode_live(get(name, None), out)
        return out.digest()


def reach(root: Any) -> Reached:
    """Of a function or class that came as a value; those of the last ``KNOWN_MAX`` are remembered."""
    found = _known.get(id(root))
    if found is None:
        found = _known[id(root)] = Reached(root)  # holds root, so that its id is not given to another
        while len(_known) > KNOWN_MAX:
            with contextlib.suppress(KeyError):  # another thread was faster
                _known.popitem(last=False)
    return found


def class_digest(of: type) -> bytes:
    """Name alone for installed classes; for the user's own ones their methods and attributes."""
    return reach(of).digest() if _is_own_class(of) else b""


def encode_code(code: types.CodeType, out: Parts, depth: int = 0, docstring: str | None = None) -> None:
    """What a code object does, without where it stands."""
    constants = list(code.co_consts)
    if docstring is not None and constants and constants[0] == docstring:
        constants[0] = None
    encode(
        (
            code.co_name, code.co_code, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
            code.co_flags, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, constants,
        ),
        out, depth + 1,
    )  # fmt: skip


def _encode_live(value: Any, out: Parts) -> None:
    if isinstance(value, _CONTAINERS) and not _is_small_and_plain(value, [LIVE_ITEMS_MAX]):
        out.text(b"-", type_name(type(value)))
        return
    try:
        inner = Parts()
        encode(value, inner)
        out.data(b"+", inner.digest())
    except Unhashable:
        out.text(b"-", type_name(type(value)))


class _Walk:
    """From one function to everything it names."""

    def __init__(self) -> None:
        self.out = Parts()
        self.out.text(b"V", _PYTHON)
        self.watched: list[tuple[Callable[[Any, Any], Any], Any, Any]] = []
        self.values: dict[tuple[int, str], tuple[Callable[[Any, Any], Any], str, Any]] = {}
        self.assigned: set[tuple[int, str]] = set()
        self.changed: set[tuple[int, str]] = set()
        self.seen: set[int] = set()
        self.keep: list[Any] = []

    def start(self, root: Any) -> None:
        if isinstance(root, type):
            self.a_class(root)
        else:
            self.function(root)

    def end(self) -> tuple[bytes, list[Any], list[Any]]:
        """Variables last: only now is it known which of them the code assigns or changes."""
        live = []
        watched = list(self.watched)
        for where, (get, name, value) in self.values.items():
            if where in self.assigned:
                self.out.text(b"=", name)
                continue
            watched.append((get, name, value))
            self.out.text(b"?", name)
            if _is_constant(value):
                encode(value, self.out)
            elif _is_data(value) or (isinstance(value, _CONTAINERS) and where not in self.changed):
                live.append((get, name))
            else:
                self.out.text(b"-", type_name(type(value)))
        return self.out.digest(), watched, live

    def function(self, fn: types.FunctionType) -> None:
        if id(fn) in self.seen:
            self.out.text(b"~", fn.__qualname__)
            return
        self.seen.add(id(fn))
        self.keep.append(fn)
        encode_code(fn.__code__, self.out, docstring=fn.__doc__)
        self.watched.append((_code_of, fn, fn.__code__))
        for default in (*(fn.__defaults__ or ()), *sorted((fn.__kwdefaults__ or {}).items())):
            _encode_live(default, self.out)
        holder = fn.__globals__
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
        names = _names(fn.__code__)
        self.assigned |= {(id(holder), name) for name in names.assigned_globals}
        self.assigned |= {(id(cells[name]), name) for name in names.assigned_free if name in cells}
        readable = [holder.get(name) for name in names.read] + [_cell_value(cell) for cell in cells.values()]
        changed = _changed_names(fn) if any(isinstance(value, _CONTAINERS) for value in readable) else frozenset()
        self.changed |= {(id(cells.get(name, holder)), name) for name in changed}
        if changed is _ALL:
            self.changed |= {(id(cells.get(name, holder)), name) for name in (*names.read, *cells)}
        for name, cell in cells.items():
            self.reached(_CellReader(cell), name, _cell_value(cell), id(cell), ())
        for name, attributes in names.read.items():
            if name not in holder and not name.isidentifier():
                continue
            value = holder.get(name, _MISSING)
            if value is not _MISSING:
                self.reached(holder.get, name, value, id(holder), attributes)
        for name in names.imported:
            self.imported(name)
        inner = getattr(fn, "__wrapped__", None)
        if isinstance(inner, types.FunctionType):
            self.function(inner)

    def reached(
        self, get: Callable[[Any, Any], Any], name: str, value: Any, holder: int, attributes: tuple[str, ...]
    ) -> None:
        if isinstance(value, types.ModuleType):
            self.watched.append((get, name, value))
            self.module(value, attributes)
            return
        target = value
        while not isinstance(target, types.FunctionType | type) and hasattr(target, "__wrapped__"):
            target = target.__wrapped__  # functools.lru_cache and other decorators
        if isinstance(value, types.MethodType):
            target = value.__func__
        if isinstance(target, types.FunctionType):
            self.watched.append((get, name, value))
            inner = getattr(target, "__wrapped__", None) if hasattr(target, "__fused_cache__") else None
            target = inner if isinstance(inner, types.FunctionType) else target
            if _is_own_file(target.__code__.co_filename):
                self.out.text(b">", name)
                self.function(target)
            else:
                self.out.text(b">", f"{target.__module__}.{target.__qualname__} {_version(target.__module__)}")
        elif isinstance(value, type):
            self.watched.append((get, name, value))
            self.out.text(b">", name)
            self.a_class(value)
        elif callable(value) and hasattr(value, "entrypoint") and hasattr(value, "code"):
            self.watched.append((get, name, value))
            _encode_live(value, self.out)
        else:
            self.values.setdefault((holder, name), (get, name, value))

    def module(self, module: types.ModuleType, attributes: tuple[str, ...]) -> None:
        self.out.text(b"M", module.__name__)
        if not _is_own_module(module):
            self.out.text(b"V", _version(module.__name__))
            return
        names = vars(module)
        for attribute in attributes:
            value = names.get(attribute, _MISSING)
            if value is not _MISSING:
                self.reached(names.get, attribute, value, id(names), ())
        if not attributes:
            self.source(module.__name__, module)

    def imported(self, name: str) -> None:
        """``import name`` inside the function: by the module's text, for it may not be loaded yet."""
        module = sys.modules.get(name)
        self.watched.append((sys.modules.get, name, _MISSING if module is None else module))
        self.out.text(b"I", name)
        if module is not None and not _is_own_module(module):
            self.out.text(b"V", _version(name))
        else:
            self.source(name, module)

    def source(self, name: str, module: types.ModuleType | None) -> None:
        from importlib.util import find_spec

        try:
            spec = module.__spec__ if module is not None else find_spec(name)
        except (ImportError, ValueError, AttributeError):
            spec = None
        if spec is None or (spec.origin and not _is_own_file(spec.origin)):
            return
        try:
            text = spec.loader.get_source(name)  # type: ignore[union-attr]
        except (AttributeError, ImportError, OSError):
            import linecache

            text = "".join(linecache.getlines(spec.origin or getattr(module, "__file__", None) or f"<header {name}>"))
        self.out.text(b"S", text or "")

    def a_class(self, of: type) -> None:
        self.out.text(b"C", type_name(of))
        if not _is_own_class(of):
            self.out.text(b"V", _version(of.__module__))
            return
        if id(of) in self.seen:
            return
        self.seen.add(id(of))
        self.keep.append(of)
        names = vars(of)
        for name in sorted(names):
            value = names[name]
            if name in ("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"):
                continue
            inner = getattr(value, "__func__", value)
            parts = (inner.fget, inner.fset) if isinstance(inner, property) else (inner,)
            for part in parts:
                if isinstance(part, types.FunctionType):
                    self.watched.append((names.get, name, value))
                    self.out.text(b">", name)
                    self.function(part)
                elif isinstance(part, type):
                    self.a_class(part)
                elif _is_constant(part):
                    self.out.text(b"?", name)
                    encode(part, self.out)
        for base in of.__bases__:
            self.a_class(base)


class _CellReader:
    """A closure's variable, read like a dictionary."""

    __slots__ = ("_cell",)

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def __call__(self, name: str, default: Any) -> Any:
        return _cell_value(self._cell)


def _cell_value(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _code_of(fn: types.FunctionType, default: Any) -> Any:
    return fn.__code__


def _is_constant(value: Any) -> bool:
    if isinstance(value, _CONSTANTS):
        return True
    if type(value) in (tuple, frozenset):
        return all(_is_constant(item) for item in value)
    root = type(value).__module__.partition(".")[0]
    return root in ("decimal", "fractions", "uuid", "shapely", "pyproj", "zoneinfo") or (
        root == "numpy" and hasattr(value, "dtype") and not hasattr(value, "__array_finalize__")
    )


def _is_small_and_plain(value: Any, budget: list[int]) -> bool:
    """Are there only constants in it, and few: it is looked at for every call."""
    if type(value) not in (list, dict, set, tuple):
        return _is_constant(value)
    budget[0] -= len(value)
    if budget[0] < 0:
        return False
    items = (*value, *value.values()) if isinstance(value, dict) else value
    return all(_is_small_and_plain(item, budget) for item in items)


def _is_data(value: Any) -> bool:
    root = type(value).__module__.partition(".")[0]
    return root in ("numpy", "pandas", "geopandas", "pyarrow", "xarray", "polars") and hasattr(value, "shape")


# --- what code names ------------------------------------------------------------------------------------------------


class _Names:
    def __init__(self) -> None:
        self.read: dict[str, tuple[str, ...]] = {}
        self.assigned_globals: set[str] = set()
        self.assigned_free: set[str] = set()
        self.imported: dict[str, None] = {}


@functools.lru_cache(maxsize=512)
def _names(code: types.CodeType) -> _Names:
    """Global names that the code (with the functions inside it) reads, with the attributes it asks of each."""
    found = _Names()
    for each in _with_inner(code):
        last = ""
        for step in dis.get_instructions(each):
            operation, name = step.opname, step.argval
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                found.read.setdefault(name, ())
                last = name
                continue
            if operation in ("LOAD_ATTR", "LOAD_METHOD") and last and name not in found.read[last]:
                found.read[last] = (*found.read[last], name)
            elif operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                found.assigned_globals.add(name)
            elif operation in ("STORE_DEREF", "DELETE_DEREF"):
                found.assigned_free.add(name)
            elif operation == "IMPORT_NAME" and name:
                found.imported[name] = None
            last = ""
    return found


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)


_ALL: frozenset[str] = frozenset({"*"})


def _changed_names(fn: types.FunctionType) -> frozenset[str]:
    """Names whose containers the code may change: ``_ALL`` where the source cannot be had."""
    from fused._cache.changed_names import changed_names

    return changed_names(fn, _ALL)


# --- whose code it is -----------------------------------------------------------------------------------------------


def _folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return tuple(os.path.join(path, "") for path in paths if path)


_INSTALLED = _folders()
_PACKAGES = re.compile(r"[/\\](site|dist)-packages[/\\]")


def _is_own_file(filename: str) -> bool:
    if filename.startswith("<frozen") or filename in ("built-in", "frozen"):
        return False
    return not filename.startswith(_INSTALLED) and _PACKAGES.search(filename) is None


def _is_own_module(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:
        spec = getattr(module, "__spec__", None)
        return spec is not None and spec.origin is None and not hasattr(module, "__path__")
    return _is_own_file(file)


def _is_own_class(of: type) -> bool:
    if of.__module__ == "builtins":
        return False
    module = sys.modules.get(of.__module__)
    return module is None or of.__module__ == "__main__" or _is_own_module(module)


def _version(module: str | None) -> str:
    found = sys.modules.get((module or "").partition(".")[0])
    version = getattr(found, "__version__", "")
    return version if isinstance(version, str) else ""


__all__ = ["Reached", "class_digest", "digest_of", "encode_code", "reach"]
