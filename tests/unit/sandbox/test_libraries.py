"""What functions use keeps working inside."""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import importlib.util

import pytest

from .conftest import Sandbox, not_tested

USES = {
    "numpy": "import numpy as n; value = float((n.ones((200, 200)) @ n.ones((200, 200))).sum())",
    "pandas": """
        import pandas
        frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]})
        frame.to_csv("x.csv", index=False)
        value = float(pandas.read_csv("x.csv").groupby("b")["a"].sum()["x"])
    """,
    "pyarrow": """
        import pyarrow, pyarrow.compute, pyarrow.parquet
        pyarrow.parquet.write_table(pyarrow.table({"a": list(range(100000))}), "x.parquet")
        value = float(pyarrow.compute.sum(pyarrow.parquet.read_table("x.parquet")["a"]).as_py())
    """,
    "pyogrio": """
        import geopandas, shapely
        frame = geopandas.GeoDataFrame({"a": [1, 2]}, geometry=[shapely.Point(1, 2), shapely.Point(3, 4)], crs=4326)
        for name in ("x.gpkg", "x.geojson"):
            frame.to_file(name, engine="pyogrio")
        value = float(geopandas.read_file("x.gpkg").to_crs(3857).area.sum() + len(geopandas.read_file("x.geojson")))
    """,
    "rasterio": """
        import numpy, rasterio
        with rasterio.open("x.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", crs="EPSG:3857") as file:
            file.write(numpy.full((1, 8, 8), 7, "uint8"))
        value = float(rasterio.open("x.tif").read().sum())
    """,
    "duckdb": "import duckdb; value = float(duckdb.sql('select sum(range) from range(1000000)').limit(1).fetchall()[0][0])",
    "matplotlib": """
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
        pyplot.plot([1, 2])
        pyplot.savefig("x.png")
        value = float(open("x.png", "rb").read(4) == b"\\x89PNG")
    """,
}
RESULTS = {
    "numpy": 8e6,
    "pandas": 4.0,
    "pyarrow": 4999950000.0,
    "pyogrio": 2.0,
    "rasterio": 448.0,
    "duckdb": 499999500000.0,
    "matplotlib": 1.0,
}


SPAWN = """
import multiprocessing
from multiprocessing import shared_memory

def job(name):
    block = shared_memory.SharedMemory(name)
    block.buf[0] = 7
    block.close()

if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=100)
    child = multiprocessing.get_context("spawn").Process(target=job, args=(block.name,))
    child.start()
    child.join()
    print(block.buf[0], child.exitcode)
    block.close()
    block.unlink()
"""


@pytest.mark.parametrize("name", USES)
def test_a_package_works_inside(sandbox: Sandbox, name: str) -> None:
    for package in (name, *(["geopandas"] if name == "pyogrio" else [])):
        if importlib.util.find_spec(package) is None:
            not_tested(f"{package} is not installed")
    isolation = sandbox.run("pass")["report"]["isolation"]
    assert sandbox.value(USES[name], extra=isolation) == RESULTS[name]


def test_threads_subprocesses_pipes_and_pools_work(sandbox: Sandbox) -> None:
    value = sandbox.value("""
        import concurrent.futures, multiprocessing, os, subprocess, threading
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            value = [sum(pool.map(lambda n: n * n, range(100)))]
        value.append(subprocess.run("echo a | tr a b; exit 3", shell=True, capture_output=True, text=True).stdout)
        value.append(subprocess.run(["sleep", "60"], timeout=0.05).returncode if False else 0)
        try:
            subprocess.run(["sleep", "60"], timeout=0.05)
        except subprocess.TimeoutExpired:
            value.append("ended")
        with multiprocessing.get_context("fork").Pool(2) as pool:
            value.append(pool.map(abs, [-1, -2]))
        lock, queue = multiprocessing.Lock(), multiprocessing.Queue()
        with lock:
            queue.put(5)
        value.append(queue.get())
    """)
    assert value == [328350, "b\n", 0, "ended", [1, 2], 5]


def test_multiprocessing_by_spawn_and_shared_memory_work(sandbox: Sandbox) -> None:
    value = sandbox.value(
        """
import subprocess, sys
open("job.py", "w").write(extra)
got = subprocess.run([sys.executable, "job.py"], capture_output=True, text=True)
value = [got.stdout, got.returncode, got.stderr]
""",
        extra=SPAWN,
    )
    assert value == ["7 0\n", 0, ""]


def test_sockets_memfd_ctypes_names_and_time_zones_work(sandbox: Sandbox) -> None:
    value = sandbox.value("""
        import ctypes, datetime, mmap, os, pwd, socket, ssl, tempfile, threading, time, zoneinfo
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        client.send(b"hello")
        value = [other.recv(5).decode(), socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4][0]]
        memory = os.memfd_create("x", os.MFD_ALLOW_SEALING)
        os.write(memory, b"abc")
        import fcntl
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        value.append(open(f"/proc/self/fd/{memory}", "rb").read().decode())
        value.append(ctypes.CDLL(None).abs(-3))
        value.append(str(datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).utcoffset()))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind("a.sock")
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(chr(0) + f"own-{os.getpid()}")
        abstract.listen()
        socket.socket(socket.AF_UNIX).connect(abstract.getsockname())
        ssl.create_default_context()
        value.append(len(tempfile.mkdtemp()) > 0)
    """)
    assert value == ["hello", "127.0.0.1", "abc", 3, "2:00:00", True]
