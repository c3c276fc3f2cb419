"""Bytes of each content type as values; the writers are independent libraries."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
import rasterio
import xarray
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from fused._run.decode import decode
from fused.errors import FusedError


def parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


def tiff(array: np.ndarray, **tags: Any) -> bytes:
    cube = array.reshape((-1, *array.shape[-2:]))
    bounds = json.loads(tags.get("bounds", "[0, 0, 1, 1]"))
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=cube.shape[0],
            height=cube.shape[1],
            width=cube.shape[2],
            dtype=cube.dtype,
            crs="EPSG:4326",
            transform=from_bounds(*bounds, cube.shape[2], cube.shape[1]),
        ) as dataset:
            dataset.write(cube)
            dataset.update_tags(ns="fused", **tags)
        return memory.read()


def test_an_empty_body_is_none() -> None:
    assert decode("application/json", b"") is None


@pytest.mark.parametrize("value", [3, 2.5, "text", True, None, [1, {"a": None}], {"k": [1]}])
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert decode("application/json", json.dumps(value).encode()) == value


def test_parquet_is_a_dataframe_and_with_geo_metadata_a_geodataframe() -> None:
    frame = pd.DataFrame({"n": [1, 2], "s": ["a", None]})
    pd.testing.assert_frame_equal(decode("application/octet-stream", parquet(frame)), frame, check_dtype=False)
    places = gpd.GeoDataFrame({"n": [1]}, geometry=gpd.points_from_xy([1], [2]), crs=4326)
    back = decode("application/octet-stream", parquet(places))
    assert isinstance(back, gpd.GeoDataFrame)
    assert back.crs == places.crs
    assert back.geometry.iloc[0].equals(places.geometry.iloc[0])


def test_arrow_files_and_streams_are_tables() -> None:
    table = pa.table({"n": [1, 2]})
    out = io.BytesIO()
    pyarrow.feather.write_feather(table, out)
    assert decode("application/vnd.apache.arrow.file", out.getvalue())["n"].tolist() == [1, 2]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert decode("application/vnd.apache.arrow.stream", sink.getvalue().to_pybytes())["n"].tolist() == [1, 2]


def test_npy_is_an_array_and_never_a_pickle() -> None:
    out = io.BytesIO()
    np.save(out, np.arange(6, dtype="int16").reshape(2, 3))
    back = decode("application/x-numpy-data", out.getvalue())
    assert back.dtype == np.int16
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]
    evil = io.BytesIO()
    np.save(evil, np.array([object()]), allow_pickle=True)
    with pytest.raises(FusedError, match="cannot be read as that"):
        decode("application/x-numpy-data", evil.getvalue())


def test_tiff_tags_give_back_shape_bounds_and_xarray() -> None:
    array = np.arange(12, dtype="float32").reshape(3, 4)
    assert decode("image/tiff", tiff(array)).shape == (1, 3, 4)
    flat = decode("image/tiff", tiff(array, orig_type="numpy.ndarray", shape="[3, 4]"))
    np.testing.assert_array_equal(flat, array)
    back, bounds = decode("image/tiff", tiff(array, orig_type="numpy.ndarray", shape="[3, 4]", bounds="[5, 45, 9, 48]"))
    np.testing.assert_array_equal(back, array)
    assert bounds == [5, 45, 9, 48]
    labelled = decode("image/tiff", tiff(array, orig_type="xarray.DataArray", bounds="[5, 45, 9, 48]"))
    assert isinstance(labelled, xarray.DataArray)
    assert labelled.x.values.tolist() == [5.5, 6.5, 7.5, 8.5]
    assert labelled.y.values.tolist() == [47.5, 46.5, 45.5]
    dataset = decode("image/tiff", tiff(array, orig_type="xarray.Dataset", key="height"))
    assert list(dataset.data_vars) == ["height"]
    assert rasterio.__version__


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_pictures_are_arrays(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (200, 10, 10)).save(out, kind)
    assert decode(f"image/{kind}", out.getvalue()).shape == (3, 4, 3)


def test_texts_are_text() -> None:
    assert decode("text/html", "<b>é</b>".encode()) == "<b>é</b>"
    assert decode("image/svg+xml", b"<svg/>") == "<svg/>"
    assert decode("application/geo+json", b'{"type": "FeatureCollection"}') == {"type": "FeatureCollection"}


def test_a_zip_with_meta_json_is_a_dictionary_of_results() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("n", "3")
        archive.writestr("table", parquet(pd.DataFrame({"a": [1]})))
        archive.writestr("raw", b"\0\1")
        files = {
            "n": {"content_type": "application/json"},
            "table": {"content_type": "application/octet-stream"},
            "raw": {"content_type": "application/x-thing"},
        }
        archive.writestr("meta.json", json.dumps({"files": files}))
    back = decode("application/zip", out.getvalue())
    assert back["n"] == 3
    assert back["table"]["a"].tolist() == [1]
    assert back["raw"] == b"\0\1"


def test_a_zip_without_it_stays_bytes() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("n", "3")
    assert decode("application/zip", out.getvalue()) == out.getvalue()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("image/tiff", b"II*\0"),
        ("image/png", b"\x89PNG"),
        ("application/zip", b"PK"),
        ("application/octet-stream", b"PAR1xxxxPAR1"),
        ("application/vnd.apache.arrow.stream", b"abc"),
        ("application/x-numpy-data", b"abc"),
        ("text/plain", b"\xff\xfe"),
    ],
)
def test_bytes_that_are_not_what_they_say_are_an_error_that_names_both(kind: str, body: bytes) -> None:
    with pytest.raises(FusedError, match=f"{len(body)} bytes as {kind.replace('+', '.')}"):
        decode(kind, body)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rasterio.io", None)
    with pytest.raises(FusedError, match=r"pip install rasterio.*original_content"):
        decode("image/tiff", b"II*\0")


def test_unknown_types_stay_bytes() -> None:
    assert decode("application/x-thing", b"\0\1") == b"\0\1"
