"""Boxes, geometries and tiles as parameters: from GeoJSON, WKT, four numbers or a tile's numbers."""

from __future__ import annotations

import json
import math
from typing import Any

from .types import TileXYZ

_ZOOM_MAX = 24
_LATITUDE_MAX = 85.0511287798066  # where web mercator ends


def tile_bounds(z: int, x: int, y: int) -> list[float]:
    """``[west, south, east, north]`` of a tile in degrees."""
    n = 1 << z

    def latitude(row: int) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / n))))

    return [x / n * 360 - 180, latitude(y + 1), (x + 1) / n * 360 - 180, latitude(y)]


def bounding_tile(west: float, south: float, east: float, north: float) -> TileXYZ:
    """The smallest tile that holds a box."""
    for z in range(_ZOOM_MAX, 0, -1):
        first, last = _tile_at(west, north, z), _tile_at(east - 1e-9, south + 1e-9, z)
        if first == last:
            return TileXYZ(*first, z)
    return TileXYZ(0, 0, 0)


def _tile_at(longitude: float, latitude: float, z: int) -> tuple[int, int]:
    n = 1 << z
    latitude = max(-_LATITUDE_MAX, min(_LATITUDE_MAX, latitude))
    s = math.sin(math.radians(latitude))
    x = (longitude + 180) / 360 * n
    y = (0.5 - math.log((1 + s) / (1 - s)) / (4 * math.pi)) * n
    return max(0, min(n - 1, math.floor(x))), max(0, min(n - 1, math.floor(y)))


# --- from a tile ----------------------------------------------------------------------------------------------------


def list_of_tile(z: int, x: int, y: int) -> list[float]:
    """``[west, south, east, north]`` in degrees (EPSG:4326)."""
    return tile_bounds(z, x, y)


def text_of_tile(z: int, x: int, y: int) -> str:
    """The same as JSON text, for a parameter that is ``str``."""
    return json.dumps(tile_bounds(z, x, y))


def box_of_tile(z: int, x: int, y: int) -> Any:
    """The tile as a shapely polygon in degrees."""
    import shapely

    return shapely.box(*tile_bounds(z, x, y))


def xyz_of_tile(z: int, x: int, y: int) -> TileXYZ:
    """The tile's numbers in the order of ``mercantile``: x, y, z."""
    return TileXYZ(x, y, z)


def frame_of_tile(z: int, x: int, y: int) -> Any:
    """One row with x, y, z and the tile's polygon; EPSG:4326."""
    return _frame(box_of_tile(z, x, y), TileXYZ(x, y, z))


def _frame(geometry: Any, tile: TileXYZ) -> Any:
    import geopandas

    columns = {"x": [tile.x], "y": [tile.y], "z": [tile.z]}
    return geopandas.GeoDataFrame(columns, geometry=[geometry], crs="EPSG:4326")


# --- from what a request carries ------------------------------------------------------------------------------------


def _parse(value: Any) -> Any:
    """The value of a JSON text; four numbers may come without brackets, and a WKT stays text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] in "[{":
        return json.loads(text)
    parts = text.split(",")
    if len(parts) == 4:
        try:
            return [float(part) for part in parts]
        except ValueError:
            return text
    return text


def _is_box(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    return all(isinstance(part, int | float | str) and not isinstance(part, bool) for part in value)


def _box_numbers(value: Any) -> list[float]:
    numbers = [float(part) for part in value]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a bound that is no finite number")
    return numbers


def to_bounds(value: Any) -> list[float]:
    """Four numbers from a list, GeoJSON, WKT or a table with geometry."""
    parsed = _parse(value)
    if _is_box(parsed):
        return _box_numbers(parsed)
    if hasattr(parsed, "total_bounds"):
        return [float(part) for part in parsed.total_bounds]
    return [float(part) for part in _union(_geometries(parsed)).bounds]


def to_box(value: Any) -> Any:
    """The box of a place as a shapely polygon; ValueError as ``to_bounds``."""
    import shapely

    return shapely.box(*to_bounds(value))


def to_tile_frame(value: Any) -> Any:
    """One row with x, y, z: the tile that was given, or the smallest that holds the box that was given."""
    parsed = _parse(value)
    xyz = _numbers_of_tile(parsed)
    if xyz is not None:
        return frame_of_tile(xyz.z, xyz.x, xyz.y)
    if isinstance(parsed, dict) and parsed.get("features"):
        frame = to_frame(parsed)
        if {"x", "y", "z"} <= set(frame.columns):
            return frame
    bounds = to_bounds(parsed)
    import shapely

    return _frame(shapely.box(*bounds), bounding_tile(*bounds))


def _numbers_of_tile(value: Any) -> TileXYZ | None:
    if isinstance(value, dict) and {"x", "y", "z"} <= value.keys():
        return TileXYZ(int(value["x"]), int(value["y"]), int(value["z"]))
    if isinstance(value, list | tuple) and len(value) == 3:
        return TileXYZ(*(int(part) for part in value))
    return None


def to_xyz(value: Any) -> TileXYZ:
    """``[x, y, z]``, ``{"x", "y", "z"}``, or the smallest tile that holds a box."""
    parsed = _parse(value)
    xyz = _numbers_of_tile(parsed)
    return xyz if xyz is not None else bounding_tile(*to_bounds(parsed))


def to_geometry(value: Any, kind: type | None = None) -> Any:
    """A shapely geometry from WKT, GeoJSON or four numbers; ValueError when it is not of the class asked for."""
    import shapely
    from shapely.geometry.base import BaseGeometry

    parsed = _parse(value)
    if _is_box(parsed):
        geometry = shapely.box(*_box_numbers(parsed))
    else:
        geometries = _geometries(parsed)
        geometry = geometries[0] if len(geometries) == 1 else _union(geometries)
    if kind is not None and kind is not BaseGeometry and not isinstance(geometry, kind):
        raise ValueError(f"it is a {geometry.geom_type}")
    return geometry


def _geometries(value: Any) -> list[Any]:
    import shapely
    from shapely.geometry import shape
    from shapely.geometry.base import BaseGeometry

    if isinstance(value, BaseGeometry):
        return [value]
    if isinstance(value, str):
        try:
            return [shapely.from_wkt(value)]
        except shapely.errors.GEOSException as error:
            raise ValueError(str(error)) from None
    if isinstance(value, dict):
        if value.get("type") == "FeatureCollection":
            found = [shape(part["geometry"]) for part in value["features"] if part.get("geometry")]
            if found:
                return found
        elif value.get("type") == "Feature" and value.get("geometry"):
            return [shape(value["geometry"])]
        elif "coordinates" in value or "geometries" in value:
            try:
                return [shape(value)]
            except shapely.errors.ShapelyError as error:
                raise ValueError(str(error)) from None
    raise ValueError("neither GeoJSON, WKT nor four numbers")


def _union(geometries: list[Any]) -> Any:
    import shapely

    return shapely.union_all(geometries)


def to_frame(value: Any) -> Any:
    """A GeoDataFrame in EPSG:4326 from GeoJSON, WKT or four numbers."""
    import geopandas

    if isinstance(value, geopandas.GeoDataFrame):
        return value
    parsed = _parse(value)
    if isinstance(parsed, dict) and parsed.get("type") == "FeatureCollection":
        features = parsed["features"]
        if not features:
            return geopandas.GeoDataFrame(geometry=[], crs="EPSG:4326")
        return geopandas.GeoDataFrame.from_features(features, crs="EPSG:4326")
    if isinstance(parsed, dict) and parsed.get("type") == "Feature":
        return geopandas.GeoDataFrame.from_features([parsed], crs="EPSG:4326")
    return geopandas.GeoDataFrame(geometry=[to_geometry(parsed)], crs="EPSG:4326")


def to_geoseries(value: Any) -> Any:
    """The geometries of ``to_frame``; EPSG:4326."""
    return to_frame(value).geometry


# What reads each annotation of fused.types, and what makes it from a tile.
READERS: dict[str, tuple[Any, Any]] = {
    "Bounds": (to_bounds, list_of_tile),
    "Bbox": (to_box, box_of_tile),
    "Tile": (to_tile_frame, frame_of_tile),
    "TileGDF": (to_tile_frame, frame_of_tile),
    "ViewportGDF": (to_tile_frame, frame_of_tile),
    "TileXYZ": (to_xyz, xyz_of_tile),
}
