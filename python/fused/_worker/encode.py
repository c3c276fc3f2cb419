"""Value × requested formats → bytes. docs/reference/formats.md has the matrix; this file only chooses."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from .formats import archive, families, geometry, objects, rasters, tables, values
from .formats.base import (
    CONTENT_TYPES,
    RESULT_BYTES_MAX,
    ColumnUnsuited,
    Encoded,
    NoFormat,
    NotSerialisable,
    Request,
    ResultTooLarge,
    Unsuited,
    canonical,
    remembered_by_type,
    type_name,
)

__all__ = ["CONTENT_TYPES", "Encoded", "NoFormat", "NotSerialisable", "ResultTooLarge", "encode"]

_SIMPLE_FORMATS = ("json", "html", "txt")
# Where nobody asked for a format, the first of these that suits.
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "simple": ("json",),
    "text": ("html",),
    "table": ("parquet", "json"),
    "raster": ("png", "tiff", "npy", "json"),
    "page": ("html", "png", "svg"),
    "figure": ("png",),
    "mapping": ("zip",),
}
_OWN_FORM = frozenset({"page", "figure", "mapping"})  # these answer a preference list in their own format


def encode(
    value: Any,
    formats: list[str],
    *,
    tile: tuple[int, int, int] | None = None,
    dtype_out: dict[str, str] | None = None,
    async_client: bool = False,
    format_from: str = "default",
    bytes_max: int = RESULT_BYTES_MAX,
) -> Encoded:
    """``value`` in the first of ``formats`` that can carry it.

    Raises NotSerialisable (no format can carry such a value), NoFormat (others could) and ResultTooLarge.
    """
    if dtype_out:
        return _by_dtype(value, dtype_out, Request([], tile, async_client, bytes_max))
    names = [canonical(name) for name in formats]
    request = Request(names, tile, async_client, bytes_max)
    if format_from == "default":
        return _default(value, request)
    return _listed(value, request)


# --- what kind of value


@remembered_by_type
def _kind_of_type(kind: type) -> str | None:
    """None where the type alone does not tell."""
    if rasters.family(kind) is not None:  # first: an xarray Dataset is a Mapping too
        return "array"
    if kind in (dict, tuple) or issubclass(kind, Mapping | tuple):
        return None
    if kind is type(None):
        return "none"
    if issubclass(kind, str):
        return "text"
    if issubclass(kind, bytes | bytearray | memoryview | io.BytesIO):
        return "bytes"
    if families.family(kind) is not None:
        return "table"
    return objects.family(kind) or "simple"


def _kind(value: Any, depth: int = 0) -> str:
    kind = _kind_of_type(type(value))
    if kind is None:
        if isinstance(value, tuple):
            return "raster" if rasters.is_raster(value) else "simple"
        if depth > archive.DEPTH_MAX:  # JSON says what is wrong with it
            return "simple"
        return "mapping" if any(_needs_archive(item, depth + 1) for item in value.values()) else "simple"
    if kind == "array":
        if rasters.several_variables(value) is not None:
            return "mapping"
        return "raster" if getattr(value, "ndim", 1) or rasters.family(type(value)) != "numpy" else "simple"
    if kind in ("simple", "page") and objects.is_response(value):
        return "response"
    return kind


def _needs_archive(value: Any, depth: int) -> bool:
    """Does a dict with this member lose something as JSON."""
    kind = _kind(value, depth)
    return kind not in ("simple", "text", "none")


# --- choosing


def _listed(value: Any, request: Request, in_given_order: bool = False) -> Encoded:
    kind = _kind(value)
    if kind == "response":
        return objects.encode_response(value)
    if kind == "none":
        # JSON asked alone must be JSON; everything else reads an empty body as None.
        body = b"null" if request.formats == ["json"] else b""
        return Encoded(CONTENT_TYPES["json"], "json", body)
    prepared = _prepared(value, kind)
    names = request.formats if in_given_order else _in_order(prepared, kind, request)
    why: list[str] = []
    refused: set[str] = set()
    for name in names:
        try:
            return _encode_as(prepared, kind, name, request)
        except ColumnUnsuited as error:
            why = [str(error)]
            refused.update(tables.TYPED_FORMATS)
            break
        except Unsuited as error:
            why.append(str(error))
            refused.add(name)
    raise _no_format(value, prepared, kind, request, why, refused)


def _in_order(prepared: Any, kind: str, request: Request) -> list[str]:
    names = list(request.formats)
    if kind == "bytes" and request.is_preference_list:
        return objects.byte_preference(prepared, names)
    if kind == "raster" and request.is_preference_list:
        if request.async_client:
            names = [name for name in names if name not in ("npy", "tiff")]
        names.sort(key=lambda name: not rasters.is_lossless(prepared, name))
    if kind in _OWN_FORM and request.is_preference_list:
        names = [*_DEFAULTS[kind], *(name for name in names if name not in _DEFAULTS[kind])]
    return names


def _prepared(value: Any, kind: str) -> Any:
    if kind == "raster":
        return rasters.to_raster(value)
    if kind == "bytes":
        return objects.to_bytes(value)
    if kind == "mapping":
        return rasters.several_variables(value) or value
    return value


def _encode_as(prepared: Any, kind: str, name: str, request: Request) -> Encoded:
    if name not in CONTENT_TYPES:
        raise Unsuited(f"'{name}' is no format; formats are {', '.join(sorted(CONTENT_TYPES))}")
    if kind == "table":
        if name not in tables.GEO_FORMATS:
            raise Unsuited(f"a table has no {name}")
        return tables.encode(prepared, name, request)
    if kind == "raster":
        if name not in rasters.FORMATS:
            raise Unsuited(f"an array has no {name}")
        return rasters.encode(prepared, name, request)
    if kind == "text":
        return objects.encode_text(prepared, name, request)
    if kind == "bytes":
        return objects.encode_bytes(prepared, None if name == "bin" else name, request)
    if kind == "page":
        return objects.encode_page(prepared, name, request)
    if kind == "figure":
        if name not in objects.FIGURE_FORMATS:
            raise Unsuited(f"a figure has no {name}")
        return objects.encode_figure(prepared, name, request)
    if kind == "mapping" and name == "zip":
        return archive.encode(prepared, request, _listed)
    return _encode_simple(prepared, kind, name)


def _encode_simple(value: Any, kind: str, name: str) -> Encoded:
    if name == "json" or (name == "geojson" and objects.is_geojson(value)):
        body = values.dumps(value)
        return Encoded(CONTENT_TYPES[name], name, body, rows=len(value) if isinstance(value, list | tuple) else None)
    if kind == "simple" and name in ("html", "txt"):
        text = bytes(values.dumps(value)).decode()
        body = objects.escaped_page(text) if name == "html" else text.encode()
        return Encoded(CONTENT_TYPES[name], name, body)
    raise Unsuited(f"a {type_name(value)} has no {name}")


def _default(value: Any, request: Request) -> Encoded:
    """Nobody asked for a format: the server's list, unless the value has a form of its own."""
    kind = _kind(value)
    if kind in ("text", "page") or not request.formats:
        chosen = list(_DEFAULTS.get(kind, ("json",)))
        if kind == "table" and request.tile is not None and _has_geometry(value):
            chosen.insert(0, "mvt")
        if kind == "bytes":
            chosen = ["bin"]
        formats = [*chosen, *(name for name in request.formats if name not in chosen)]
        request = Request(formats, request.tile, request.async_client, request.bytes_max)
        return _listed(value, request, in_given_order=True)
    return _listed(value, request)


def _has_geometry(value: Any) -> bool:
    return families.family(type(value)) in ("geopandas", "shapely")


def _by_dtype(value: Any, dtype_out: dict[str, str], request: Request) -> Encoded:
    """The older client's question: one format for tables, one for arrays; nothing else does it read."""
    kind = _kind(value)
    request.for_client = True
    asked = {name: canonical(text) for name, text in dtype_out.items() if text}
    if kind in ("response", "none", "bytes"):
        request.formats = list(asked.values())
        return _listed(value, request)
    if kind in ("table", "raster", "figure"):
        name = asked.get("vector" if kind == "table" else "raster")
        request.formats = [name] if name else [*asked.values()]
        return _listed(value, request)
    wanted = next((name for name in ("json", "html", "zip") if name in asked.values()), None)
    if wanted is not None:
        request.formats = [wanted]
        try:
            return _listed(value, request)
        except NoFormat:
            pass
    if kind == "simple":
        values.dumps(value)  # what no format at all can carry is an error here too
    formats = ", ".join(dict.fromkeys(asked.values())) or "nothing"
    note = f"a {type_name(value)} is not a valid result for {formats}; nothing was sent (ask for json to get it)"
    return Encoded(CONTENT_TYPES["parquet"], "none", b"", note=note)


# --- refusing


def _possible(prepared: Any, kind: str, request: Request) -> list[str]:
    if kind == "table":
        return _table_formats(prepared, request)
    if kind == "raster":
        return rasters.possible(prepared)
    if kind == "text":
        return objects.text_formats(prepared)
    if kind == "bytes":
        return objects.byte_formats(prepared)
    if kind == "page":
        return objects.page_formats(prepared)
    if kind == "figure":
        return objects.FIGURE_FORMATS
    if kind == "mapping":
        return ["zip", "json"]
    return [*_SIMPLE_FORMATS, *(["geojson"] if objects.is_geojson(prepared) else [])]


def _table_formats(value: Any, request: Request) -> list[str]:
    try:
        geometry.in_degrees(tables.normal(value), "geojson")
    except Unsuited:
        return list(tables.TABLE_FORMATS)
    return [name for name in tables.GEO_FORMATS if name != "mvt" or request.tile is not None]


def _no_format(value: Any, prepared: Any, kind: str, request: Request, why: list[str], refused: set[str]) -> Exception:
    if kind == "simple":
        values.dumps(prepared)  # what JSON cannot carry, nothing here can: say so instead
    possible = [name for name in _possible(prepared, kind, request) if name not in refused]
    asked = ", ".join(request.formats) or "none"
    reason = f" ({why[0]})" if why else ""
    return NoFormat(
        f"a {type_name(value)} cannot be sent as {asked}{reason}; possible are {', '.join(possible)}", possible
    )
