"""Coast lines for a flat map: `python web/cut_land.py land.json` cuts the land at the antimeridian, in place.

world-atlas joins what lies on both sides of 180°, as a globe wants it. On a flat map such a ring would run once around
the world: lines from edge to edge, and an Atlantic filled with land.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import shapely
from shapely.affinity import translate

DECIMALS = 3  # of a degree, 100 m: finer than the 1:110,000,000 source
Ring = list[tuple[float, float]]


def unwrapped(ring: Ring) -> Ring:
    """The ring with longitudes that never jump (so beyond ±180°); around a pole it is closed along that pole."""
    out = [ring[0]]
    for lon, lat in ring[1:]:
        out.append((lon - 360 * round((lon - out[-1][0]) / 360), lat))
    if abs(out[-1][0] - out[0][0]) > 180:
        pole = 90 if sum(lat for _, lat in out) > 0 else -90
        out += [(out[-1][0], pole), (out[0][0], pole), out[0]]
    return out


def cut(polygons: Iterable[shapely.Polygon]) -> shapely.MultiPolygon:
    """The same land within -180…180°. A hole is taken to lie on one side of the antimeridian, as all of 110m do."""
    world = shapely.box(-180, -90, 180, 90)
    pieces = []
    for polygon in polygons:
        whole = shapely.make_valid(shapely.Polygon(unwrapped(list(polygon.exterior.coords))))
        flat = shapely.union_all([translate(whole, shift).intersection(world) for shift in (-360, 0, 360)])
        pieces.append(flat.difference(shapely.union_all([shapely.Polygon(hole) for hole in polygon.interiors])))
    parts = [part for piece in pieces for part in shapely.get_parts(piece) if part.geom_type == "Polygon"]
    return shapely.orient_polygons(shapely.set_precision(shapely.union_all(parts), 10**-DECIMALS))


def main(file: Path) -> None:
    features = shapely.get_parts(shapely.from_geojson(file.read_bytes()))
    geometry = json.loads(shapely.to_geojson(cut(shapely.get_parts(features))))
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}, separators=(",", ":")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
