"""Annotations for parameters that are places: how a function wants the box or the tile it is asked for.

====================  =====================================================================================
``Bounds``            a list ``[minx, miny, maxx, maxy]`` in degrees (EPSG:4326)
``Bbox``              the same as a shapely polygon
``Tile``, ``TileGDF`` a GeoDataFrame of one row with the columns ``x``, ``y``, ``z`` and ``geometry``
``ViewportGDF``       the same; kept for older functions
``TileXYZ``           the tile's numbers: ``tile.x``, ``tile.y``, ``tile.z``
====================  =====================================================================================

The errors of a run are here too, as in the official client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

if TYPE_CHECKING:
    import geopandas
    import shapely

__all__ = ["Bbox", "Bounds", "Tile", "TileGDF", "TileXYZ", "ViewportGDF"]


class Place(NamedTuple):
    """Marks an annotation of this module; ``kind`` is its name."""

    kind: str


class TileXYZ(NamedTuple):
    """The numbers of a tile, as ``mercantile.Tile``: functions of mercantile take it."""

    x: int
    y: int
    z: int


Bounds = Annotated[list[float], Place("Bounds")]
Bbox = Annotated["shapely.Polygon", Place("Bbox")]
Tile = Annotated["geopandas.GeoDataFrame", Place("Tile")]
TileGDF = Annotated["geopandas.GeoDataFrame", Place("TileGDF")]
ViewportGDF = Annotated["geopandas.GeoDataFrame", Place("ViewportGDF")]

_ERRORS = (
    "JobPoolTailTimeoutError",
    "UdfRuntimeError",
    "UdfSelfRecursionError",
    "UdfSerializationError",
    "UdfTimeoutError",
)


def __getattr__(name: str) -> Any:
    if name in _ERRORS:
        from . import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'fused.types' has no attribute {name!r}")
