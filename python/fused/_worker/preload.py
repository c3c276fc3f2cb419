"""What the zygote has ready before it forks: packages, and the first use of what functions use most."""

from __future__ import annotations

import importlib
import importlib.util

# Each costs memory in the zygote once, shared by all workers, and saves its import in every one of them.
PACKAGES = (
    "numpy", "pandas", "shapely", "shapely.geometry", "pyarrow", "pyarrow.parquet", "pyproj", "pyogrio", "geopandas",
    "rasterio", "PIL.Image", "xarray",
)  # fmt: skip
# What the worker itself needs; and asyncio, so that `async def` functions start at once.
_OWN = (
    "fused", "fused.context", "fused.types", "fused.models", "fused._udf", "fused._parameters", "fused._worker.worker",
    "fused._worker.encode", "fused._cache.decorator", "asyncio",
)  # fmt: skip


def load() -> list[str]:
    """Imports them and gives the names of those that are installed."""
    found = []
    for name in PACKAGES:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            continue
        importlib.import_module(name)
        found.append(name)
    for name in _OWN:
        importlib.import_module(name)
    warm()
    from . import names

    names.prepare()
    return found


def warm() -> None:
    """Takes the paths that are slow the first time, without starting a thread."""
    import geopandas
    import numpy
    import pandas
    import shapely

    from fused._worker.encode import encode

    table = pandas.DataFrame(
        {"n": [1, 2], "x": [0.5, 1.5], "label": ["a", "b"], "at": pandas.to_datetime(["2024-01-01"] * 2)}
    )
    places = geopandas.GeoDataFrame(
        {"n": [1, 2]}, geometry=[shapely.Point(1, 2), shapely.box(0, 0, 1, 1)], crs="EPSG:4326"
    )
    for value, formats in (
        ({"n": 1}, ["json"]),
        (table, ["json"]),
        (table, ["parquet"]),
        (table, ["csv"]),
        (places, ["parquet"]),
        (places, ["geojson"]),
        (places, ["json"]),
        (numpy.zeros((2, 2), "uint8"), ["png"]),
        (numpy.zeros((2, 2), "uint8"), ["npy"]),
    ):
        encode(value, formats, tile=None)
    encode(places, ["mvt"], tile=(0, 0, 0))
    places.to_crs(3857).total_bounds
