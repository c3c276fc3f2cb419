"""What a fork of the zygote must not share, and what must work in one: libraries with state of their own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from worker_harness import TestWorker, TestZygote

from tests.counts import tell

DRAW = (
    "import os, random, uuid, tempfile, numpy\ndef udf():\n"
    "    return [random.random(), float(numpy.random.rand()), "
    "float(numpy.random.default_rng().random()), uuid.uuid4().hex,\n"
    ""
    "            os.path.basename(tempfile.mktemp())]\n"
)
WORK = """
import io, numpy, pandas, geopandas, shapely, pyogrio, pyproj
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq

def udf():
    matrix = numpy.arange(250_000.0).reshape(500, 500)
    product = matrix @ matrix
    table = pa.table({"n": list(range(100_000)), "k": ["a", "b"] * 50_000})
    grouped = table.group_by("k").aggregate([("n", "sum")]).sort_by("k").column("n_sum").to_pylist()
    filtered = table.filter(pc.greater(table["n"], 99_990)).num_rows
    sink = io.BytesIO()
    pq.write_table(table, sink)
    back = pq.read_table(io.BytesIO(sink.getvalue()), use_threads=True).num_rows
    frame = geopandas.GeoDataFrame({"n": range(10)}, geometry=shapely.points(range(10), range(10)), crs=4326)
    frame.to_file("points.gpkg")
    read = pyogrio.read_dataframe("points.gpkg")
    east = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(1, 1)[0]
    ones = round(float(numpy.linalg.det(numpy.eye(300))))
    return [bool(product[-1, -1] > 0), grouped, filtered, back, len(read), round(east), ones]
"""
EXPECTED = [True, [sum(range(0, 100_000, 2)), sum(range(1, 100_000, 2))], 9, 100_000, 10, 111319, 1]


def test_a_hundred_forks_give_different_random_numbers(zygote: TestZygote) -> None:
    seen = []
    for _ in range(100):
        worker = zygote.worker()
        seen.append(worker.run(DRAW).value)
        worker.close()  # its end
        worker.ended()
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 100


def test_arrow_blas_gdal_and_proj_work_in_a_fork(worker: TestWorker) -> None:
    for _ in range(3):
        result = worker.run(WORK)
        assert result.value == EXPECTED
        assert result.replace is None


def test_they_work_in_a_fork_of_a_zygote_that_has_served_many(zygote: TestZygote) -> None:
    forks = 10_000 if os.environ.get("FUSED_TEST_LONG") else 1_000
    before: list[TestWorker] = []
    for number in range(forks):
        served = zygote.worker()
        if number % 100 == 0:
            assert served.run("def udf():\n    return 1\n").value == 1
        served.close()
        before.append(served)
        if len(before) > 4:  # so that one ends while the next begins
            before.pop(0).ended()
    for served in before:
        served.ended()
    tell(f"{forks} forks served")
    worker = zygote.worker()
    result = worker.run(WORK)
    assert (result.value, result.replace) == (EXPECTED, None)
    worker.leave()


def test_they_work_behind_the_sandbox_too_and_the_worker_stays_clean(zygote: TestZygote) -> None:
    worker = zygote.worker("auto")
    skipped = [f"{step['step']}: {step['why']}" for step in worker.ready["skipped"]]
    tell(f"{len(skipped)} steps of the sandbox cannot be tested here: {'; '.join(skipped) or 'none'}")
    for _ in range(3):
        result = worker.run(WORK)
        assert result.value == EXPECTED
        assert result.replace is None
    children = (
        "import subprocess\ndef udf():\n"
        "    subprocess.Popen(['sh', '-c', 'setsid sleep 100 & sleep 100'])\n    return 1\n"
    )
    assert worker.run(children).replace is None
    here = "import os\ndef udf():\n    return sorted(p for p in os.listdir('/proc') if p.isdigit())\n"
    if worker.ready["pid_namespace"]:
        assert worker.run(here).value == ["1", "2"]
    assert worker.run("import os\ndef udf():\n    open('/tmp/left', 'w'); return os.listdir('.')\n").replace is None
    assert worker.run("import os\ndef udf():\n    return os.path.exists('/tmp/left')\n").value is False
    worker.leave()
    worker.close()


def test_a_worker_holds_nothing_of_the_zygotes_surroundings(tmp_path: Path) -> None:
    zygote = TestZygote(tmp_path, {"FUSED_AUTH_TOKEN": "planted-secret", "AWS_SECRET_ACCESS_KEY": "planted-secret"})
    worker = zygote.worker()
    code = (
        "import os\ndef udf():\n    fds = [os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in range(4)]\n"
        "    return [dict(os.environ), open('/proc/self/environ').read(), fds]\n"
    )
    environment, first, descriptors = worker.run(code).value
    with Path(f"/proc/{zygote.process.pid}/environ").open() as file:
        assert "planted-secret" not in file.read()
    assert "planted-secret" not in repr(environment)
    assert "planted-secret" not in first
    assert descriptors == ["/dev/null", "pipe", "pipe", "socket"]
    assert environment["HOME"] == environment["TMPDIR"] == str(worker.scratch)
    assert not any(name.startswith("FUSED_") for name in environment if name != "FUSED_MOUNT")
    worker.close()
    zygote.close()


def test_an_order_that_cannot_be_carried_out_is_answered_and_the_zygote_goes_on(zygote: TestZygote) -> None:
    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    order = {"op": "fork", "worker": 9_999, "nonce": "1", "sandbox": {"isolation": "some"}}
    socket.send_fds(zygote.control, [json.dumps(order).encode()], [theirs.fileno(), write, write])
    assert "isolation" in zygote.wait_for("fork_failed", 9_999)["message"]
    order = {
        "op": "fork",
        "worker": 10_000,
        "nonce": "1",
        "sandbox": {"isolation": "none", "data": "relative", "scratch": "/x"},
    }
    socket.send_fds(zygote.control, [json.dumps(order).encode()], [theirs.fileno(), write, write])
    assert zygote.wait_for("forked", 10_000)["pid"] > 0
    assert zygote.wait_for("exited", 10_000)["status"] == 1 << 8
    assert b"'data' must be" in os.read(read, 65536)
    for one in (ours, theirs):
        one.close()
    os.close(read)
    os.close(write)


def test_memory_of_zygote_and_two_workers(tmp_path: Path) -> None:
    zygote = TestZygote(tmp_path)
    workers = [zygote.worker() for _ in range(2)]
    code = "import geopandas\ndef udf():\n    return geopandas.GeoDataFrame({'n': [1]}, geometry=[None], crs=4326)\n"
    for worker in workers:
        for _ in range(20):
            assert worker.run(code, formats=["parquet"]).outcome == "ok"
    total = sum(_proportional_mib(pid) for pid in (zygote.process.pid, *(worker.pid for worker in workers)))
    tell(f"zygote and two warm workers: {total:.0f} MiB PSS")
    assert total <= 240  # 255 with the server
    for worker in workers:
        worker.close()
    zygote.close()


def _proportional_mib(pid: int) -> float:
    with Path(f"/proc/{pid}/smaps_rollup").open() as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
