"""``fused ingest``: geodata to a table, with what is going on."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from fused._cli.verbs import add_verb
from fused._cli.wording import spoken

EXAMPLES = """\
  fused ingest shorelines.gpkg out/                         a table of GeoParquet, one row group a chunk
  fused ingest 'data/*.parquet' out/ --overwrite            many files; the old table is replaced in one step
  fused ingest places.csv out/ --lonlat lon,lat             points from two columns
  fused ingest parcels.gpkg out/ --layer parcels --dry-run  what would be read and written
  fused ingest big.fgb s3://bucket/table?region=eu-west-1   to S3
"""

NAMES = {
    "load_columns": "--columns", "remove_cols": "--remove-columns", "lonlat_cols": "--lonlat",
    "explode_geometries": "--explode", "drop_out_of_bounds=False": "--keep-out-of-bounds",
    "partitioning_method": "--method", "partitioning_maximum_per_file": "--max-per-file",
    "partitioning_maximum_per_chunk": "--max-per-chunk", "partitioning_max_width_ratio": "--max-width-ratio",
    "partitioning_max_height_ratio": "--max-height-ratio", "partitioning_force_utm": "--utm",
    "partitioning_split_method": "--split", "partitioning_schema_input": "--partitioning-schema",
    "target_num_chunks": "--target-chunks", "allow_drivers": "--allow-driver", "open_options": "--open-option",
    "gdal_config={'layer': …}": "--layer NAME",
}  # fmt: skip


def add_parser(verbs: Any) -> None:
    """The command's options; their meaning in full is in docs/reference/ingest.md."""
    parser = add_verb(verbs, "ingest", "make a table of partitioned GeoParquet from geodata", EXAMPLES, _ingest)
    parser.add_argument("input", nargs="+", help="file, folder, pattern or s3:// URL; the last argument is the output")
    parser.add_argument("--output-metadata", metavar="PATH", help="also write a GeoParquet of one row a chunk")
    parser.add_argument("--schema", help='types of columns, as "id:int64 label:string"')
    parser.add_argument("--file-suffix", metavar="TEXT", help="of folders, only files whose name ends so")
    parser.add_argument("--columns", metavar="A,B", help="only these columns")
    parser.add_argument("--remove-columns", metavar="A,B", help="all columns but these")
    parser.add_argument("--lonlat", metavar="X,Y", help="columns of longitude and latitude")
    parser.add_argument("--layer", help="of files with several")
    parser.add_argument("--open-option", metavar="KEY=VALUE", action="append", default=[], help="for GDAL; repeatable")
    parser.add_argument(
        "--allow-driver", metavar="NAME", action="append", default=[], help="of GDAL: VRT, HTTP, WFS …; repeatable"
    )
    parser.add_argument("--explode", action="store_true", help="a row for each part of multi geometries")
    parser.add_argument("--keep-out-of-bounds", action="store_true", help="keep what lies outside of the world")
    parser.add_argument("--method", choices=["rows", "area", "length", "coords"], default="rows")
    parser.add_argument("--max-per-file", type=float, metavar="N")
    parser.add_argument("--max-per-chunk", type=float, metavar="N")
    parser.add_argument("--target-chunks", type=int, default=5000, metavar="N")
    parser.add_argument("--max-width-ratio", type=float, default=2, metavar="N")
    parser.add_argument("--max-height-ratio", type=float, default=2, metavar="N")
    parser.add_argument("--utm", choices=["file", "chunk", "none"], default="chunk", help="keep within UTM zones")
    parser.add_argument("--split", choices=["mean", "median"], default="mean")
    parser.add_argument("--keep-identical", action="store_true", help="do not split rows with one centroid")
    parser.add_argument("--subdivide-start", type=float, metavar="AREA", help="divide larger geometries (degrees²)")
    parser.add_argument("--subdivide-stop", type=float, metavar="AREA", help="until parts are no larger")
    parser.add_argument("--partitioning-schema", metavar="PATH", help="Parquet of boxes that decide the chunks")
    parser.add_argument("--no-covering", action="store_true", help="no bbox column")
    parser.add_argument("--overwrite", action="store_true", help="replace the table that is there")
    parser.add_argument("--resume", action="store_true", help="go on where a killed ingest stopped")
    parser.add_argument("--dry-run", action="store_true", help="read and partition, write nothing")
    parser.add_argument("--plot", metavar="FILE", help="a picture of the chunks' boxes")
    parser.add_argument("--memory-limit", type=_bytes, default=500_000_000, metavar="SIZE", help="as 500MB (default)")
    parser.add_argument("--scratch-limit", type=_bytes, metavar="SIZE", help="of disk, when memory is not enough")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.set_defaults(python_names=NAMES)


def _ingest(given: argparse.Namespace) -> int:
    from fused._ingest import gdal
    from fused._ingest.arguments import ingest

    gdal.lean = True
    if len(given.input) < 2 and not given.dry_run:
        raise ValueError("where does the table go? fused ingest INPUT OUTPUT (or look first with --dry-run)")
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"--threads {given.threads}: 1 or more; without it one a core")
    inputs, output = (given.input[:-1], given.input[-1]) if len(given.input) > 1 else (given.input, None)
    lonlat = None if given.lonlat is None else tuple(given.lonlat.split(","))
    if lonlat is not None and len(lonlat) != 2:
        raise ValueError(f"--lonlat {given.lonlat!r}: it names two columns, longitude and latitude, as lon,lat")
    if given.subdivide_stop is not None and given.subdivide_start is None:
        raise ValueError("--subdivide-stop needs --subdivide-start: above which area are geometries divided?")
    subdivide = given.subdivide_start is not None or given.subdivide_stop is not None
    options = dict(each.partition("=")[::2] for each in given.open_option)
    layer = int(given.layer) if given.layer and given.layer.isdecimal() else given.layer
    config = ingest(
        inputs[0] if len(inputs) == 1 else inputs,
        output,
        output_metadata=given.output_metadata,
        schema=given.schema,
        file_suffix=given.file_suffix,
        load_columns=_names(given.columns),
        remove_cols=_names(given.remove_columns),
        explode_geometries=given.explode,
        drop_out_of_bounds=not given.keep_out_of_bounds,
        partitioning_method=given.method,
        partitioning_maximum_per_file=given.max_per_file,
        partitioning_maximum_per_chunk=given.max_per_chunk,
        partitioning_max_width_ratio=given.max_width_ratio,
        partitioning_max_height_ratio=given.max_height_ratio,
        partitioning_force_utm=None if given.utm == "none" else given.utm,
        partitioning_split_method=given.split,
        subdivide_method="area" if subdivide else None,
        subdivide_start=given.subdivide_start,
        subdivide_stop=given.subdivide_stop,
        split_identical_centroids=not given.keep_identical,
        target_num_chunks=given.target_chunks,
        lonlat_cols=lonlat,
        partitioning_schema_input=given.partitioning_schema,
        gdal_config={"layer": layer, "open_options": options},
        overwrite=given.overwrite,
        write_covering_bbox=not given.no_covering,
    )
    bar = None if given.quiet else Bar()
    try:
        result = config.run_local(
            memory_limit=given.memory_limit,
            scratch_limit=given.scratch_limit,
            threads=given.threads,
            dry_run=given.dry_run,
            resume=given.resume,
            allow_drivers=given.allow_driver,
            on_progress=bar,
        )
    finally:
        if bar is not None:
            bar.close()
    print(spoken(str(result), given))
    if given.dry_run:
        for column in result.summary["columns"]:
            print(f"  {column['name']}: {column['type']}")
    if given.plot:
        result.plot(given.plot)
    return 0


class Bar:
    """One line on stderr: stage, rows, rate, time left. Not a terminal: a line at the end of each stage."""

    def __init__(self) -> None:
        self.stage = ""
        self.began = self.ended = time.monotonic()
        self.rows = 0
        self.live = sys.stderr.isatty()

    def __call__(self, stage: str, rows: int, total: int) -> None:
        """Takes what the ingest says about ten times a second."""
        now = time.monotonic()
        if stage != self.stage:
            self.close()
            self.stage, self.began = stage, self.ended
        self.rows, self.ended = rows, now
        if not self.live:
            return
        seconds = max(now - self.began, 1e-6)
        rate = rows / seconds
        text = f"{stage:<10} {rows:>13,} rows  {rate:>11,.0f} rows/s"
        if total > 0:
            done = min(1.0, rows / total)
            left = f"{(total - rows) / rate:,.0f} s left" if rate > 0 and rows < total else ""
            bar = "#" * int(done * 24)
            text = f"{stage:<10} [{bar:<24}] {done:>4.0%}  {rows:>13,} rows  {rate:>11,.0f} rows/s  {left}"
        print(f"\r{text:<100.100}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line of the stage."""
        if not self.stage:
            return
        rows = f"{self.rows:,} rows, " if self.rows else ""
        text = f"{self.stage:<10} {rows}{self.ended - self.began:.2f} s"
        print(f"\r{text:<100}" if self.live else text, file=sys.stderr)
        self.stage = ""


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [each for each in text.split(",") if each]


def _bytes(text: str) -> int:
    units = {
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
        "tb": 10**12,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
        "b": 1,
        "": 1,
    }
    number = text.rstrip("kKmMgGtTiIbB")
    try:
        return int(float(number) * units[text[len(number) :].lower()])
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, as 500MB or 2GiB") from None
