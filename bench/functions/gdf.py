import functools

import fused


@functools.lru_cache(maxsize=1)
def boxes():
    import geopandas
    import numpy as np
    import shapely

    random = np.random.default_rng(1)
    x, y = random.uniform(-100, -99, 10_000), random.uniform(40, 41, 10_000)
    columns = {"id": np.arange(10_000), "h": random.random(10_000)}
    return geopandas.GeoDataFrame(columns, geometry=shapely.box(x, y, x + 1e-4, y + 1e-4), crs=4326)


@fused.udf
def udf():
    return boxes()
