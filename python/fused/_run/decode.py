"""A result's bytes become a value again, by content type (client-protocol.md §2.2)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from fused.errors import FusedError

ZIP_BYTES_MAX = 4 << 30  # all members of one result together, unpacked
_ARROW = ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file", "application/feather")


def decode(content_type: str, body: bytes) -> Any:
    """The value: DataFrame or GeoDataFrame, array, ``(array, bounds)``, text, number, list, dictionary or bytes.

    ``content_type`` is in lower case and without parameters. An empty body is None. ``FusedError`` when the bytes are
    not what the content type says, or the package that reads them is missing.
    """
    if not body:
        return None
    try:
        return _decode(content_type, body)
    except ImportError as error:
        raise FusedError(
            f"the result is {content_type}, and reading it needs {error.name}: pip install {error.name}; or take the "
            "bytes: fused.run(…, _return_response=True).original_content"
        ) from None
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise FusedError(
            f"the server sent {len(body)} bytes as {content_type} that cannot be read as that: {error}"
        ) from None


def _decode(content_type: str, body: bytes) -> Any:
    if content_type in ("application/json", "application/geo+json") or content_type.endswith("+json"):
        return json.loads(body)
    if content_type.startswith("text/") or content_type in ("application/xml", "image/svg+xml"):
        return body.decode("utf-8")
    if content_type == "application/x-numpy-data":
        return _array(body)
    if content_type == "image/tiff":
        return _tiff(body)
    if content_type in ("image/png", "image/jpeg", "image/webp", "image/gif", "image/apng"):
        return _picture(body)
    if content_type == "application/zip":
        return _archive(body)
    if content_type in _ARROW:
        return _arrow(body)
    if body[:4] == b"PAR1" and body[-4:] == b"PAR1":
        return _table(body)
    return body


def _table(body: bytes) -> Any:
    """A DataFrame, or a GeoDataFrame when the file has the ``geo`` metadata."""
    import pyarrow.parquet as pq

    file = io.BytesIO(body)
    metadata = pq.read_schema(io.BytesIO(body)).metadata or {}
    if b"geo" in metadata:
        import geopandas

        return geopandas.read_parquet(file)
    import pandas

    return pandas.read_parquet(file)


def _arrow(body: bytes) -> Any:
    import pyarrow as pa

    source = pa.BufferReader(body)
    if body[:6] == b"ARROW1":
        table = pa.ipc.open_file(source).read_all()
        if b"geo" in (table.schema.metadata or {}):
            import geopandas

            return geopandas.read_feather(io.BytesIO(body))
        return table.to_pandas()
    return pa.ipc.open_stream(source).read_all().to_pandas()


def _array(body: bytes) -> Any:
    import numpy

    return numpy.load(io.BytesIO(body), allow_pickle=False)


def _picture(body: bytes) -> Any:
    """Rows, columns and (when there are several) channels, as numbers."""
    import numpy
    from PIL import Image  # its package is called pillow

    with Image.open(io.BytesIO(body)) as image:
        return numpy.asarray(image.convert() if image.mode == "P" else image)


def _tiff(body: bytes) -> Any:
    """Bands, rows, columns; the ``fused`` tags give back shape, ``(array, bounds)`` and xarray objects."""
    import numpy
    from rasterio.io import MemoryFile

    with MemoryFile(body) as memory, memory.open() as dataset:
        array = dataset.read()
        tags = dataset.tags(ns="fused")
        corners = list(dataset.bounds)
    shape = json.loads(tags["shape"]) if "shape" in tags else None
    if shape is not None and int(numpy.prod(shape)) == array.size:
        array = array.reshape(shape)
    bounds = json.loads(tags["bounds"]) if "bounds" in tags else None
    kind = tags.get("orig_type", "")
    if kind.startswith("xarray."):
        return _labelled(array, kind, tags, bounds or corners)
    return array if bounds is None else (array, bounds)


def _labelled(array: Any, kind: str, tags: Mapping[str, str], bounds: list[float]) -> Any:
    import numpy
    import xarray

    rows, columns = array.shape[-2:]
    west, south, east, north = bounds
    wide, high = (east - west) / columns, (north - south) / rows
    names = ("band", "y", "x")[-array.ndim :]
    labelled = xarray.DataArray(
        array,
        dims=names,
        coords={
            "x": west + wide * (numpy.arange(columns) + 0.5),
            "y": north - high * (numpy.arange(rows) + 0.5),
        },
    )
    return labelled if kind == "xarray.DataArray" else labelled.to_dataset(name=tags.get("key", "image"))


def _archive(body: bytes) -> Any:
    """A dictionary of results: members named by key, their types in ``meta.json``."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > ZIP_BYTES_MAX:
            raise ValueError(f"it unpacks to {total} bytes, more than {ZIP_BYTES_MAX}")
        if "meta.json" not in archive.namelist():
            return body
        files = json.loads(archive.read("meta.json"))["files"]
        return {name: decode(entry["content_type"].split(";")[0], archive.read(name)) for name, entry in files.items()}
