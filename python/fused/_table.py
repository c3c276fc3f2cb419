"""Reading tables: the chunk list, one chunk, or what lies in a box. No server is needed; ``fused._native`` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from fused._table_frames import to_frame

if TYPE_CHECKING:
    import geopandas as gpd

_ERRORS: dict[str, type[Exception]] = {
    "not_found": FileNotFoundError,
    "forbidden": PermissionError,
    "unavailable": OSError,
    "conflict": RuntimeError,
    "internal": RuntimeError,
}


def native(name: str, *arguments: Any) -> Any:
    """Calls the C++ core; its errors as the Python errors that fit them."""
    from fused import _native

    try:
        return getattr(_native, name)(*arguments)
    except _native.EncodeError as error:
        kind, message = error.args
        raise _ERRORS.get(kind, ValueError)(message) from None


def _url(url: str | os.PathLike[str]) -> str:
    if not isinstance(url, str | os.PathLike):
        raise TypeError(f"url is the folder of a table or an s3:// URL, not {type(url).__name__}")
    return os.path.expanduser(os.fspath(url))


def _names(columns: Iterable[str] | None) -> list[str]:
    if columns is None:
        return []
    if isinstance(columns, str):
        raise TypeError(f"columns is a list of names; write [{columns!r}]")
    names = list(columns)
    if not names:
        raise ValueError("columns is empty; name at least one, or leave it out for all")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"columns is a list of names, and {wrong[0]!r} is none")
    return names


def _where(where: Sequence[Any] | str | None) -> str:
    if where is None:
        return ""
    if isinstance(where, str):
        return where

    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            return list(value)
        if hasattr(value, "item"):  # numpy's scalars
            return value.item()
        if hasattr(value, "isoformat"):
            return value.isoformat()
        raise TypeError(f"a value of `where` is a number, a text, a date or true/false, not {type(value).__name__}")

    return json.dumps(list(where), default=plain)


def _bounds(bounds: Any) -> list[float] | None:
    """Four numbers, or anything that has bounds: a shapely geometry, a GeoDataFrame in any CRS."""
    if bounds is None:
        return None
    if hasattr(bounds, "total_bounds"):
        bounds = bounds.to_crs("EPSG:4326").total_bounds if getattr(bounds, "crs", None) else bounds.total_bounds
    elif hasattr(bounds, "bounds") and hasattr(bounds, "geom_type"):
        bounds = bounds.bounds
    try:
        numbers = [float(number) for number in bounds]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4:
        raise ValueError(f"bounds are four numbers (west, south, east, north) in degrees, not {bounds!r:.120}")
    return numbers


def get_chunks_metadata(url: str) -> gpd.GeoDataFrame:
    """Returns a GeoDataFrame with each chunk in the table as a row.

    Its columns are those of the table's ``_sample``: ``file_id``, ``chunk_id``, the box (``bbox_minx`` …), sums and
    counts, and ``geometry``, the box as a polygon in EPSG:4326.

    Args:
        url: URL of the table: a folder, ``file://`` or ``s3://``; ``/_sample`` or ``/_metadata`` at its end is dropped.
    """
    import geopandas as gpd
    import pyarrow as pa
    import shapely

    frame = pa.table(native("table_chunks", _url(url))).to_pandas()
    sides = ("bbox_minx", "bbox_miny", "bbox_maxx", "bbox_maxy")
    if missing := [side for side in sides if side not in frame.columns]:
        raise ValueError(f"the chunk list of {url} has no column {missing[0]!r}; it has {', '.join(frame.columns)}")
    boxes = shapely.box(*(frame[side].to_numpy(dtype="float64") for side in sides))
    boxes[frame[list(sides)].isna().any(axis=1).to_numpy()] = None  # a chunk without geometry
    return gpd.GeoDataFrame(frame, geometry=boxes, crs="EPSG:4326")


def get_chunk_from_table(
    url: str, file_id: str | int | None, chunk_id: int | None, columns: Iterable[str] | None = None
) -> gpd.GeoDataFrame:
    """Returns a chunk from a table and chunk coordinates.

    This can be called with file_id and chunk_id from `get_chunks_metadata`.

    Args:
        url: URL of the table.
        file_id: File ID to read. None: ``url`` is itself a Parquet file.
        chunk_id: Chunk ID to read. None: the whole file.
        columns: Read only the specified columns. Without a geometry among them the result is a plain DataFrame.
    """
    file = None if file_id is None else str(file_id)
    chunk = None if chunk_id is None else int(chunk_id)
    return to_frame(native("table_read_chunk", _url(url), file, chunk, _names(columns)))


def read_table(
    url: str,
    bounds: Any = None,
    columns: Iterable[str] | None = None,
    where: Sequence[Any] | None = None,
    *,
    as_: Literal["geopandas", "pyarrow", "polars"] = "geopandas",
    rows_max: int | None = None,
) -> Any:
    """Rows of a table that lie in a box: only the files, chunks and pages that can hold such are read.

    ::

        fused.read_table("s3://bucket/buildings", bounds=(8.5, 47.3, 8.6, 47.4), where=[("height", ">", 20)])

    Args:
        url: URL of the table.
        bounds: ``(west, south, east, north)`` in degrees, a geometry or a GeoDataFrame (its box counts). Rows whose
            geometry has a point in common with the box are given. West greater than east is a box over the
            antimeridian. None: all rows.
        columns: Only these, in this order. None: all but the bounding box column.
        where: A list of ``(column, op, value)``, all of which must hold, or a list of such lists, of which one must.
            Operators: ``= != < <= > >= in``, ``not in``, ``is null``, ``is not null``.
        as_: "geopandas" (a plain DataFrame when no geometry is among the columns), "pyarrow" or "polars" (geometries
            are then WKB).
        rows_max: More rows than this are an error.
    """
    if as_ not in ("geopandas", "pyarrow", "polars"):
        raise ValueError(f"as_ is 'geopandas', 'pyarrow' or 'polars', not {as_!r}")
    limit = -1 if rows_max is None else int(rows_max)
    table = native("table_read", _url(url), _bounds(bounds), _names(columns), _where(where), limit)
    if as_ == "geopandas":
        return to_frame(table)
    import pyarrow as pa

    if as_ == "pyarrow":
        return pa.table(table)
    import polars

    return polars.from_arrow(pa.table(table))
