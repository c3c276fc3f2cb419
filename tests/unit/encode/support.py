"""The values that the matrix of docs/reference/formats.md speaks of, by the names it gives them."""

from __future__ import annotations

import datetime
import io
import os
import uuid
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import shapely
import xarray as xr
from PIL import Image

MATRIX = Path(__file__).parents[3] / "docs/reference/formats.md"
CLIENT_LIST = ["npy", "tiff", "parquet", "json"]  # what the official client sends
TILE = (0, 0, 0)


def environment() -> dict[str, str]:
    """For a Python of its own that imports the same ``fused``."""
    return {**os.environ, "PYTHONPATH": str(MATRIX.parents[2] / "python")}


def png_bytes() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def geo_table() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"id": [1, 2], "name": ["a", None]}, geometry=[shapely.box(0, 0, 10, 10), shapely.Point(1, 1)], crs=4326
    )


def _figure() -> Any:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 2])
    plt.close(figure)
    return figure


def _plotly() -> Any:
    import plotly.graph_objects as go

    return go.Figure(go.Scatter(x=[1], y=[2]))


def _folium() -> Any:
    import folium

    return folium.Map()


def _altair() -> Any:
    import altair

    return altair.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a")


def _response() -> Any:
    from starlette.responses import Response

    return Response(b"raw", status_code=203, media_type="text/x-own", headers={"x-own": "1"})


# Row of the matrix → a maker of such a value.
VALUES: dict[str, Any] = {
    "`None`": lambda: None,
    "`int`, `float`, `bool`": lambda: 2.5,
    "`datetime`, `date`, `Timestamp`, `UUID`, `Decimal`, enum": lambda: pd.Timestamp("2024-01-02T03:04:05"),
    "`list`, `tuple`, `set`, `dict` of such": lambda: [
        1,
        {"a": np.int64(3)},
        {2},
        datetime.date(2024, 1, 1),
        uuid.UUID(int=1),
    ],
    "`dict` that is GeoJSON": lambda: {"type": "Point", "coordinates": [1, 2]},
    "`dict` with tables, arrays or bytes": lambda: {"table": pd.DataFrame({"x": [1]}), "n": 3},
    "`str`": lambda: "hello",
    "`str` that is SVG": lambda: "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "`bytes`, unknown": lambda: b"abc",
    "`bytes` or `BytesIO`, a PNG": lambda: io.BytesIO(png_bytes()),
    "`DataFrame`, `Series`, `Index`": lambda: pd.DataFrame({"x": [1, 2], "s": ["a", None]}),
    "`GeoDataFrame`, `GeoSeries`, shapely geometry": geo_table,
    "pyarrow `Table`, `RecordBatch`, `Array`": lambda: pa.table({"a": [1, 2]}),
    "polars `DataFrame`, `LazyFrame`, `Series`": lambda: pl.DataFrame(
        {"a": [1], "c": pl.Series(["u"], dtype=pl.Categorical)}
    ),
    "`ndarray`, a picture": lambda: np.zeros((6, 7, 3), np.uint8),
    "`ndarray`, one dimension": lambda: np.arange(3),
    "`ndarray`, other dtypes": lambda: np.array(["2024-01-01"], "M8[D]"),
    "`(array, bounds)`": lambda: (np.zeros((3, 6, 7), np.uint8), [0, 0, 1, 1]),
    "`DataArray`, `Dataset` of one variable": lambda: xr.DataArray(np.eye(4)),
    "`Dataset` of more": lambda: xr.Dataset({"v": (("y", "x"), np.eye(4)), "w": (("y", "x"), np.eye(4))}),
    "`PIL.Image`": lambda: Image.new("RGB", (5, 6)),
    "matplotlib figure, axes": _figure,
    "plotly figure": _plotly,
    "folium map": _folium,
    "altair chart": _altair,
    "`Response`": _response,
}
