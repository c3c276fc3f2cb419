"""Names in preloaded modules, their main classes and dictionaries of settings: seen when changed, and put back."""

from __future__ import annotations

import builtins
import gc
import logging
import os
import sys
import sysconfig
import types
from collections.abc import Callable
from typing import Any

from fused import _native

from .code import MODULE_PREFIX

# Roots whose modules are watched with their classes; of everything else that is loaded only the modules.
CLASSES_OF = frozenset({
    "fused", "geopandas", "pandas", "pyarrow", "pyogrio", "pyproj", "shapely", "xarray", "rasterio", "PIL", "numpy",
    "collections", "contextlib", "datetime", "decimal", "io", "json", "logging", "pathlib", "pickle", "random",
    "socket",
    "subprocess", "tempfile", "threading", "traceback", "urllib", "uuid", "warnings",
})  # fmt: skip
# Public state that libraries fill by themselves is left; this is a user's choice although its name looks private.
_CHOICES = {("asyncio.events", "_event_loop_policy"), ("json", "_default_encoder"), ("json", "_default_decoder")}
_PRIMITIVE = (type(None), bool, int, float, str, bytes, tuple, frozenset)
_NEVER = frozenset({"__builtins__", "__cached__", "__doc__", "__spec__", "__loader__"})
_MISSING = object()
_NEEDED = (
    "builtins",
    "json",
    "json.encoder",
    "json.decoder",
    "socket",
    "struct",
    "traceback",
    "linecache",
    "contextlib",
    "threading",
)


def trusted_folders() -> tuple[str, ...]:
    """Where modules lie that are the same for every run: the interpreter's and the environment's folders."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.add(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    paths.update((sys.prefix, sys.base_prefix))
    return tuple(path.rstrip("/") + "/" for path in paths if path)


class Names:
    """Everything that is watched, each with a copy of what it was."""

    def __init__(self) -> None:
        self._watched = _native.WatchedDicts()
        self._owners: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []  # owner, dictionary, copy
        self._seen: set[int] = set()
        self._folders = trusted_folders()
        self._modules_at = -1
        self._early = _native.WatchedDicts()
        self._early_at: list[int] = []
        self._early_changed: Callable[[], list[int]] = self._early.changed
        self.changed: Callable[[], list[int]] = self._watched.changed

    def take(self) -> None:
        """What is now is clean; modules that are new are watched from now on."""
        if self._modules_at < 0:
            self._watch(builtins, vars(builtins))  # the first to be put back: the rest needs it
            self._modules_at = self._watch(sys.modules, sys.modules)
            self._watch(os.environ, os.environ._data)  # type: ignore[attr-defined]
            for tree in _option_trees():
                self._watch(None, tree)
            for name, module in list(sys.modules.items()):
                if isinstance(module, types.ModuleType):
                    self._watch_module(name, module)
        for index in self._watched.changed():
            if index != self._modules_at:
                self._rebase(index)
        self._take_modules()

    def _take_modules(self) -> None:
        """New modules are watched. No look at the old ones: in a new worker each would cost a page of memory."""
        _, modules, copy = self._owners[self._modules_at]
        for name in _native.differing_keys(modules, copy):
            if name in copy or name.startswith(MODULE_PREFIX):
                continue
            module = copy[name] = modules[name]
            if isinstance(module, types.ModuleType):
                self._watch_module(name, module)
        self._watched.rebase(self._modules_at)

    def watch_loggers(self, attributes: list[dict[str, Any]]) -> None:
        """The attributes of loggers are put back like any dictionary of settings."""
        for found in attributes:
            if id(found) not in self._seen:
                self._watch(None, found)

    def _watch(self, owner: Any, found: dict[str, Any]) -> int:
        self._seen.add(id(found))
        self._owners.append((owner, found, dict(found)))
        index = int(self._watched.watch(found))
        if _is_needed_by_us(owner):
            self._early.watch(found)
            self._early_at.append(index)
        return index

    def _watch_module(self, name: str, module: types.ModuleType) -> None:
        names = module.__dict__
        if type(names) is not dict or id(names) in self._seen:
            return
        self._watch(module, names)
        if name.partition(".")[0] not in CLASSES_OF:
            return
        for value in list(names.values()):
            if isinstance(value, type) and value.__module__ == name and value.__flags__ & 1 << 9:  # a heap type
                inner = gc.get_referents(value.__dict__)[0]
                if type(inner) is dict and id(inner) not in self._seen:
                    self._watch(value, inner)

    def _rebase(self, index: int) -> None:
        _, found, copy = self._owners[index]
        for key in _native.differing_keys(found, copy):
            if key in found:
                copy[key] = found[key]
            else:
                del copy[key]
        self._watched.rebase(index)

    def accept(self, module: types.ModuleType) -> None:
        """What this module holds now is clean."""
        for index, (owner, _, _) in enumerate(self._owners):
            if owner is module:
                self._rebase(index)

    def restore_early(self) -> None:
        """When the function has returned: what encoding and sending its result stand on is put back at once."""
        for early in self._early_changed():
            index = self._early_at[early]
            owner, found, copy = self._owners[index]
            if owner is builtins:
                found.update(copy)
            elif isinstance(owner, type):
                _restore_class(owner, found, copy)
            else:
                _restore_module(owner, found, copy)
            self._early.rebase(early)
            # Left for restore() as well: it looks again, and takes down what may stay.

    def restore(self) -> list[str]:
        """Puts back what was changed; gives the names of what could not be."""
        changed = self._watched.changed()
        failed: list[str] = []
        for index in changed:
            owner, found, copy = self._owners[index]
            if index == self._modules_at:
                self._restore_modules(found, copy)
                self._take_modules()
                continue
            if owner is os.environ:
                self._restore_environment(copy)
            elif owner is None:
                found.clear()
                found.update(copy)
                logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]
            elif isinstance(owner, type):
                failed += _restore_class(owner, found, copy)
            else:
                _restore_module(owner, found, copy)
            self._rebase(index)
        return failed

    def _restore_environment(self, copy: dict[bytes, bytes]) -> None:
        data = os.environ._data  # type: ignore[attr-defined]
        for name in list(data):
            if name not in copy:
                os.unsetenv(name)
        for name, value in copy.items():
            if data.get(name) != value:
                os.putenv(name, value)
        data.clear()
        data.update(copy)

    def _restore_modules(self, modules: dict[str, Any], copy: dict[str, Any]) -> None:
        for name in _native.differing_keys(modules, copy):
            if name in copy:
                modules[name] = copy[name]
            elif not name.startswith(MODULE_PREFIX) and not (
                _is_own_name(name, modules) and self.is_trusted(modules[name])
            ):
                del modules[name]

    def is_trusted(self, module: Any) -> bool:
        """Does the module come from the environment: then it may stay. One from /mount is read anew in the next run."""
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None) or getattr(module, "__file__", None)
        if origin in ("built-in", "frozen"):
            return True
        if not isinstance(origin, str):
            paths = list(getattr(spec, "submodule_search_locations", None) or ())
            return bool(paths) and all(self.is_trusted_path(str(path) + "/") for path in paths)
        # A C extension cannot be loaded twice, and an environment elsewhere is an environment all the same.
        return self.is_trusted_path(origin) or origin.endswith(".so")

    def is_trusted_path(self, path: str) -> bool:
        """Lies this file in the interpreter's or an environment's folders."""
        return path.startswith(self._folders) or "/site-packages/" in path or "/dist-packages/" in path


def _is_own_name(name: str, modules: dict[str, Any]) -> bool:
    """Libraries give their modules other names beneath their own; a new name at the top is a function's."""
    root = name.partition(".")[0]
    return getattr(modules.get(root), "__name__", root) == root


_prepared: Names | None = None


def prepare() -> None:
    """In the zygote: takes everything down once, for all workers; it would be most of what a new worker does."""
    global _prepared
    _prepared = Names()
    _prepared.take()


def prepared() -> Names:
    """What the zygote took down, which this process alone goes on with; anew where it did not."""
    return _prepared or Names()


def _is_needed_by_us(owner: Any) -> bool:
    name = owner.__module__ if isinstance(owner, type) else getattr(owner, "__name__", "")
    return owner is not sys.modules and (name in _NEEDED or name == "fused" or str(name).startswith("fused."))


def _restore_module(module: types.ModuleType, names: dict[str, Any], copy: dict[str, Any]) -> None:
    for name in _native.differing_keys(names, copy):
        if name not in copy:
            if not _may_stay(module, name, names[name]):
                del names[name]
        elif name not in _NEVER and (name not in names or _must_be_put_back(module.__name__, name, copy[name])):
            names[name] = copy[name]


def _must_be_put_back(module: str, name: str, old: Any) -> bool:
    if (module, name) in _CHOICES:
        return True
    # Private plain values are a library's own bookkeeping: counters, "is initialised".
    return not (name.startswith("_") and isinstance(old, _PRIMITIVE))


def _may_stay(module: types.ModuleType, name: str, value: Any) -> bool:
    if name == "__warningregistry__":
        return False  # so that the next run sees its warnings too
    if isinstance(value, types.ModuleType):
        return sys.modules.get(f"{module.__name__}.{name}") is value  # a submodule that was imported
    if name.startswith("__") and name.endswith("__"):
        return True
    if module is builtins:
        return name == "_"
    root = module.__name__.partition(".")[0]  # found by the module's own __getattr__ and kept
    return "__getattr__" in module.__dict__ and str(getattr(value, "__module__", None)).partition(".")[0] == root


def _restore_class(owner: type, names: dict[str, Any], copy: dict[str, Any]) -> list[str]:
    failed = []
    for name in _native.differing_keys(names, copy):
        if name in ("__abstractmethods__", "_abc_impl", "__doc__"):
            continue
        old = copy.get(name, _MISSING)
        try:
            if old is _MISSING:
                delattr(owner, name)
            else:
                type.__setattr__(owner, name, old)
        except (TypeError, AttributeError):
            failed.append(f"{owner.__module__}.{owner.__qualname__}.{name}")
    return failed


def _option_trees() -> list[dict[str, Any]]:
    """Dictionaries of settings that are changed in place: pandas' and geopandas' options, xarray's."""
    found: list[dict[str, Any]] = []

    def walk(tree: Any) -> None:
        if type(tree) is dict:
            found.append(tree)
            for value in tree.values():
                walk(value)

    for module, name in (("pandas._config.config", "_global_config"), ("xarray.core.options", "OPTIONS")):
        walk(getattr(sys.modules.get(module), name, None))
    options = getattr(sys.modules.get("geopandas"), "options", None)
    walk(getattr(options, "_config", None) or (vars(options).get("_options") if options is not None else None))
    return found
