"""Arrow tables with GeoParquet's metadata as GeoDataFrames."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_DEGREES = "EPSG:4326"


def _geometry_columns(table: pa.Table) -> dict[str, dict[str, Any]]:
    """What the "geo" key says of each geometry column that is there; a binary column "geometry" needs no key."""
    import pyarrow as pa

    metadata = table.schema.metadata or {}
    try:
        said = json.loads(metadata.get(b"geo", b"{}")).get("columns", {})
    except (ValueError, AttributeError):
        said = {}
    columns = {name: about for name, about in said.items() if name in table.column_names}
    if not said and "geometry" in table.column_names:
        kind = table.schema.field("geometry").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            columns["geometry"] = {}
    return columns


def _primary(table: pa.Table, columns: dict[str, dict[str, Any]]) -> str | None:
    try:
        name = json.loads((table.schema.metadata or {}).get(b"geo", b"{}")).get("primary_column")
    except (ValueError, AttributeError):
        name = None
    return name if name in columns else next(iter(columns), None)


def _crs(about: dict[str, Any]) -> Any:
    crs = about.get("crs")
    if crs is None and "crs" in about:
        return None  # unknown, says GeoParquet; a missing one means longitude and latitude
    identity = crs.get("id", {}) if isinstance(crs, dict) else {}
    if not crs or identity.get("authority") == "OGC" or identity.get("code") == 4326:
        return _DEGREES
    import pyproj

    return pyproj.CRS.from_user_input(crs)


class _Tagged:
    """An Arrow array that says it is GeoArrow, for geopandas' reader."""

    def __init__(self, array: pa.Array, encoding: str) -> None:
        self._array, self._encoding = array, encoding

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        import pyarrow as pa

        field = pa.field(
            "geometry", self._array.type, metadata={"ARROW:extension:name": f"geoarrow.{self._encoding.lower()}"}
        )
        _, array = self._array.__arrow_c_array__()
        return field.__arrow_c_schema__(), array


def _geometries(column: pa.ChunkedArray, about: dict[str, Any]) -> Any:
    import geopandas as gpd
    import pyarrow as pa
    import shapely

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # more than one chunk: too large for one array
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if about.get("encoding", "WKB").upper() == "WKB":
        values = shapely.from_wkb(array.to_numpy(zero_copy_only=False))
        return gpd.array.GeometryArray(values, crs=_crs(about))
    return gpd.GeoSeries.from_arrow(_Tagged(array, about["encoding"]), crs=_crs(about)).array


def to_frame(native_table: Any) -> Any:
    """A GeoDataFrame, or a DataFrame where no column holds geometry. Columns stay in their order."""
    import pyarrow as pa

    table: pa.Table = pa.table(native_table)
    columns = _geometry_columns(table)
    rest = table.drop_columns(list(columns)) if columns else table
    frame: pd.DataFrame = rest.to_pandas()
    if not columns:
        return frame
    import geopandas as gpd

    for at, name in enumerate(table.column_names):
        if name in columns:
            frame.insert(min(at, len(frame.columns)), name, _geometries(table.column(name), columns[name]))
    return gpd.GeoDataFrame(frame, geometry=_primary(table, columns))
