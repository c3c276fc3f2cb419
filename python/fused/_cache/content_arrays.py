"""The same for arrays, tables and geometries: by their values, not by where they lie in memory."""

from __future__ import annotations

import sys
from typing import Any

from fused._cache.content import Parts, encode, type_name
from fused._cache.errors import Unhashable


def encode_array(value: Any, out: Parts, depth: int) -> bool:
    """Appends ``value`` if it is of numpy, pandas, geopandas, shapely, pyarrow, pyproj or xarray; else False."""
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.ndarray):
        _ndarray(numpy, value, out, depth)
        return True
    if isinstance(value, numpy.generic):
        out.text(b"G", value.dtype.str)
        _ndarray(numpy, numpy.asarray(value), out, depth)
        return True
    root = type(value).__module__.partition(".")[0]
    if root == "shapely" or (root != "pandas" and _is(value, "shapely", "Geometry")):
        return _geometry(value, out, depth)
    if "pandas" in sys.modules and _pandas(value, out, depth):
        return True
    if _is(value, "pyproj", "CRS"):
        out.text(b"Q", value.to_wkt())
        return True
    if root == "pyarrow" or hasattr(value, "__arrow_c_stream__"):
        return _arrow(value, out, depth)
    if root == "xarray" and hasattr(value, "to_dataset"):
        _xarray(value.to_dataset(name="value") if value.name is None else value, out, depth)
        return True
    if root == "xarray" and hasattr(value, "data_vars"):
        _xarray(value, out, depth)
        return True
    return False


def _is(value: Any, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _ndarray(numpy: Any, value: Any, out: Parts, depth: int) -> None:
    if type(value) is not numpy.ndarray:
        out.text(b"K", type_name(type(value)))
        if isinstance(value, numpy.ma.MaskedArray):
            _ndarray(numpy, numpy.ma.getmaskarray(value), out, depth)
            value = value.filled()
        value = numpy.asarray(value)
    out.text(b"a", f"{value.dtype.descr if value.dtype.names else value.dtype.str} {value.shape}")
    if value.dtype.hasobject:
        if _is_geometries(value):
            _wkb(value, out)
            return
        encode(value.ravel().tolist(), out, depth + 1)
    else:
        out.data(b"A", memoryview(numpy.ascontiguousarray(value).reshape(-1).view(numpy.uint8)))


def _is_geometries(value: Any) -> bool:
    shapely = sys.modules.get("shapely")
    return shapely is not None and value.size > 0 and bool((shapely.is_geometry(value) | (value == None)).all())  # noqa: E711


def _wkb(value: Any, out: Parts) -> None:
    import numpy
    import shapely

    texts = shapely.to_wkb(value.reshape(-1), include_srid=True, flavor="extended")
    lengths = numpy.fromiter((-1 if text is None else len(text) for text in texts), "int64", len(texts))
    out.data(b"L", lengths.tobytes())
    out.data(b"W", b"".join(text for text in texts if text is not None))


def _geometry(value: Any, out: Parts, depth: int) -> bool:
    import numpy
    import shapely

    if not isinstance(value, shapely.Geometry):
        return False
    out.small += b"O"
    held = numpy.empty(1, object)
    held[0] = value
    out.text(b"o", value.geom_type)
    _wkb(held, out)
    return True


def _pandas(value: Any, out: Parts, depth: int) -> bool:
    import pandas

    if isinstance(value, pandas.DataFrame):
        out.text(b"X", type_name(type(value)))
        encode(value.columns, out, depth + 1)
        encode(value.index, out, depth + 1)
        for at in range(value.shape[1]):
            encode(value.iloc[:, at].array, out, depth + 1)
        encode(dict(value.attrs), out, depth + 1)
        encode(getattr(value, "_geometry_column_name", None), out, depth + 1)
    elif isinstance(value, pandas.Series):
        out.text(b"X", type_name(type(value)))
        encode((value.name, value.index, value.array, dict(value.attrs)), out, depth + 1)
    elif isinstance(value, pandas.RangeIndex):
        encode(("RangeIndex", value.name, value.start, value.stop, value.step), out, depth + 1)
    elif isinstance(value, pandas.MultiIndex):
        encode(("MultiIndex", list(value.names), list(value.levels), list(value.codes)), out, depth + 1)
    elif isinstance(value, pandas.Index):
        encode((type(value).__name__, value.name, value.array), out, depth + 1)
    elif isinstance(value, pandas.api.extensions.ExtensionArray):
        _extension_array(value, out, depth)
    else:
        return False
    return True


def _extension_array(value: Any, out: Parts, depth: int) -> None:
    import numpy
    import pandas

    out.text(b"x", f"{type(value).__name__} {value.dtype!r}")
    if isinstance(value, pandas.arrays.NumpyExtensionArray):
        encode(value.to_numpy(), out, depth + 1)
    elif isinstance(value, pandas.Categorical):
        encode((value.codes, value.categories, value.ordered), out, depth + 1)
    elif isinstance(value, pandas.arrays.DatetimeArray | pandas.arrays.TimedeltaArray | pandas.arrays.PeriodArray):
        encode(value.asi8, out, depth + 1)  # type: ignore[union-attr]
    elif hasattr(value, "crs") and hasattr(value, "total_bounds"):  # geometries
        _wkb(numpy.asarray(value), out)
        encode(value.crs, out, depth + 1)
    elif hasattr(value, "__arrow_array__"):
        import pyarrow

        _arrow(pyarrow.array(value), out, depth)
    else:
        encode(numpy.asarray(value, object), out, depth + 1)


def _arrow(value: Any, out: Parts, depth: int) -> bool:
    import pyarrow as pa

    if isinstance(value, pa.Array | pa.ChunkedArray):
        table = pa.table({"": value})
    elif isinstance(value, pa.Table | pa.RecordBatch):
        table = pa.table(value) if isinstance(value, pa.Table) else pa.Table.from_batches([value])
    elif isinstance(value, pa.Scalar):
        table = pa.table({"": pa.array([value.as_py()], value.type)})
    elif isinstance(value, pa.Buffer):
        out.data(b"B", memoryview(value))
        return True
    elif isinstance(value, pa.DataType | pa.Schema | pa.Field):
        out.text(b"H", str(value))
        return True
    elif hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns"):
        table = pa.table(value)
    else:
        if type(value).__module__.startswith("pyarrow"):
            raise Unhashable(f"it is a {type_name(type(value))}, which has no content to compare")
        return False
    out.text(b"X", type_name(type(value)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    out.data(b"w", memoryview(sink.getvalue()))
    return True


def _xarray(value: Any, out: Parts, depth: int) -> None:
    out.text(b"X", type_name(type(value)))
    variables = value.variables if hasattr(value, "variables") else value.to_dataset().variables
    for name, variable in variables.items():
        encode((str(name), tuple(variable.dims), variable.values, dict(variable.attrs)), out, depth + 1)
    encode(dict(value.attrs), out, depth + 1)
