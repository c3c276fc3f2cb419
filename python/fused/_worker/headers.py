"""Header modules of a function: importable while one of its runs lasts, gone after it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
import types
from typing import Any

from .code import InvalidCode, file_name, remember_lines

_COMPILED_MAX = 512


class HeaderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands first in ``sys.meta_path`` of a worker; finds nothing but the header modules of the run that goes on."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._hidden: dict[str, types.ModuleType] = {}
        self._compiled: dict[tuple[str, str], Any] = {}

    @staticmethod
    def check(headers: list[dict[str, Any]]) -> frozenset[str]:
        """The file names of the modules; InvalidCode where one has no name that can be imported."""
        for header in headers:
            name = header.get("module_name") or ""
            if not all(part.isidentifier() for part in name.split(".")) or not isinstance(
                header.get("source_code"), str
            ):
                raise InvalidCode(f"header module {name!r}: a module's name is an identifier, its source text")
        return frozenset(file_name(header["module_name"]) for header in headers)

    def begin(self, headers: list[dict[str, Any]]) -> None:
        """These modules can be imported from now on; each is executed anew for the run."""
        for header in headers:
            name = header["module_name"]
            self._now[name] = header["source_code"]
            if name in sys.modules:
                self._hidden[name] = sys.modules.pop(name)

    def end(self) -> None:
        """Takes the modules of the run away again."""
        for name in self._now:
            sys.modules.pop(name, None)
        sys.modules.update(self._hidden)
        self._now.clear()
        self._hidden.clear()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self._now:
            return None
        is_package = any(name.startswith(fullname + ".") for name in self._now)
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=file_name(fullname), is_package=is_package)
        spec.has_location = True
        return spec

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        text = self._now[name]
        filename = file_name(name)
        remember_lines(filename, text)
        code = self._compiled.get((name, text))
        if code is None:
            if len(self._compiled) >= _COMPILED_MAX:
                self._compiled.clear()
            code = self._compiled[name, text] = compile(text, filename, "exec", dont_inherit=True)
        module.__file__ = filename
        exec(code, module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """For ``inspect``."""
        return self._now.get(fullname)


def forget_lines(files: frozenset[str]) -> None:
    """The lines of a run's header modules are not needed after it."""
    for name in files:
        linecache.cache.pop(name, None)
