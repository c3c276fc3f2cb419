"""Geometry of tables: coordinate systems, where it hides, and the way to GEOS."""

from __future__ import annotations

import json
from typing import Any

from ... import _native
from . import values
from .base import Unsuited
from .families import family, geopandas_module


def crs_text(crs: Any) -> str:
    """PROJJSON of a pyproj CRS, or ""."""
    if crs is None:
        return ""
    text = _crs_texts.get(id(crs))
    if text is None or text[0] is not crs:
        if len(_crs_texts) > 64:
            _crs_texts.clear()
        text = (crs, crs.to_json())  # keeping the object keeps its id from being used again
        _crs_texts[id(crs)] = text
    return text[1]


_crs_texts: dict[int, tuple[Any, str]] = {}
_shapely: bool | None = None


def use_shapely() -> bool:
    """Lets the native side read geometries where they lie; once a process. False: they go through WKB objects."""
    global _shapely
    if _shapely is None:
        import shapely

        point = shapely.Point(1, 2)
        _shapely = _native.use_shapely(
            shapely.lib.__file__, getattr(shapely.lib, "_C_API", None), point, shapely.to_wkb(point, byte_order=1)
        )
    return _shapely


def in_degrees(table: Any, name: str) -> Any:
    """The table with its geometry in EPSG:4326, where longitude and latitude are what the format wants."""
    use_shapely()
    if not hasattr(table, "_mgr"):
        return _arrow_in_degrees(table)
    active = active_geometry(table)
    if active is None or active not in table.columns:
        return _with_found_geometry(table, name)
    crs = table[active].crs
    return table if crs is None or _is_degrees(crs) else table.to_crs(4326)


def _with_found_geometry(table: Any, name: str) -> Any:
    """A plain DataFrame whose object column holds shapely geometries counts as one with geometry in degrees."""
    for label in table.columns:
        column = table[label]
        if type(column.array).__name__ == "GeometryArray":
            return in_degrees(geopandas_module().GeoDataFrame(table, geometry=label), name)
        if is_object(column):
            first = next((item for item in column if not values.is_missing(item)), None)
            if first is not None and family(type(first)) == "shapely":
                return geopandas_module().GeoDataFrame(table, geometry=label, crs=4326)
    raise Unsuited(f"{name} needs a geometry column and this table has none")


def _arrow_in_degrees(table: Any) -> Any:
    found = declared_geometry(table)
    if not found:
        raise Unsuited("the table has no geometry column (neither 'geo' metadata nor a geoarrow.wkb field)")
    primary, systems = found
    if not systems[primary]:
        return table
    import pyproj

    if _is_degrees(pyproj.CRS.from_json(systems[primary])):
        return table
    import pyarrow
    import shapely

    at = table.schema.names.index(primary)
    geometry = geopandas_module().GeoSeries(
        shapely.from_wkb(table.column(at).to_numpy(zero_copy_only=False)), crs=systems[primary]
    )
    moved = pyarrow.chunked_array([pyarrow.array(shapely.to_wkb(geometry.to_crs(4326).array), type=pyarrow.binary())])
    return table.set_column(at, table.schema.field(at).with_type(pyarrow.binary()), moved)


def _is_degrees(crs: Any) -> bool:
    known = _degrees.get(id(crs))
    if known is None or known[0] is not crs:
        if len(_degrees) > 64:
            _degrees.clear()
        known = (
            crs,
            crs.equals("EPSG:4326", ignore_axis_order=True) or crs.equals("OGC:CRS84", ignore_axis_order=True),
        )
        _degrees[id(crs)] = known
    return known[1]


_degrees: dict[int, tuple[Any, bool]] = {}


def declared_geometry(table: Any) -> tuple[str, dict[str, str]] | None:
    """The geometry columns that a pyarrow table declares: GeoParquet's ``geo`` or GeoArrow's WKB extension."""
    schema = getattr(table, "schema", None)
    if (
        schema is None
        or not hasattr(schema, "names")
        or not hasattr(schema, "metadata")
        or not hasattr(table, "column")
    ):
        return None
    geo = (schema.metadata or {}).get(b"geo")
    if geo:
        described = json.loads(geo)
        found = {
            name: json.dumps(column["crs"]) if column.get("crs") else ""
            for name, column in described.get("columns", {}).items()
            if name in schema.names and column.get("encoding") == "WKB"
        }
        primary = described.get("primary_column")
        if found:
            return (primary if primary in found else next(iter(found))), found
    found = {}
    for at, name in enumerate(schema.names):
        marks = schema.field(at).metadata or {}
        if marks.get(b"ARROW:extension:name") in (b"geoarrow.wkb", b"ogc.wkb"):
            crs = json.loads(marks.get(b"ARROW:extension:metadata") or b"{}").get("crs")
            found[name] = json.dumps(crs) if isinstance(crs, dict) else ""
    return (next(iter(found)), found) if found else None


def active_geometry(table: Any) -> str | None:
    """Asked by type: a plain DataFrame takes 30 µs to say that it lacks an attribute."""
    return table._geometry_column_name if family(type(table)) == "geopandas" else None


def is_object(column: Any) -> bool:
    """Does a numpy array or pandas column hold Python objects of any kind."""
    return bool(getattr(getattr(column, "dtype", None), "char", "") == "O")
