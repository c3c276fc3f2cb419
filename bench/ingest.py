"""Ingest beside what a user would take instead: DuckDB (Hilbert order) and geopandas, one after the other, each in a
process of its own; rows a second with the start of the process, and the peak of the proportional set size of all its
processes.

    bench/ingest.py [--rows 200000] [--formats parquet,gpkg,csv,shp] [--peers ours,duckdb,duckdb-snappy,geopandas]
                    [--rounds 3]

We write zstd and many files with a chunk list; DuckDB one file, with zstd, or with snappy as ``duckdb-snappy``.
DuckDB needs its spatial extension: ``--duckdb-python`` names an interpreter whose environment has ``duckdb`` and
``duckdb-ext-spatial`` of one version.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.05
GROUP_ROWS = 20_000

DUCKDB = """
import duckdb, glob, sys
source, out, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
extension = glob.glob(sys.prefix + "/lib/python*/site-packages/duckdb_ext/extensions/*/*/spatial.duckdb_extension")[0]
c = duckdb.connect(config={"threads": int(sys.argv[4])})
c.execute(f"LOAD '{extension}'")
c.execute("set preserve_insertion_order=false")
if source.endswith("parquet"):
    read = f"read_parquet('{source}')"
elif source.endswith("csv"):
    read = f"(select id, v, ST_Point(lon, lat) as geometry from read_csv('{source}'))"
else:
    read = f"(select * exclude(geom), geom as geometry from ST_Read('{source}'))"
c.execute(f"create table t as select * from {read}")
edges = "min(ST_XMin(geometry)), min(ST_YMin(geometry)), max(ST_XMax(geometry)), max(ST_YMax(geometry))"
b = c.execute(f"select {edges} from t").fetchone()
c.execute(f'''copy (select *, {{'xmin': ST_XMin(geometry), 'ymin': ST_YMin(geometry), 'xmax': ST_XMax(geometry),
  'ymax': ST_YMax(geometry)}} as bbox from t order by ST_Hilbert(geometry, {{'min_x': {b[0]}, 'min_y': {b[1]},
  'max_x': {b[2]}, 'max_y': {b[3]}}}::BOX_2D))
  to '{out}/a.parquet' (format parquet, compression {sys.argv[5]}, row_group_size {rows})''')
"""

GEOPANDAS = """
import sys
import geopandas as gpd, numpy as np, pandas as pd
source, out, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
if source.endswith("parquet"):
    g = gpd.read_parquet(source)
elif source.endswith("csv"):
    d = pd.read_csv(source)
    g = gpd.GeoDataFrame(d.drop(columns=["lon", "lat"]), geometry=gpd.points_from_xy(d.lon, d.lat), crs=4326)
else:
    g = gpd.read_file(source, use_arrow=True)
g = g.iloc[np.argsort(g.geometry.hilbert_distance(level=16).to_numpy(), kind="stable")].reset_index(drop=True)
for i in range(0, len(g), 5 * rows):
    g.iloc[i : i + 5 * rows].to_parquet(f"{out}/{i}.parquet", compression="zstd", row_group_size=rows,
                                        write_covering_bbox=True, index=False)
"""


def make_inputs(folder: Path, rows: int, formats: list[str]) -> dict[str, Path]:
    """Small turned rectangles and points in clusters, seeded."""
    import geopandas as gpd
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import shapely

    random = np.random.default_rng(42)
    centres = np.stack([random.uniform(-120, -75, 400), random.uniform(28, 48, 400)], 1)
    weights = random.pareto(1.2, 400) + 0.05
    spread = random.uniform(0.02, 0.25, 400)
    chosen = random.choice(400, rows, p=weights / weights.sum())
    at = centres[chosen] + random.normal(0, 1, (rows, 2)) * spread[chosen, None]
    found = {}
    if "csv" in formats:
        found["csv"] = folder / "points.csv"
        table = {"id": np.arange(rows), "lon": at[:, 0].round(6), "lat": at[:, 1].round(6), "v": random.random(rows)}
        pa.csv.write_csv(pa.table(table), found["csv"])
    wide, high = random.uniform(5e-5, 3e-4, (2, rows))
    turn = random.uniform(0, np.pi, rows)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    x = corners[:, 0] * wide[:, None] * np.cos(turn)[:, None] - corners[:, 1] * high[:, None] * np.sin(turn)[:, None]
    y = corners[:, 0] * wide[:, None] * np.sin(turn)[:, None] + corners[:, 1] * high[:, None] * np.cos(turn)[:, None]
    rings = np.stack([x + at[:, :1], y + at[:, 1:]], 2)
    frame = gpd.GeoDataFrame(
        {
            "id": np.arange(rows),
            "height": random.uniform(2, 40, rows).round(2),
            "cls": random.choice(["house", "shed", "shop", "school"], rows),
        },
        geometry=shapely.polygons(rings),
        crs=4326,
    )
    for kind in set(formats) - {"csv"}:
        found[kind] = folder / f"polygons.{kind}"
        if kind == "parquet":
            frame.to_parquet(found[kind], compression="zstd")
        else:
            frame.to_file(found[kind], engine="pyogrio")
    return found


def command(peer: str, source: Path, out: Path, given: argparse.Namespace) -> list[str]:
    threads = str(len(os.sched_getaffinity(0)))
    if peer in ("duckdb", "duckdb-snappy"):
        codec = "snappy" if peer.endswith("snappy") else "zstd"
        return [given.duckdb_python, "-c", DUCKDB, str(source), str(out), str(GROUP_ROWS), threads, codec]
    if peer == "geopandas":
        return [sys.executable, "-c", GEOPANDAS, str(source), str(out), str(GROUP_ROWS)]
    own = [sys.executable, "-m", "fused", "ingest", "--quiet", "--overwrite", str(source), str(out)]
    return [*own, "--lonlat", "lon,lat", "--remove-columns", "lon,lat"] if source.suffix == ".csv" else own


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Bytes; sampled until the process ends."""
    peak = 0
    try:
        root = psutil.Process(process.pid)
    except psutil.Error:
        return 0
    while process.poll() is None:
        total = 0
        try:
            for each in [root, *root.children(recursive=True)]:
                total += each.memory_full_info().pss
        except psutil.Error:
            pass
        peak = max(peak, total)
        time.sleep(SAMPLE_SECONDS)
    return peak


def run(peer: str, source: Path, rows: int, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="out-") as folder:
        out = Path(folder) / "table"
        out.mkdir()
        python_path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT / "python")]))
        began = time.monotonic()
        with subprocess.Popen(
            command(peer, source, out, given),
            env={**os.environ, "PYTHONPATH": python_path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            peak = peak_of(process)
            errors = process.stderr.read().decode() if process.stderr else ""
        seconds = time.monotonic() - began
        if process.returncode != 0:
            return {"peer": peer, "error": errors.strip().splitlines()[-1:]}
        size = sum(path.stat().st_size for path in out.iterdir())
        files = sum(1 for path in out.iterdir() if path.suffix == ".parquet")
    return {
        "seconds": seconds,
        "rows_per_s": rows / seconds,
        "peak_pss_mb": peak / 1e6,
        "mb": size / 1e6,
        "files": files,
    }


def main() -> None:
    """Prints one JSON line for each format and peer: medians of the rounds, and the ratio to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--formats", default="parquet,gpkg,csv,shp")
    parser.add_argument("--peers", default="ours,duckdb,geopandas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duckdb-python", default=sys.executable)
    parser.add_argument("--folder", type=Path, help="where inputs and outputs go (default: a temporary folder)")
    parser.add_argument("--inputs", type=Path, help="keep inputs here, and use those that are there")
    given = parser.parse_args()
    given.folder = given.folder or Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    inputs = given.inputs or given.folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    formats, peers = given.formats.split(","), given.peers.split(",")
    names = {"csv": "points.csv"} | {kind: f"polygons.{kind}" for kind in ("parquet", "gpkg", "shp")}
    missing = [kind for kind in formats if not (inputs / names[kind]).exists()]
    if missing:
        make_inputs(inputs, given.rows, missing)
    for kind in formats:
        rounds: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
        for _ in range(given.rounds):  # interleaved, so that a busy machine is busy for all
            for peer in peers:
                rounds[peer].append(run(peer, inputs / names[kind], given.rows, given))
        ours = _median(rounds.get("ours", []), "rows_per_s")
        for peer, each in rounds.items():
            line: dict[str, Any] = {"format": kind, "rows": given.rows, "peer": peer}
            if any("error" in one for one in each):
                print(json.dumps(line | {"error": next(one["error"] for one in each if "error" in one)}))
                continue
            line |= {key: round(_median(each, key), 2) for key in each[0]}
            if ours:
                line["ours_to_it"] = round(ours / line["rows_per_s"], 2)
            print(json.dumps(line), flush=True)
    if given.inputs is None:
        shutil.rmtree(inputs)


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    values = [each[key] for each in rounds if key in each]
    return statistics.median(values) if values else 0.0


if __name__ == "__main__":
    main()
