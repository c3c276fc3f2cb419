"""What PROJ and GEOS do for an ingest: projecting coordinates, dividing large polygons."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SUBDIVIDE_DEPTH_MAX = 48
AREA_TOLERANCE = 1e-9  # of the area that is cut


def projection(crs: str, name: str) -> Callable[[memoryview, memoryview], None]:
    """A function that moves coordinates of ``crs`` to longitude and latitude (EPSG:4326) where they lie."""
    import numpy as np
    import pyproj
    from pyproj.exceptions import CRSError, ProjError

    try:
        source = pyproj.CRS.from_user_input(crs)
        pyproj.Transformer.from_crs(source, 4326, always_xy=True)
    except (CRSError, ProjError) as error:
        raise ValueError(f"{name}: its CRS is not known to PROJ: {str(error)[:200]}") from None
    own = threading.local()  # a transformer belongs to its thread
    # Python forgets what a native thread kept each time that leaves it; PROJ would go on with a context that is gone.
    threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="fused-project")

    def project(x: memoryview, y: memoryview) -> None:
        threads.submit(move, x, y).result()

    def move(x: memoryview, y: memoryview) -> None:
        if not hasattr(own, "transformer"):
            own.transformer = pyproj.Transformer.from_crs(source, 4326, always_xy=True)
        xs, ys = np.frombuffer(x, np.float64), np.frombuffer(y, np.float64)
        good = np.isfinite(xs) & np.isfinite(ys)
        own.transformer.transform(xs, ys, inplace=True)
        bad = good & ~(np.isfinite(xs) & np.isfinite(ys))
        if bad.any():
            raise ValueError(
                f"{int(bad.sum())} positions cannot be projected from {source.name!r} to EPSG:4326; they lie "
                "outside of where that CRS is defined"
            )

    return project


def projection_note(crs: str, name: str) -> str:
    """What is said of a projection: from which CRS, and by which shift where the datum is another."""
    import pyproj
    from pyproj.exceptions import CRSError, ProjError
    from pyproj.transformer import TransformerGroup

    try:
        source = pyproj.CRS.from_user_input(crs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of grids that are not here: the note tells of them
            group = TransformerGroup(source, 4326, always_xy=True)
        first = group.transformers[0]
    except (CRSError, ProjError, IndexError):
        return ""  # the error comes from projection()
    said = f"{name}: projected from {source.name!r} to EPSG:4326"
    datum = None if source.datum is None else source.datum.name
    if datum is None or "World Geodetic System 1984" in datum or "WGS 84" in datum:
        return said
    # `Transformer.description` is a placeholder of PROJ's where several operations are at choice.
    steps = [step for step in first.description.split(" + ") if " to " in step]
    exact = f", to about {first.accuracy:g} m" if (first.accuracy or -1) > 0 else ""
    by = f"{' and '.join(steps) or first.description!r}{exact}"
    if len(group.transformers) > 1:
        by = f"the best of {len(group.transformers)} operations for each position, as {by}"
    said = f"{said}; its datum {datum!r} is shifted by {by}"
    lacking = [] if group.best_available else group.unavailable_operations[:1]
    grids = ", ".join(grid.short_name for each in lacking for grid in each.grids if not grid.available)
    if grids:
        said += f" (a more exact one needs {grids}, which PROJ does not have here)"
    return said


def subdivider(stop: float) -> Callable[[bytes], list[bytes]]:
    """A function that divides a geometry until no part has more area than ``stop`` (square degrees)."""
    import shapely

    def halves(geometry: Any) -> list[Any]:
        west, south, east, north = geometry.bounds
        if east - west >= north - south:
            middle = (west + east) / 2
            boxes = [(west, south, middle, north), (middle, south, east, north)]
        else:
            middle = (south + north) / 2
            boxes = [(west, south, east, middle), (west, middle, east, north)]
        if not geometry.has_z:
            # Linear in the positions, where an overlay builds a graph of them; what it cannot do shows in the area.
            try:
                parts = [shapely.clip_by_rect(geometry, *each) for each in boxes]
            except shapely.errors.GEOSException:
                parts = []
            whole = geometry.area
            if parts and abs(sum(part.area for part in parts) - whole) <= AREA_TOLERANCE * whole:
                return parts
        return [shapely.intersection(geometry, shapely.box(*each)) for each in boxes]

    def divide(wkb: bytes) -> list[bytes]:
        geometry = shapely.from_wkb(wkb)
        if not geometry.is_valid:
            geometry = shapely.make_valid(geometry)
        done: list[Any] = []
        waiting = [(geometry, 0)]
        while waiting:
            part, depth = waiting.pop()
            if part.is_empty:
                continue
            if part.area <= stop or depth >= SUBDIVIDE_DEPTH_MAX:
                done.append(part if part.is_valid else shapely.make_valid(part))
                continue
            waiting += [(half, depth + 1) for half in reversed(halves(part))]
        # Cutting along an edge can leave lines and points: what has an area is what was divided.
        kept = [each for part in done for each in _areas(part)]
        return [bytes(each) for each in shapely.to_wkb(kept or [geometry], flavor="iso")]

    def _areas(part: Any) -> list[Any]:
        if part.geom_type in ("Polygon", "MultiPolygon"):
            return [part]
        return [each for each in getattr(part, "geoms", []) if each.geom_type in ("Polygon", "MultiPolygon")]

    return divide
