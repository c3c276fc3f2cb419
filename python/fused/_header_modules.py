"""Headers as importable modules while a function runs in this process."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from fused.models.header import Header

_one_at_a_time = threading.RLock()  # sys.modules is the process's: two runs may have headers of one name


class _HeaderFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = {header.module_name: header for header in headers}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._headers:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        import fused

        header = self._headers[module.__name__]
        filename = f"<header {header.module_name}>"
        source = header.source_code
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        module.__dict__.setdefault("fused", fused)
        exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)


@contextmanager
def importable(headers: Sequence[Header]) -> Iterator[None]:
    """Inside, ``import my_header`` finds the header; afterwards everything is as it was.

    Runs with headers wait for each other when several threads run functions locally.
    """
    if not headers:
        yield
        return
    names = {header.module_name for header in headers}
    with _one_at_a_time:
        hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        finder = _HeaderFinder(headers)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(hidden)
