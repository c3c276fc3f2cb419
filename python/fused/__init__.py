"""``import fused``: write functions, run them here or on a server, save and share them.

::

    @fused.udf
    def hello(n: int = 1):
        return n + 1

    fused.run(hello, n=2)                   # on the server that options, environment or `fused login` name; else here
    fused.run(hello, n=2, engine="local")   # in this process

Nothing heavy is imported before it is needed, and what only talks to a server works without the native part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fused._version import __version__ as __version__

if TYPE_CHECKING:
    from fused import api as api
    from fused import context as context
    from fused import errors as errors
    from fused import models as models
    from fused import types as types
    from fused import warnings as warnings
    from fused._cache.decorator import cache as cache
    from fused._download import download as download
    from fused._file_path import file_path as file_path
    from fused._ingest.arguments import ingest as ingest
    from fused._ingest.plain import ingest_nongeospatial as ingest_nongeospatial
    from fused._load import load as load
    from fused._load import load_async as load_async
    from fused._options import options as options
    from fused._options import set_environment as _env  # noqa: F401
    from fused._replay import replay as replay
    from fused._run.run import run as run
    from fused._run.run import run_async as run_async
    from fused._submit.submit import submit as submit
    from fused._table import get_chunk_from_table as get_chunk_from_table
    from fused._table import get_chunks_metadata as get_chunks_metadata
    from fused._table import read_table as read_table
    from fused._udf import udf as udf

_MODULES = ("api", "context", "errors", "models", "types", "warnings")
_NAMES = {
    "_env": ("fused._options", "set_environment"),
    "cache": ("fused._cache.decorator", "cache"),
    "download": ("fused._download", "download"),
    "file_path": ("fused._file_path", "file_path"),
    "get_chunk_from_table": ("fused._table", "get_chunk_from_table"),
    "get_chunks_metadata": ("fused._table", "get_chunks_metadata"),
    "ingest": ("fused._ingest.arguments", "ingest"),
    "ingest_nongeospatial": ("fused._ingest.plain", "ingest_nongeospatial"),
    "load": ("fused._load", "load"),
    "load_async": ("fused._load", "load_async"),
    "options": ("fused._options", "options"),
    "read_table": ("fused._table", "read_table"),
    "replay": ("fused._replay", "replay"),
    "run": ("fused._run.run", "run"),
    "run_async": ("fused._run.run", "run_async"),
    "submit": ("fused._submit.submit", "submit"),
    "udf": ("fused._udf", "udf"),
}
__all__ = sorted([*_MODULES, *(name for name in _NAMES if not name.startswith("_")), "__version__"])


def __getattr__(name: str) -> Any:
    import importlib

    if name in _NAMES:
        module, attribute = _NAMES[name]
        value = getattr(importlib.import_module(module), attribute)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"fused.{name}")
    raise AttributeError(f"module 'fused' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
