"""DataFrames and GeoDataFrames as Arrow IPC, column by column, so that what is read back is the same in every dtype.

Numbers and times are the file's own bytes (mapped, copy-on-write); texts stay in Arrow's memory; geometries are
coordinates and offsets where all are of one type, else WKB. Frames that Arrow cannot hold exactly (objects, several
levels, categories, time zones …) are left to pickle, whose large buffers are mapped too.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

_NUMBERS = "biufmM"  # numpy's kinds whose bytes are the values


def write_table(value: Any) -> tuple[dict[str, Any], list[Any]] | None:
    """``(description, buffers)``; None for what is not exactly such a table."""
    import pandas as pd

    kind = type(value)
    geopandas = sys.modules.get("geopandas")
    is_geo = geopandas is not None and kind is geopandas.GeoDataFrame
    if not (kind is pd.DataFrame or is_geo) or value.attrs or not value.flags.allows_duplicate_labels:
        return None
    columns = value.columns
    if type(columns) is not pd.Index or columns.name is not None or not columns.is_unique:
        return None
    names = columns.tolist()
    if not all(type(name) is str for name in names):
        return None
    index = _index_described(value.index)
    if index is None:
        return None
    import pyarrow as pa

    from fused._cache.values import arrow_stream

    described, arrays = [], []
    # The arrays themselves: making a Series of each column costs more than all the rest of a small table.
    array_of = getattr(value, "_get_column_array", None) or (lambda at: value.iloc[:, at].array)
    for at in range(len(names)):
        found = _column(array_of(at))
        if found is None:
            return None
        described.append(found[0])
        arrays.append(found[1])
    table = {"labels": str(columns.dtype), "index": index, "columns": described}
    if is_geo:
        table["geometry"] = value._geometry_column_name
    return table, arrow_stream(pa.record_batch(arrays, names), is_plain=True)


def _index_described(index: Any) -> dict[str, Any] | None:
    import pandas as pd

    if type(index) is pd.RangeIndex and (index.name is None or type(index.name) is str):
        return {"name": index.name, "range": [index.start, index.stop, index.step]}
    return None


def _column(array: Any) -> tuple[dict[str, Any], Any] | None:
    """How to read it back, and its Arrow array."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(array, _plain_arrays()):
        if getattr(array, "tz", None) is not None or getattr(array, "freq", None) is not None:
            return None
        values = np.asarray(array)
        if values.dtype.kind not in _NUMBERS or not values.dtype.isnative or values.dtype.itemsize > 8:
            return None
        return {"numpy": values.dtype.str}, _arrow_of(np.ascontiguousarray(values))
    if isinstance(array.dtype, pd.StringDtype):
        found = pa.array(array)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        na = "nan" if array.dtype.na_value is not pd.NA else "NA"
        return {"text": array.dtype.storage, "na": na}, found
    if hasattr(array, "crs") and hasattr(array, "total_bounds"):
        return _geometries(array)
    return None


@functools.cache
def _plain_arrays() -> tuple[type, ...]:
    import numpy as np
    import pandas as pd

    return (np.ndarray, pd.arrays.NumpyExtensionArray, pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray)


def _arrow_of(values: Any) -> Any:
    """The same bytes as an Arrow array; what Arrow has no such type for, as bytes of that width."""
    import numpy as np
    import pyarrow as pa

    kinds = {"M": pa.timestamp, "m": pa.duration}
    if values.dtype.kind in kinds:
        unit = np.datetime_data(values.dtype)[0]
        if unit not in ("s", "ms", "us", "ns"):
            return pa.array(values.view("int64"))
        return pa.Array.from_buffers(
            kinds[values.dtype.kind](unit), len(values), [None, pa.py_buffer(values.view("int64"))]
        )
    if values.dtype.kind == "b":
        values = values.view("uint8")
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _geometries(array: Any) -> tuple[dict[str, Any], Any]:
    import numpy as np
    import pyarrow as pa
    import shapely

    geometries = np.asarray(array)
    crs = None if array.crs is None else array.crs.to_json()
    kinds = np.unique(shapely.get_type_id(geometries))
    plain = (
        len(kinds) == 1
        and kinds[0] in (0, 1, 3, 4, 5, 6)
        and not shapely.is_empty(geometries).any()
        and not shapely.get_srid(geometries).any()
        and len(np.unique(shapely.get_coordinate_dimension(geometries))) == 1
    )
    if plain:
        kind, coordinates, offsets = shapely.to_ragged_array(geometries)
        if np.isfinite(coordinates).all():
            width = coordinates.shape[1]
            nested = pa.FixedSizeListArray.from_arrays(_arrow_of(np.ascontiguousarray(coordinates).reshape(-1)), width)
            for each in offsets:  # from the inside out
                made = pa.ListArray if each.dtype.itemsize == 4 else pa.LargeListArray
                nested = made.from_arrays(_arrow_of(np.ascontiguousarray(each)), nested)
            return {"ragged": int(kind), "width": width, "crs": crs}, nested
    texts = shapely.to_wkb(geometries, include_srid=True, flavor="extended")
    return {"wkb": True, "crs": crs}, pa.array(texts, pa.large_binary())


def read_table(table: dict[str, Any], body: memoryview) -> Any:
    import pandas as pd
    import pyarrow as pa

    whole = pa.py_buffer(body)
    with pa.ipc.open_stream(whole) as reader:
        batch = reader.read_next_batch()
    memory = _Memory(body, whole.address)
    columns = [_read_column(each, batch.column(at), memory) for at, each in enumerate(table["columns"])]
    start, stop, step = table["index"]["range"]
    index = pd.RangeIndex(start, stop, step, name=table["index"]["name"])
    names = batch.schema.names
    made = {name: pd.Series(column, index=index, copy=False) for name, column in zip(names, columns, strict=True)}
    frame = pd.DataFrame(made, index=index, copy=False)
    if not names or str(frame.columns.dtype) != table["labels"]:
        frame.columns = pd.Index(names, dtype=table["labels"])
    if "geometry" not in table:
        return frame
    import geopandas

    found = geopandas.GeoDataFrame(frame)
    found._geometry_column_name = table["geometry"]
    return found


@functools.cache
def _crs(text: str) -> Any:
    """Coordinate systems cannot be changed; reading one takes longer than a small table."""
    from pyproj import CRS

    return CRS.from_json(text)


class _Memory:
    """Where Arrow's buffers lie in the body, which unlike them may be written."""

    def __init__(self, body: memoryview, address: int) -> None:
        self._body, self._address = body, address

    def values(self, array: Any, dtype: Any) -> Any:
        import numpy as np

        data = array.buffers()[-1]
        if data is None or not len(array):
            return np.empty(0, dtype)
        at = data.address - self._address + array.offset * np.dtype(dtype).itemsize
        return np.frombuffer(self._body, dtype, len(array), at)


def _read_column(described: dict[str, Any], array: Any, memory: _Memory) -> Any:
    import numpy as np
    import pyarrow as pa

    if "numpy" in described:
        return memory.values(array, described["numpy"])
    if "text" in described:
        import pandas as pd

        dtype = pd.StringDtype(described["text"], na_value=np.nan if described["na"] == "nan" else pd.NA)
        return dtype.__from_arrow__(array)  # type: ignore[attr-defined]
    import shapely
    from geopandas.array import GeometryArray

    if "ragged" in described:
        offsets: list[Any] = []
        while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            offsets.insert(0, array.offsets.to_numpy())
            array = array.values
        coordinates = array.values.to_numpy().reshape(-1, described["width"])
        kind = shapely.GeometryType(described["ragged"])
        geometries = shapely.from_ragged_array(kind, coordinates, tuple(offsets) or None)
    else:
        geometries = shapely.from_wkb(array.to_numpy(zero_copy_only=False))
    return GeometryArray(geometries, crs=None if described["crs"] is None else _crs(described["crs"]))
