"""Steps of a job that are no functions: ingests, alone and with functions around them."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.conftest import Server
from tests.flow.jobs import get, log, submitted, udf_step, wait


def points(server: Server, name: str, count: int = 200) -> str:
    features = [
        {"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [n / 10, 46]}}
        for n in range(count)
    ]
    (server.data / "mount" / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return f"/mount/{name}"


def ingest_step(path: str, table: str, **more: Any) -> dict[str, Any]:
    return {"type": "partition_geospatial", "input": [path], "output": table, "n_processes": None, **more}


def test_an_ingest_and_a_function_over_its_table(server: Server) -> None:
    stamp = time.time_ns()
    table = f"/mount/table-{stamp}"
    count = (
        "@fused.udf\ndef udf(table: str):\n    import os, pyarrow.dataset as ds\n"
        "    files = [os.path.join(table, name) for name in os.listdir(table) if name.endswith('.parquet')]\n"
        "    return ds.dataset(files).count_rows()\n"
    )
    job = submitted(
        server,
        ingest_step(points(server, f"points-{stamp}.geojson"), table, partitioning_maximum_per_chunk=None),
        udf_step(count, [{"table": table}]),
    )
    ended = wait(server, job, 120)
    assert ended["status"] == "done", log(server, job)
    assert (server.data / "mount" / table.removeprefix("/mount/") / "_sample").exists()
    assert any("ingest of" in line["message"] for line in log(server, job))
    shown = get(server, f"/api/v1/jobs/{job}")
    assert [step["tasks"] for step in shown["steps"]] == [1, 1]


def test_a_table_that_is_there_is_not_overwritten_unless_asked(server: Server) -> None:
    stamp = time.time_ns()
    path, table = points(server, f"points-{stamp}.geojson", 20), f"/mount/table-{stamp}"
    assert wait(server, submitted(server, ingest_step(path, table)), 120)["status"] == "done"
    again = wait(server, submitted(server, ingest_step(path, table)), 120)
    assert again["status"] == "failed" and "FileExistsError" in again["error"]
    assert wait(server, submitted(server, ingest_step(path, table, overwrite=True)), 120)["status"] == "done"


def test_rows_without_geometry(server: Server) -> None:
    stamp = time.time_ns()
    (server.data / "mount" / f"rows-{stamp}.csv").write_text("n,town\n" + "".join(f"{n},t{n}\n" for n in range(50)))
    step = {"type": "partition_nongeospatial", "input": f"/mount/rows-{stamp}.csv", "output": f"/mount/plain-{stamp}"}
    ended = wait(server, submitted(server, step), 120)
    assert ended["status"] == "done", ended
    assert list((server.data / "mount" / f"plain-{stamp}").glob("*.parquet"))


def test_an_ingest_of_nothing_says_so(server: Server) -> None:
    ended = wait(server, submitted(server, ingest_step("/mount/no-such-file.gpkg", "/mount/no-table")), 120)
    assert ended["status"] == "failed" and "no-such-file" in ended["error"]
