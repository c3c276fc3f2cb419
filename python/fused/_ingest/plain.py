"""``fused.ingest_nongeospatial``: rows without geometry become a table of files and row groups of bounded size.

The table has a ``_sample`` as others have, with boxes of NaN; chunks are read by ``get_chunk_from_table``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fused._ingest import inputs as found_inputs
from fused._ingest.place import Place, shown
from fused._ingest.result import IngestResult
from fused.models.ingest import NonGeospatialPartitionJobStepConfig

BATCH_ROWS = 65_536
FILES_MAX = 1_000  # of a table that is partitioned by a column
VALUES_MAX = 5_000_000  # different ones of that column


def ingest_nongeospatial(
    input: str | Sequence[str] | Path,
    output: str | None = None,
    output_metadata: str | None = None,
    partition_col: str | None = None,
    partitioning_maximum_per_file: int = 2_500_000,
    partitioning_maximum_per_chunk: int = 65_000,
    *,
    overwrite: bool = False,
) -> NonGeospatialPartitionJobStepConfig:
    """A table of Parquet from rows without geometry (Parquet, Arrow, CSV); nothing happens before ``run_local()``.

    ``partition_col``: rows are ordered by this column, so that equal values stand together and the statistics of a
    chunk say which it holds; without it rows keep their order.
    """
    for name, value in (("file", partitioning_maximum_per_file), ("chunk", partitioning_maximum_per_chunk)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"partitioning_maximum_per_{name} is {value!r}; it is a number of rows, 1 or more")
    if partitioning_maximum_per_chunk > partitioning_maximum_per_file:
        raise ValueError(
            f"partitioning_maximum_per_chunk ({partitioning_maximum_per_chunk}) and partitioning_maximum_per_file "
            f"({partitioning_maximum_per_file}) contradict each other: a chunk lies in one file"
        )
    return NonGeospatialPartitionJobStepConfig(
        input=input,
        output=None if output is None else str(output),
        output_metadata=None if output_metadata is None else str(output_metadata),
        partition_col=partition_col,
        partitioning_maximum_per_file=partitioning_maximum_per_file,
        partitioning_maximum_per_chunk=partitioning_maximum_per_chunk,
        overwrite=overwrite,
    )


def run_plain(config: NonGeospatialPartitionJobStepConfig) -> IngestResult:
    """Makes the table; errors as ``run_ingest`` has them."""
    import pyarrow as pa

    if config.output is None:
        raise ValueError("no output: say where the table goes (output)")
    began = time.monotonic()
    files = found_inputs.find_files(config.input, None)
    try:
        rows = _Rows([(file.path, file.kind) for file in files], config.partition_col)
        mark = hashlib.sha256(json.dumps([file.path for file in files]).encode()).hexdigest()
        with Place.take(config, mark, dry_run=False, resume=False) as place:
            table = _Writer(place, rows.schema, config)
            batches = rows.in_order() if config.partition_col is None else rows.by_value(place.staging, table.file_rows)
            for batch in batches:
                table.add(batch)
            table.finish()
    except pa.ArrowException as error:
        raise ValueError(f"{shown(str(files[0].path))}: {error}" if len(files) == 1 else str(error)) from None
    summary = {
        "rows": sum(row[-1] for row in table.chunks),
        "files": table.files,
        "chunks": len(table.chunks),
        "chunk_rows": [row[-1] for row in table.chunks],
        "bytes": table.bytes,
        "seconds": time.monotonic() - began,
        **dict.fromkeys(("scratch_bytes", "out_of_bounds", "partly_outside", "without_geometry", "subdivided"), 0),
    }
    return IngestResult(summary=summary, output=shown(config.output))


class _Rows:
    """The rows of all inputs, batch by batch."""

    def __init__(self, files: list[tuple[str, str]], column: str | None) -> None:
        import pyarrow as pa
        import pyarrow.dataset as ds

        formats = {"parquet": "parquet", "ipc": "ipc", "csv": "csv"}
        for path, kind in files:
            if kind not in formats:
                raise ValueError(f"{path}: rows without geometry are read from Parquet, Arrow and CSV files")
        self.parts = [
            ds.dataset(_place(path)[1], format=formats[kind], filesystem=_place(path)[0]) for path, kind in files
        ]
        try:
            self.schema = pa.unify_schemas([part.schema for part in self.parts], promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(f"the inputs' columns do not fit together: {error}") from None
        self.schema = self.schema.remove_metadata()
        self.column = column
        if column is not None and column not in self.schema.names:
            raise ValueError(f"partition_col is {column!r}; the input has {', '.join(map(repr, self.schema.names))}")

    def in_order(self, columns: list[str] | None = None) -> Iterator[Any]:
        for part in self.parts:
            reader = part.replace_schema(self.schema).scanner(
                columns=columns, batch_size=BATCH_ROWS, batch_readahead=4, fragment_readahead=1
            )
            yield from reader.to_batches()

    def by_value(self, folder: Path, file_rows: int) -> Iterator[Any]:
        """Ordered by the column: rows are dealt out to as many scratch files as there will be files, then each of them
        is read and sorted (stably: equal values keep the order of the input)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        value_file, count = self._deal(file_rows)
        with ExitStack() as stack:
            paths = [folder / f"scratch-{i}.arrows" for i in range(count)]
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            outs = [stack.enter_context(pa.ipc.new_stream(path, self.schema, options=options)) for path in paths]
            for batch in self.in_order():
                index = pc.index_in(batch[self.column], value_set=value_file[0])
                files = value_file[1].take(index)
                for file in pc.unique(files).to_pylist():
                    outs[file].write_batch(batch.filter(pc.equal(files, file)))
        for path in paths:
            with pa.ipc.open_stream(path) as stream:
                whole = stream.read_all()
            path.unlink()
            order = pc.sort_indices(whole, sort_keys=[(self.column, "ascending", "at_end")])
            yield from whole.take(order).combine_chunks().to_batches(max_chunksize=BATCH_ROWS)

    def _deal(self, file_rows: int) -> tuple[tuple[Any, Any], int]:
        """Which scratch file each value goes to: neighbours together, as many as fit into a file."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self.column is not None
        counts: Any = None
        for batch in self.in_order([self.column]):
            found = pa.table({"v": batch.column(0), "n": pa.repeat(1, batch.num_rows)})
            merged = found if counts is None else pa.concat_tables([found, counts])
            counts = merged.group_by("v").aggregate([("n", "sum")]).rename_columns({"v": "v", "n_sum": "n"})
            if counts.num_rows > VALUES_MAX:
                raise ValueError(f"partition_col {self.column!r} has more than {VALUES_MAX:,} different values")
        if counts is None or counts.num_rows == 0:
            raise ValueError("the input has no rows")
        counts = counts.take(pc.sort_indices(counts, sort_keys=[("v", "ascending", "at_end")]))
        file, held, dealt = 0, 0, []
        for rows in counts["n"].to_pylist():
            if held and held + rows > file_rows:
                file, held = file + 1, 0
            held += rows
            dealt.append(file)
        if file >= FILES_MAX:
            raise ValueError(
                f"there would be {file + 1:,} files, at most {FILES_MAX:,} can be made; give a larger "
                "partitioning_maximum_per_file"
            )
        return (counts["v"].combine_chunks(), pa.array(dealt, pa.int32())), file + 1


class _Writer:
    """Files of at most so many rows, in row groups of at most so many."""

    def __init__(self, place: Place, schema: Any, config: NonGeospatialPartitionJobStepConfig) -> None:
        from pyarrow import fs

        self.place, self.schema = place, schema
        self.file_rows = int(config.partitioning_maximum_per_file or 1)
        self.chunk_rows = int(config.partitioning_maximum_per_chunk or 1)
        self.metadata = config.output_metadata is not None
        self.system, self.folder = _place(place.target) if place.remote else (fs.LocalFileSystem(), place.target)
        self.chunks: list[tuple[Any, ...]] = []
        self.files = self.bytes = self.in_file = self.waiting_rows = 0
        self.waiting: list[Any] = []
        self.out: Any = None

    def add(self, batch: Any) -> None:
        while batch.num_rows:
            room = min(self.chunk_rows, self.file_rows - self.in_file) - self.waiting_rows
            part, batch = batch.slice(0, room), batch.slice(room)
            self.waiting.append(part)
            self.waiting_rows += part.num_rows
            if part.num_rows == room:
                self._end_chunk()

    def finish(self) -> None:
        if self.waiting_rows:
            self._end_chunk()
        self._end_file()
        if not self.chunks:
            raise ValueError("the input has no rows")
        from fused import _native

        self.place.sample_begun = True
        self._put("_sample", bytes(_native.sample_bytes(self.chunks)))
        self.place.publish(self._chunk_table() if self.metadata else None)

    def _end_chunk(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.out is None:
            self.name = f"{self.place.file_prefix}{self.files}"
            self.sink = self.system.open_output_stream(f"{self.folder}/{self.name}.parquet")
            self.out = pq.ParquetWriter(self.sink, self.schema, compression="zstd", write_page_index=True)
            self.first = len(self.chunks)
        self.out.write_table(pa.Table.from_batches(self.waiting, self.schema), row_group_size=self.chunk_rows)
        box = (math.nan,) * 4
        self.chunks.append((self.name, len(self.chunks) - self.first, box, 0.0, 0.0, 0, self.waiting_rows))
        self.in_file += self.waiting_rows
        self.waiting, self.waiting_rows = [], 0
        if self.in_file >= self.file_rows:
            self._end_file()

    def _end_file(self) -> None:
        if self.out is None:
            return
        self.out.close()
        self.bytes += self.sink.tell()
        self.sink.close()
        self._sync(f"{self.name}.parquet")
        self.files += 1
        self.out, self.in_file = None, 0

    def _put(self, name: str, data: bytes) -> None:
        with self.system.open_output_stream(f"{self.folder}/{name}") as out:
            out.write(data)
        self._sync(name)

    def _sync(self, name: str) -> None:
        if self.place.remote:
            return
        descriptor = os.open(f"{self.folder}/{name}", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _chunk_table(self) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: Mapping[str, Any] = {
            "file_id": [row[0] for row in self.chunks],
            "chunk_id": [row[1] for row in self.chunks],
            "num_rows": [row[-1] for row in self.chunks],
        }
        out = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), out, compression="zstd")
        return bytes(out.getvalue())


def _place(path: str) -> tuple[Any, str]:
    from pyarrow import fs

    if "://" in path:
        system, key = fs.FileSystem.from_uri(path)
        return system, key.rstrip("/")
    return fs.LocalFileSystem(), os.path.abspath(path)
