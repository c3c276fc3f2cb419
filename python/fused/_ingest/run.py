"""An ingest from its configuration to the table: opens inputs, runs the native stages, publishes, cleans up."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from fused._ingest import inputs as found_inputs
from fused._ingest.gdal import check_drivers
from fused._ingest.place import Place, shown
from fused._ingest.result import IngestResult
from fused.models.ingest import GeospatialPartitionJobStepConfig

MEMORY_LIMIT = 500_000_000
Report = Callable[[str, int, int], None]


def run_ingest(
    config: GeospatialPartitionJobStepConfig,
    *,
    memory_limit: int = MEMORY_LIMIT,
    scratch_limit: int | None = None,
    threads: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    row_memory: int | None = None,
    allow_drivers: Sequence[str] = (),
    on_progress: Report | None = None,
) -> IngestResult:
    """Makes the table that ``config`` describes. Errors: ``ValueError`` for the input or an option (named in it),
    ``FileNotFoundError``, ``FileExistsError`` for an output that is not empty, ``OSError`` for the disk or S3.
    """
    if config.output is None and not dry_run:
        if config.output_metadata is None:
            raise ValueError("no output: say where the table goes (output), or look first with dry_run=True")
        raise ValueError("output_metadata is given without output: a table of chunks describes a table")
    began = time.monotonic()
    with ExitStack() as stack:
        sources = Sources(config, check_drivers(allow_drivers))
        place = stack.enter_context(Place.take(config, sources.fingerprint(config), dry_run=dry_run, resume=resume))
        options = _options(config, sources)
        options |= {
            "staging": str(place.staging),
            "output": config.output or "",
            "memory_limit": memory_limit,
            "threads": threads or config.n_processes or len(os.sched_getaffinity(0)),
            "dry_run": dry_run,
            "resume": place.resumes,
            "file_prefix": place.file_prefix,
        }
        if scratch_limit is not None:
            options["scratch_limit"] = scratch_limit
        if row_memory is not None:
            options["row_memory"] = row_memory
        stages = _Stages(options, config, sources, place, dry_run)
        _watched(stages, on_progress)
        summary = json.loads(stages.native.summary())
        chunks = stages.native.chunks()
    summary["seconds"] = time.monotonic() - began
    return IngestResult(
        summary=summary,
        notes=sources.notes,
        output=None if config.output is None else shown(config.output),
        chunks=chunks,
        dry_run=dry_run,
    )


class Sources:
    """The inputs, and what was noticed while they were opened."""

    def __init__(self, config: GeospatialPartitionJobStepConfig, allowed: frozenset[str] = frozenset()) -> None:
        self.allowed = allowed
        self.frame = config.input if hasattr(config.input, "to_arrow") and hasattr(config.input, "geometry") else None
        self.files = (
            [] if self.frame is not None else found_inputs.find_files(config.input, config.file_suffix, allowed)
        )
        self.notes: list[str] = []
        self.drop: list[str] = []  # columns that an open option removes
        self.points: dict[str, Any] = {}
        for file in self.files:
            if file.kind != "csv":
                continue
            from fused._ingest.gdal import point_columns

            columns = point_columns(file.path, config.gdal_config, config.lonlat_cols)
            if columns is not None:
                self.points[file.path] = columns
                if not columns.keep:
                    self.drop += [each for each in (columns.longitude, columns.latitude) if each not in self.drop]

    def fingerprint(self, config: GeospatialPartitionJobStepConfig) -> str:
        """Of options and inputs: the same for a run that may go on where another was killed."""
        import hashlib

        said: list[Any] = [_options(config, self), config.table_schema and config.table_schema.to_json()]
        said += [config.gdal_config.to_json(), config.lonlat_cols, config.output_metadata]
        if self.frame is not None:
            said.append(id(self.frame))
        for file in self.files:
            status = os.stat(file.path) if os.path.exists(file.path) else None
            said.append([file.path, status and [status.st_size, status.st_mtime_ns]])
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _options(config: GeospatialPartitionJobStepConfig, sources: Sources) -> dict[str, Any]:
    names = (
        *("load_columns", "explode_geometries", "subdivide_start", "subdivide_stop", "partitioning_method"),
        *("partitioning_maximum_per_file", "partitioning_maximum_per_chunk", "partitioning_max_width_ratio"),
        *("partitioning_max_height_ratio", "partitioning_force_utm", "partitioning_split_method"),
        *("split_identical_centroids", "target_num_chunks", "partitioning_schema_input", "write_covering_bbox"),
    )
    options = {name: getattr(config, name) for name in names}
    options["remove_cols"] = [*config.remove_cols, *(each for each in sources.drop if each not in config.remove_cols)]
    options["drop_out_of_bounds"] = config.drop_out_of_bounds is not False
    if config.subdivide_start is not None and config.subdivide_stop is None:
        options["subdivide_stop"] = config.subdivide_start
    return options


class _Stages:
    """The native stages in their order, with what Python adds to each."""

    def __init__(
        self,
        options: dict[str, Any],
        config: GeospatialPartitionJobStepConfig,
        sources: Sources,
        place: Place,
        dry_run: bool,
    ) -> None:
        from fused import _native

        self.config, self.sources, self.place, self.dry_run = config, sources, place, dry_run
        self.passed: list[tuple[str, int, int]] = []  # how far each stage had come when it ended
        with _PlainErrors():
            self.native = _native.Ingest(json.dumps(options))

    def run(self) -> None:
        """Everything; raises what went wrong."""
        with ExitStack() as stack:
            streams = self._add_sources(stack)
            if self.config.subdivide_start is not None:
                from fused._ingest.geometry import subdivider

                self.native.set_subdivide(subdivider(self.config.subdivide_stop or self.config.subdivide_start))
            self._pass()
            self.native.begin(_arrow_schema(self.config))
            self.native.read_files()
            for index, read in streams:
                read(index)
        self.native.finish_reading()
        self._pass()
        self.native.partition()
        self._pass()
        if self.dry_run:
            return
        self.native.write(self.place.target)
        self._pass()
        self.place.sample_begun = True
        self.native.write_sample()
        self.place.publish(self.native.metadata_table() if self.config.output_metadata else None)
        self._pass()

    def _pass(self) -> None:
        """Who looks ten times a second would see neither a short stage nor the last rows of a long one."""
        self.passed.append(self.native.progress())

    def news(self) -> list[tuple[str, int, int]]:
        """What there is to report: stages that have ended since the last time, and the one that is under way."""
        now = self.native.progress()
        ended, self.passed = self.passed, []
        return ended if now[0] in [stage for stage, *_ in ended] else [*ended, now]

    def _add_sources(self, stack: ExitStack) -> list[tuple[int, Callable[[int], None]]]:
        streams: list[tuple[int, Callable[[int], None]]] = []
        if self.sources.frame is not None:
            frame = self.sources.frame
            geometry = frame.geometry.name
            arrow = frame.to_arrow(index=False, geometry_encoding="WKB")
            crs = frame.crs.to_json() if frame.crs is not None else ""
            said = self.native.add_stream("the GeoDataFrame", arrow, geometry, crs, [], True)
            self.native.set_rows(0, len(frame))
            self._use_crs(0, "the GeoDataFrame", said)
            return [(0, lambda at: self.native.read_stream(at, None))]
        lonlat = list(self.config.lonlat_cols or ())
        for index, file in enumerate(self.sources.files):
            if file.kind in ("parquet", "ipc"):
                said = self.native.add_file(file.path, file.kind, lonlat, "", ",")
                self._use_crs(index, file.path, said)
            elif file.path in self.sources.points:
                points = self.sources.points[file.path]
                columns = [points.longitude, points.latitude]
                self.native.add_file(file.path, "csv", columns, "", points.delimiter)
            else:
                streams.append((index, self._add_layer(index, file.path, stack)))
        return streams

    def _add_layer(self, index: int, path: str, stack: ExitStack) -> Callable[[int], None]:
        """A single layer stays open between looking and reading; of several only one is open at a time."""
        from fused._ingest.gdal import open_layer

        config = self.config.gdal_config
        lonlat = list(self.config.lonlat_cols or ())

        def look(stream: Any, name: str, geometry: str, crs: str, keep: bool) -> None:
            said = self.native.add_stream(name, stream, "" if lonlat else geometry, crs, lonlat, keep)
            self._use_crs(index, name, said)

        if len(self.sources.files) == 1:
            name, stream, geometry, crs, _ = stack.enter_context(open_layer(path, config, self.sources.allowed))
            look(stream, name, geometry, crs, True)
            return lambda at: self.native.read_stream(at, None)
        with open_layer(path, config, self.sources.allowed) as (name, stream, geometry, crs, _):
            look(stream, name, geometry, crs, False)

        def read(at: int) -> None:
            with open_layer(path, config, self.sources.allowed) as (_name, stream, _geometry, _crs, _rows):
                self.native.read_stream(at, stream)

        return read

    def _use_crs(self, index: int, name: str, said: tuple[int, str, bool, bool]) -> None:
        _, crs, has_crs, needs_projection = said
        if not has_crs:
            self.sources.notes.append(f"{name} has no CRS: its coordinates are taken as longitude and latitude")
        if needs_projection:
            from fused._ingest.geometry import projection, projection_note

            note = projection_note(crs, name)
            if note and note not in self.sources.notes:
                self.sources.notes.append(note)
            self.native.set_transform(index, projection(crs, name))


def _arrow_schema(config: GeospatialPartitionJobStepConfig) -> Any:
    if config.table_schema is None:
        return None
    from fused._ingest.schema import arrow_schema

    return arrow_schema(config.table_schema)


def _watched(stages: _Stages, on_progress: Report | None) -> None:
    """Runs the stages in a thread, so that an interrupt is heard and progress can be shown."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            with _PlainErrors():
                stages.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, name="fused-ingest")
    thread.start()
    try:
        is_over = False
        while not is_over:
            thread.join(0.1)
            is_over = not thread.is_alive()
            for news in stages.news() if on_progress is not None else ():
                on_progress(*news)  # type: ignore[misc]
    except BaseException:
        stages.native.stop()
        thread.join()
        raise
    if raised:
        raise raised[0]


class _PlainErrors:
    """Errors of the native part as Python has them."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            return
        from fused import _native

        if not isinstance(error, _native.EncodeError):
            return
        what, message = error.args[0], str(error.args[1])
        if what == "not_found":
            raise FileNotFoundError(message) from None
        if what in ("internal", "storage_full", "unavailable"):
            raise OSError(message) from None
        raise ValueError(message) from None
