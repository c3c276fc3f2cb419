"""The three functions as the peer runs them: value, then bytes with the libraries people use for it."""

from __future__ import annotations

import functools
import io

import geopandas
import numpy as np
import pandas as pd
import shapely
from PIL import Image


@functools.lru_cache(maxsize=1)
def boxes() -> geopandas.GeoDataFrame:
    random = np.random.default_rng(1)
    x, y = random.uniform(-100, -99, 10_000), random.uniform(40, 41, 10_000)
    columns = {"id": np.arange(10_000), "h": random.random(10_000)}
    return geopandas.GeoDataFrame(columns, geometry=shapely.box(x, y, x + 1e-4, y + 1e-4), crs=4326)


def tile(x: int = 1, y: int = 1) -> np.ndarray:
    a, b = np.mgrid[0:256, 0:256]
    return np.stack([(a + x) & 255, (b + y) & 255, (a * b) >> 8 & 255], -1).astype("uint8")


def answer(name: str) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if name == "tiny":
        return pd.DataFrame({"x": [1], "y": [2]}).to_json(orient="records").encode(), "application/json"
    if name == "gdf":
        boxes().to_parquet(buffer, compression="snappy")
        return buffer.getvalue(), "application/vnd.apache.parquet"
    Image.fromarray(tile()).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), "image/png"


def answer_code(text: str) -> bytes:
    names: dict[str, object] = {}
    exec(compile(text, "<udf>", "exec"), names)
    return names["udf"]().to_json(orient="records").encode()  # type: ignore[operator]


def warm() -> None:
    for name in ("tiny", "gdf", "tile"):
        answer(name)
