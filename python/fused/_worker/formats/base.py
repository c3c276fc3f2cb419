"""What every family of formats shares: the result type, the errors, the names and content types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

RESULT_BYTES_MAX = 512 << 20


class NotSerialisable(Exception):
    """The value is of a type that no format can carry; the message names the type."""


class ResultTooLarge(NotSerialisable):
    """The text of the value grows beyond ``bytes_max``; the rest of it was not written."""


class NoFormat(Exception):
    """No requested format can carry the value, others can: ``possible`` names them."""

    def __init__(self, message: str, possible: list[str]) -> None:
        super().__init__(message)
        self.possible = possible


class Unsuited(Exception):
    """This format cannot carry this very value; the next one in the list may. The message says why."""


class ColumnUnsuited(Unsuited):
    """The format suits the value's type, but not what one column holds: a later format would hide that."""


@dataclass(slots=True)
class Encoded:
    """A value as bytes. ``rows`` and ``schema`` describe tables and arrays; ``note`` tells what the format changed."""

    content_type: str
    format: str
    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    rows: int | None = None
    schema: str | None = None
    note: str | None = None


@dataclass(slots=True)
class Request:
    """What the caller asked for, as far as an encoder may care."""

    formats: list[str]
    tile: tuple[int, int, int] | None = None
    async_client: bool = False
    bytes_max: int = RESULT_BYTES_MAX
    depth: int = 0  # members of a zip are 1 deeper
    for_client: bool = False  # read back by a client even though one format is named: keep the array's own layout

    @property
    def is_preference_list(self) -> bool:
        return len(self.formats) != 1


CONTENT_TYPES: dict[str, str] = {
    "parquet": "application/octet-stream",  # what the official client takes for Parquet
    "feather": "application/vnd.apache.arrow.file",
    "json": "application/json",  # exactly this: the official client compares the whole header
    "geojson": "application/geo+json",
    "csv": "text/csv; charset=utf-8",
    "mvt": "application/vnd.mapbox-vector-tile",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "html": "text/html; charset=utf-8",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "apng": "image/apng",
    "svg": "image/svg+xml",
    "tiff": "image/tiff",
    "npy": "application/x-numpy-data",
    "zip": "application/zip",
    "txt": "text/plain; charset=utf-8",
    "bin": "application/octet-stream",
}

_ALIASES = {
    "arrow": "feather",
    "ipc": "feather",
    "pq": "parquet",
    "geoparquet": "parquet",
    "excel": "xlsx",
    "xls": "xlsx",
    "jpg": "jpeg",
    "tif": "tiff",
    "geotiff": "tiff",
    "pbf": "mvt",
    "htm": "html",
    "numpy": "npy",
    "text": "txt",
}


def canonical(name: str) -> str:
    """``JPG`` → ``jpeg``; names that are no format come back in lower case."""
    if name in CONTENT_TYPES:
        return name
    lower = name.strip().lower().lstrip(".")
    return _ALIASES.get(lower, lower)


_Answer = TypeVar("_Answer")
_LIBRARIES = frozenset(
    {
        "PIL",
        "altair",
        "builtins",
        "collections",
        "datetime",
        "decimal",
        "fastapi",
        "folium",
        "geopandas",
        "io",
        "matplotlib",
        "numpy",
        "pandas",
        "plotly",
        "polars",
        "pyarrow",
        "pydeck",
        "shapely",
        "starlette",
        "uuid",
        "xarray",
    }
)


def remembered_by_type(ask: Callable[[type], _Answer]) -> Callable[[type], _Answer]:
    """Asks once a type of a library; the function's own types each time, for keeping one would keep it alive."""
    known: dict[type, _Answer] = {}

    def answer(kind: type) -> _Answer:
        if kind in known:
            return known[kind]
        found = ask(kind)
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            known[kind] = found
        return found

    return answer


def type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
