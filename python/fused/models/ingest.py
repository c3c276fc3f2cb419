"""The configuration objects of ``fused.ingest``: what is read, how it is partitioned, where it goes.

Field names and JSON are those of a job's step, so that a configuration can be sent as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fused.models.schema import Schema

if TYPE_CHECKING:
    from fused._ingest.result import IngestResult
    from fused._jobs.response import RunResponse

PartitioningMethod = Literal["area", "length", "coords", "rows"]


@dataclass
class GDALOpenConfig:
    """How GDAL opens files: ``layer`` by name or number, ``open_options`` as GDAL's driver pages list them."""

    layer: str | int | None = None
    open_options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: GDALOpenConfig | Mapping[str, Any] | None) -> GDALOpenConfig:
        """From the dictionary that ``fused.ingest`` takes; ``ValueError`` names an unknown key."""
        if value is None:
            return cls()
        if isinstance(value, GDALOpenConfig):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"gdal_config is a dictionary or a GDALOpenConfig, not {value!r}")
        unknown = set(value) - {"layer", "open_options"}
        if unknown:
            raise ValueError(f"gdal_config has unknown keys {sorted(unknown)}; known are 'layer' and 'open_options'")
        options = value.get("open_options") or {}
        if not isinstance(options, Mapping):
            raise TypeError(f"gdal_config's open_options is a dictionary, not {options!r}")
        return cls(layer=value.get("layer"), open_options={str(key): str(each) for key, each in options.items()})

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return {"open_options": dict(self.open_options), "layer": self.layer}


@dataclass
class JobStepConfig:
    """What every step of a job has."""

    type: ClassVar[str] = ""

    name: str | None = None
    metadata: dict[str, Any] | None = None
    ignore_chunk_error: bool = False
    n_processes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The step as it travels (client-protocol of jobs)."""
        values: dict[str, Any] = {"type": self.type}
        for each in fields(self):
            values[each.name] = _plain(getattr(self, each.name))
        return values

    model_dump = to_json

    def model_dump_json(self) -> str:
        """``to_json`` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False)


@dataclass
class PartitionJobStepConfig(JobStepConfig):
    """A step that makes a table of files."""

    input: Any = None
    output: str | None = None
    output_metadata: str | None = None
    partitioning_maximum_per_file: int | float | None = None
    partitioning_maximum_per_chunk: int | float | None = None
    overwrite: bool = False

    def run_remote(
        self,
        output_table: str | None = None,
        instance_type: str | None = None,
        region: str | None = None,
        disk_size_gb: int | None = None,
        additional_env: Sequence[str] | None = None,
        image_name: str | None = None,
        ignore_no_udf: bool = False,
        ignore_no_output: bool = False,
        validate_imports: bool | None = None,
        validate_inputs: bool = True,
        overwrite: bool | None = None,
        **options: Any,
    ) -> RunResponse:
        """Makes the table in a job on the server and returns at once: a ``RunResponse`` to watch it by.

        ``output_table``: where the table goes, instead of ``output``. The other parameters: ``JobConfig.run_remote``;
        ``options`` are its newer ones (``name``, ``send_status_email``, ``n_processes``, ``priority``, ``max_retry``,
        ``on_finish``).
        """
        from fused.models.job import JobConfig

        step = self if output_table is None else replace(self, output=str(output_table))
        return JobConfig([step]).run_remote(
            instance_type,
            region,
            disk_size_gb,
            additional_env,
            image_name,
            ignore_no_udf,
            ignore_no_output,
            validate_imports,
            validate_inputs,
            overwrite,
            **options,
        )

    def run_batch(self, instance_type: str | None = None, **options: Any) -> RunResponse:
        """``run_remote`` by its newer name."""
        return self.run_remote(None, instance_type, **options)


@dataclass
class NonGeospatialPartitionJobStepConfig(PartitionJobStepConfig):
    """A table without geometry (``fused.ingest_nongeospatial``)."""

    type: ClassVar[str] = "partition_nongeospatial"

    partition_col: str | None = None

    def run_local(self, output_table: str | None = None, *, overwrite: bool | None = None) -> IngestResult:
        """Makes the table in this process and gives a summary of it."""
        from fused._ingest.plain import run_plain

        chosen = self if output_table is None else replace(self, output=output_table)
        return run_plain(chosen if overwrite is None else replace(chosen, overwrite=overwrite))


@dataclass(repr=False)
class GeospatialPartitionJobStepConfig(PartitionJobStepConfig):
    """What ``fused.ingest`` gives: ``run_local()`` makes the table in this process."""

    type: ClassVar[str] = "partition_geospatial"

    table_schema: Schema | None = None
    file_suffix: str | None = None
    load_columns: Sequence[str] | None = None
    remove_cols: Sequence[str] = field(default_factory=list)
    explode_geometries: bool = False
    drop_out_of_bounds: bool | None = None
    lonlat_cols: tuple[str, str] | None = None
    partitioning_max_width_ratio: int | float = 2
    partitioning_max_height_ratio: int | float = 2
    partitioning_method: PartitioningMethod = "rows"
    partitioning_force_utm: Literal["file", "chunk"] | None = "chunk"
    partitioning_split_method: Literal["mean", "median"] = "mean"
    subdivide_start: float | None = None
    subdivide_stop: float | None = None
    subdivide_method: Literal["area"] | None = None
    split_identical_centroids: bool = True
    target_num_chunks: int = 5000
    partitioning_schema_input: str | None = None
    gdal_config: GDALOpenConfig = field(default_factory=GDALOpenConfig)
    write_covering_bbox: bool = True

    def run_local(
        self, output_table: str | None = None, *, overwrite: bool | None = None, **settings: Any
    ) -> IngestResult:
        """Makes the table in this process and gives a summary of it.

        ``settings``: ``memory_limit``, ``scratch_limit`` and ``row_memory`` in bytes, ``threads``, ``dry_run``,
        ``resume``, ``allow_drivers`` (of GDAL: those that are off otherwise), ``on_progress`` (called with stage, rows
        done and rows in all).
        """
        from fused._ingest.run import run_ingest

        chosen = self
        if output_table is not None:
            chosen = replace(chosen, output=output_table)
        if overwrite is not None:
            chosen = replace(chosen, overwrite=overwrite)
        return run_ingest(chosen, **settings)

    def set_output(
        self, output: str | None = None, output_metadata: str | None = None
    ) -> GeospatialPartitionJobStepConfig:
        """The same ingest, to another place."""
        return replace(self, output=output or self.output, output_metadata=output_metadata or self.output_metadata)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> GeospatialPartitionJobStepConfig:
        """From ``to_json``'s record; unknown keys are an error that names them."""
        given = {key: each for key, each in value.items() if key != "type"}
        unknown = set(given) - {each.name for each in fields(cls)}
        if unknown:
            raise ValueError(f"an ingest step has unknown keys {sorted(unknown)}")
        if given.get("table_schema") is not None:
            given["table_schema"] = Schema.parse(given["table_schema"])
        given["gdal_config"] = GDALOpenConfig.parse(given.get("gdal_config"))
        return cls(**given)

    def __repr__(self) -> str:
        shown = [
            f"{each.name}={_short(getattr(self, each.name))}"
            for each in fields(self)
            if each.name in ("input", "output") or getattr(self, each.name) != _default(each)
        ]
        return f"GeospatialPartitionJobStepConfig({', '.join(shown)})"

    def _repr_html_(self) -> str:
        from fused._ingest.show import config_html

        return config_html(self)


def _default(each: Any) -> Any:
    from dataclasses import MISSING

    return each.default if each.default_factory is MISSING else each.default_factory()


def _short(value: Any) -> str:
    text = f"<{type(value).__name__} of {len(value)} rows>" if hasattr(value, "geometry") else repr(value)
    return text if len(text) < 120 else text[:117] + "..."


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json") and not hasattr(value, "geometry"):
        return value.to_json()
    if hasattr(value, "geometry"):
        raise ValueError("a GeoDataFrame cannot be sent as JSON; save it to a file and ingest that")
    if isinstance(value, str | bytes | Mapping) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool) else str(value)
