"""``fused.ingest``: arguments become a configuration; what cannot be or contradicts is said here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fused.models.ingest import GDALOpenConfig, GeospatialPartitionJobStepConfig
from fused.models.schema import Schema

if TYPE_CHECKING:
    import geopandas as gpd


def ingest(
    input: str | Sequence[str] | Path | gpd.GeoDataFrame,
    output: str | None = None,
    output_metadata: str | None = None,
    schema: Schema | Mapping[str, Any] | str | None = None,
    file_suffix: str | None = None,
    load_columns: Sequence[str] | None = None,
    remove_cols: Sequence[str] | None = None,
    explode_geometries: bool = False,
    drop_out_of_bounds: bool | None = None,
    partitioning_method: Literal["area", "length", "coords", "rows"] = "rows",
    partitioning_maximum_per_file: int | float | None = None,
    partitioning_maximum_per_chunk: int | float | None = None,
    partitioning_max_width_ratio: int | float = 2,
    partitioning_max_height_ratio: int | float = 2,
    partitioning_force_utm: Literal["file", "chunk"] | None = "chunk",
    partitioning_split_method: Literal["mean", "median"] = "mean",
    subdivide_method: Literal["area"] | None = None,
    subdivide_start: float | None = None,
    subdivide_stop: float | None = None,
    split_identical_centroids: bool = True,
    target_num_chunks: int = 5000,
    lonlat_cols: tuple[str, str] | None = None,
    partitioning_schema_input: str | None = None,
    gdal_config: GDALOpenConfig | Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    write_covering_bbox: bool = True,
    name: str | None = None,
    n_processes: int | None = None,
    **unknown: Any,
) -> GeospatialPartitionJobStepConfig:
    """A table of partitioned GeoParquet from geodata of any size; nothing happens before ``run_local()``.

    ``input``: a GeoDataFrame, a file, a list of files, a folder, a pattern (``"data/*.gpkg"``), or ``s3://…``. Every
    parameter is explained, with what it does by default, in docs/reference/ingest.md.

    ::

        fused.ingest("shorelines.gpkg", "out/").run_local()
    """
    if unknown:
        raise TypeError(_unknown(unknown))
    if subdivide_method not in (None, "area"):
        raise ValueError(f"subdivide_method is {subdivide_method!r}; it is 'area' or None")
    if subdivide_method is None and (subdivide_start is not None or subdivide_stop is not None):
        given = "subdivide_start" if subdivide_start is not None else "subdivide_stop"
        raise ValueError(f"{given} is given without subdivide_method; give subdivide_method='area' as well")
    if subdivide_method is not None and subdivide_start is None:
        raise ValueError("subdivide_method is given without subdivide_start: above which area are geometries divided?")
    if load_columns is not None and remove_cols:
        both = sorted(set(_names("load_columns", load_columns)) & set(_names("remove_cols", remove_cols)))
        if both:
            raise ValueError(f"load_columns and remove_cols both name {', '.join(map(repr, both))}")
    if lonlat_cols is not None and (isinstance(lonlat_cols, str) or len(lonlat_cols) != 2):
        raise ValueError(f"lonlat_cols is {lonlat_cols!r}; it names two columns, longitude and latitude")
    if file_suffix is not None and not isinstance(file_suffix, str):
        raise TypeError(f"file_suffix is {file_suffix!r}; it is text, as '.geojson'")
    if partitioning_schema_input is not None and (partitioning_maximum_per_file or partitioning_maximum_per_chunk):
        given = "file" if partitioning_maximum_per_file else "chunk"
        raise ValueError(
            f"partitioning_schema_input and partitioning_maximum_per_{given} contradict each other: "
            "the boxes of the schema decide what a chunk is"
        )
    return GeospatialPartitionJobStepConfig(
        name=name,
        n_processes=n_processes,
        input=input,
        output=None if output is None else str(output),
        output_metadata=None if output_metadata is None else str(output_metadata),
        partitioning_maximum_per_file=partitioning_maximum_per_file,
        partitioning_maximum_per_chunk=partitioning_maximum_per_chunk,
        overwrite=overwrite,
        table_schema=None if schema is None else Schema.parse(schema),
        file_suffix=file_suffix,
        load_columns=None if load_columns is None else _names("load_columns", load_columns),
        remove_cols=[] if remove_cols is None else _names("remove_cols", remove_cols),
        explode_geometries=explode_geometries,
        drop_out_of_bounds=drop_out_of_bounds,
        lonlat_cols=None if lonlat_cols is None else (str(lonlat_cols[0]), str(lonlat_cols[1])),
        partitioning_max_width_ratio=partitioning_max_width_ratio,
        partitioning_max_height_ratio=partitioning_max_height_ratio,
        partitioning_method=partitioning_method,
        partitioning_force_utm=partitioning_force_utm,
        partitioning_split_method=partitioning_split_method,
        subdivide_start=subdivide_start,
        subdivide_stop=subdivide_stop,
        subdivide_method=subdivide_method,
        split_identical_centroids=split_identical_centroids,
        target_num_chunks=target_num_chunks,
        partitioning_schema_input=None if partitioning_schema_input is None else str(partitioning_schema_input),
        gdal_config=GDALOpenConfig.parse(gdal_config),
        write_covering_bbox=write_covering_bbox,
    )


def _names(option: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} is a list of column names, not the text {names!r}")
    return [str(each) for each in names]


def _unknown(unknown: Mapping[str, Any]) -> str:
    from inspect import signature

    known = [each for each in signature(ingest).parameters if each != "unknown"]
    said = []
    for each in unknown:
        near = difflib.get_close_matches(each, known, 1)
        said.append(f"{each!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    return f"ingest() has no parameter {', '.join(said)}"
