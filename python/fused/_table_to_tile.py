"""``table_to_tile``: what of a table a map shows in a box, as the helper of that name in published functions does it.

::

    from fused.tables import table_to_tile

    @fused.udf
    def buildings(bounds: fused.types.Bounds):
        return table_to_tile(bounds, "s3://bucket/buildings", min_zoom=12, use_columns=["height"])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fused._table import _bounds, get_chunks_metadata, read_table

if TYPE_CHECKING:
    import geopandas as gpd


def estimate_zoom(bounds: Any) -> int:
    """The zoom at which one tile is about as wide or high as the box."""
    west, south, east, north = _bounds(bounds) or [-180.0, -90.0, 180.0, 90.0]
    width = east - west if east > west else east + 360 - west
    side = max(width, (north - south) * 1.0, 1e-9)
    return max(0, min(24, round(math.log2(360 / side))))


def table_to_tile(
    bounds: Any,
    table: str,
    min_zoom: int = 12,
    centroid_zoom_offset: int = 0,
    use_columns: Sequence[str] | None = ("geometry",),
    clip: bool = False,
    **ignored: Any,
) -> gpd.GeoDataFrame:
    """Rows of the table in the box; farther out than ``min_zoom`` the boxes of its chunks instead.

    Args:
        bounds: Four numbers in degrees, a tile's GeoDataFrame (its columns ``z`` … tell the zoom) or a geometry.
        table: URL of the table.
        min_zoom: From this zoom on rows are read. 0: always.
        centroid_zoom_offset: So many zooms before ``min_zoom`` the chunks are shown as boxes, farther out as points.
        use_columns: Columns to read; the geometry is always among them. None: all.
        clip: Cut the geometries at the box.
    """
    if ignored:
        raise TypeError(f"table_to_tile has no argument {next(iter(ignored))!r}")
    given = _bounds(bounds)
    if given is None:
        raise ValueError("table_to_tile needs bounds; fused.read_table(url) reads a whole table")
    zoom = int(bounds.z.iloc[0]) if "z" in getattr(bounds, "columns", ()) else estimate_zoom(given)
    import shapely

    west, south, east, north = given
    if west <= east:
        box = shapely.box(west, south, east, north)
    else:  # over the antimeridian, as read_table reads it
        box = shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))
    if zoom >= min_zoom:
        columns = None if use_columns is None else list(dict.fromkeys([*use_columns, "geometry"]))
        frame: gpd.GeoDataFrame = read_table(table, bounds=given, columns=columns)
        return frame.clip(box).explode(index_parts=False).reset_index(drop=True) if clip else frame
    chunks = get_chunks_metadata(table)
    near = chunks[chunks.intersects(box)].reset_index(drop=True)
    if centroid_zoom_offset and zoom < min_zoom - centroid_zoom_offset:
        return near.set_geometry(shapely.centroid(near.geometry.to_numpy()), crs=near.crs)
    return near
