"""Reads of one table beside DuckDB, geopandas and pyarrow: small boxes and single chunks; tiles through a server.

    bench/table.py TABLE [--queries 200] [--server URL --token TOKEN --name NAME]

TABLE is a folder with `_sample` and a bbox covering, as `fused ingest` writes. One JSON line a figure. Every reader
answers the same queries: 0.01° boxes around rows of the table, all columns, and whole row groups.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import fused

SIDE = 0.005
TURN_SECONDS = 20


def emit(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def measure(work: Callable[[Any], int], queries: Sequence[Any]) -> dict[str, Any]:
    """Median and 99th percentile in ms, and the rows found; ends after TURN_SECONDS."""
    work(queries[0])
    times, rows, end = [], 0, time.monotonic() + TURN_SECONDS
    for query in queries:
        begin = time.perf_counter()
        rows += work(query)
        times.append((time.perf_counter() - begin) * 1e3)
        if time.monotonic() > end:
            break
    times.sort()
    return {
        "n": len(times),
        "rows_avg": round(rows / len(times), 1),
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(times[min(len(times) - 1, int(0.99 * len(times)))], 2),
    }


def boxes_of(table: str, count: int) -> list[tuple[float, float, float, float]]:
    random = np.random.default_rng(7)
    chunks = fused.get_chunks_metadata(table)
    chosen = chunks.iloc[random.integers(0, len(chunks), min(40, len(chunks)))]
    centres: list[Any] = []
    for chunk in chosen.itertuples():
        frame = fused.get_chunk_from_table(table, chunk.file_id, chunk.chunk_id, ["bbox"])
        centres += [frame["bbox"].iloc[i] for i in random.integers(0, len(frame), 6)]
    picked = [centres[i] for i in random.integers(0, len(centres), count) if centres[i]]
    return [(c["xmin"] - SIDE, c["ymin"] - SIDE, c["xmin"] + SIDE, c["ymin"] + SIDE) for c in picked]


def bench_boxes(table: str, boxes: Sequence[tuple[float, float, float, float]]) -> None:
    files = [str(file) for file in sorted(Path(table).glob("*.parquet"))]
    ours = measure(lambda box: fused.read_table(table, bounds=box, as_="pyarrow").num_rows, boxes)
    emit(area="box", who="fused, exact", **ours)
    emit(area="box", who="fused, GeoDataFrame", **measure(lambda box: len(fused.read_table(table, bounds=box)), boxes))
    try:
        import duckdb

        connection = duckdb.connect(config={"threads": 2})

        def by_duckdb(box: tuple[float, float, float, float]) -> int:
            query = (
                f"select * from read_parquet({files!r}) where bbox.xmin <= {box[2]} and bbox.xmax >= {box[0]} "
                f"and bbox.ymin <= {box[3]} and bbox.ymax >= {box[1]}"
            )
            return int(connection.execute(query).to_arrow_table().num_rows)

        emit(area="box", who="duckdb, boxes only", **measure(by_duckdb, boxes))
    except ImportError:
        emit(area="box", who="duckdb", not_measured="duckdb is not installed")
    import geopandas as gpd

    emit(
        area="box",
        who="geopandas, boxes only",
        **measure(lambda box: sum(len(gpd.read_parquet(file, bbox=box)) for file in files), boxes),
    )


def bench_chunks(table: str, count: int) -> None:
    chunks = fused.get_chunks_metadata(table)
    random = np.random.default_rng(8)
    picked = [chunks.iloc[i] for i in random.integers(0, len(chunks), count)]
    opened = {name: pq.ParquetFile(f"{table}/{name}.parquet") for name in chunks["file_id"].unique()}
    columns = [name for name in next(iter(opened.values())).schema_arrow.names if name != "bbox"]
    from fused import _native

    def by_ours(chunk: Any) -> int:
        return int(_native.table_read_chunk(table, chunk.file_id, int(chunk.chunk_id), columns).rows)

    emit(area="chunk", who="fused, Arrow", **measure(by_ours, picked))
    emit(
        area="chunk",
        who="pyarrow, file open",
        **measure(lambda c: opened[c.file_id].read_row_group(int(c.chunk_id), columns=columns).num_rows, picked),
    )


def bench_tiles(server: str, token: str, name: str, boxes: Sequence[tuple[float, float, float, float]]) -> None:
    import mercantile

    tiles = list({mercantile.tile(box[0], box[1], 14) for box in boxes})

    def fetch(tile: Any) -> int:
        request = urllib.request.Request(
            f"{server}/api/v1/table/{name}/tiles/{tile.z}/{tile.x}/{tile.y}.mvt",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return len(reply.read())

    emit(area="tile", who="cold, one connection a request", **measure(fetch, tiles))
    end, count = time.monotonic() + 5, 0
    with ThreadPoolExecutor(8) as threads:
        while time.monotonic() < end:
            count += len(list(threads.map(fetch, tiles)))
    emit(area="tile", who="cached, 8 Python clients (they are the limit; use wrk)", per_second=round(count / 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--server")
    parser.add_argument("--token", default="")
    parser.add_argument("--name", default="")
    given = parser.parse_args()
    boxes = boxes_of(given.table, given.queries)
    bench_boxes(given.table, boxes)
    bench_chunks(given.table, given.queries)
    if given.server:
        bench_tiles(given.server, given.token, given.name, boxes)


if __name__ == "__main__":
    main()
