"""Which library's table a value is."""

from __future__ import annotations

from typing import Any

from .base import NotSerialisable, remembered_by_type


def is_table(value: Any) -> bool:
    return family(type(value)) is not None


@remembered_by_type
def family(kind: type) -> str | None:
    """Which library's table a type is, by name: nothing is imported to find out."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        name = base.__name__
        if package == "geopandas" and name in ("GeoDataFrame", "GeoSeries"):
            return "geopandas"
        if package == "pandas" and name in ("DataFrame", "Series", "Index"):
            return "pandas"
        if package == "shapely" and name == "BaseGeometry":
            return "shapely"
        if package == "pyarrow" and name in ("Table", "RecordBatch", "RecordBatchReader", "ChunkedArray", "Array"):
            return "pyarrow"
        if package == "polars" and name in ("DataFrame", "LazyFrame", "Series"):
            return "polars"
    if kind.__module__.partition(".")[0] not in ("numpy", "pandas") and hasattr(kind, "__arrow_c_stream__"):
        return "arrow"
    return None


def geopandas_module() -> Any:
    try:
        import geopandas
    except ImportError:
        raise NotSerialisable("a shapely geometry needs geopandas to be written; install geopandas") from None
    return geopandas
