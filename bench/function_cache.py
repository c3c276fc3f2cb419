"""`@fused.cache` beside diskcache, joblib and the official decorator: hits, misses and sixteen callers of one key.

    python bench/function_cache.py [rounds]

Every round runs each peer in a process of its own, in turn; medians over the rounds and ratios to the best peer.
diskcache and joblib go into bench/.venv-peer at the first run; the official client is taken from
tests/conformance/.venv-2.9.5 when that is there (`tests/conformance/run.sh` makes it).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEER_PYTHON = HERE / ".venv-peer/bin/python"
OFFICIAL_PYTHON = ROOT / "tests/conformance/.venv-2.9.5/bin/python"
KINDS = {"one row": (20, 300), "1M rows": (4, 24), "10k geometries": (10, 100)}  # misses, hits
CALLERS = 16
COMPUTING_S = 1.0


# --- in a peer's process --------------------------------------------------------------------------------------------


def make_object(kind: str) -> Any:
    import numpy
    import pandas

    random = numpy.random.default_rng(0)
    if kind == "one row":
        return pandas.DataFrame({"x": [1], "s": ["a"]})
    if kind == "1M rows":
        count = 1_000_000
        whole = random.integers(0, 1 << 40, count)
        return pandas.DataFrame({"a": random.random(count), "b": whole, "c": random.random(count)})
    import geopandas
    import shapely

    x, y = random.uniform(-100, -99, 10_000), random.uniform(40, 41, 10_000)
    boxes = shapely.box(x, y, x + 1e-4, y + 1e-4)
    return geopandas.GeoDataFrame({"id": range(10_000), "h": random.random(10_000)}, geometry=boxes, crs=4326)


_objects: dict[str, Any] = {}


def compute(kind: str, number: int) -> Any:
    log = os.environ.get("BENCH_HERD_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write("x")
        time.sleep(COMPUTING_S)
    return _objects[kind]


def cached_by(peer: str, folder: str) -> Callable[[str, int], Any]:
    cached: Any
    if peer == "diskcache":
        import diskcache

        cached = diskcache.Cache(folder).memoize()(compute)
    elif peer == "joblib":
        import joblib

        cached = joblib.Memory(folder, verbose=0).cache(compute)
    else:
        import fused

        fused.options.cache_directory = Path(folder)
        cached = fused.cache(compute, cache_verbose=False)
    return cached  # type: ignore[no-any-return]


def herd_caller(peer: str, folder: str, barrier: Any, results: Any) -> None:
    cached = cached_by(peer, folder)
    barrier.wait()
    began = time.perf_counter()
    cached("one row", 1)
    results.put((began, time.perf_counter()))  # of one clock for all processes


def herd(peer: str, folder: str, log: Path, kill: bool) -> tuple[int, float]:
    """How often sixteen callers of a missing key computed, and by how much the slowest took longer than computing.

    With ``kill`` they wait for a process that computes and is killed: the time counts from then.
    """
    os.environ["BENCH_HERD_LOG"] = str(log)
    context = multiprocessing.get_context("fork")
    holder = None
    if kill:
        holder = context.Process(target=cached_by(peer, folder), args=("one row", 1))
        holder.start()
        while not log.exists():
            time.sleep(0.005)
    barrier, results = context.Barrier(CALLERS + 1), context.Queue()
    callers = [context.Process(target=herd_caller, args=(peer, folder, barrier, results)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    barrier.wait()
    killed = 0.0
    if holder is not None and holder.pid is not None:
        time.sleep(COMPUTING_S / 2)
        killed = time.perf_counter()
        os.kill(holder.pid, signal.SIGKILL)
    times = [results.get(timeout=300) for _ in callers]
    for caller in callers:
        caller.join()
    slowest = max(ended - max(began, killed) for began, ended in times)
    return log.stat().st_size - (holder is not None), (slowest - COMPUTING_S) * 1e3


def measure(peer: str, folder: str) -> dict[str, float]:
    found: dict[str, float] = {}
    cached = cached_by(peer, f"{folder}/cache")
    for kind, (misses, hits) in KINDS.items():
        _objects[kind] = make_object(kind)
        times = []
        for number in range(misses):
            began = time.perf_counter()
            cached(kind, number)
            times.append(time.perf_counter() - began)
        found[f"{kind}: miss ms"] = statistics.median(times) * 1e3
        times = []
        for number in range(hits):
            began = time.perf_counter()
            value = cached(kind, number % misses)
            times.append(time.perf_counter() - began)
            assert len(value) == len(_objects[kind])
        found[f"{kind}: hit ms"] = statistics.median(times) * 1e3
    for name, kill in (("16 callers", False), ("16 callers behind a killed one", True)):
        # Peers without a lock compute sixteen times whoever is killed; the official one waits for its time-out, 120 s.
        computed, over = (0, float("nan"))
        if not kill or peer == "ours":
            computed, over = herd(peer, f"{folder}/herd {kill}", Path(folder) / f"log {kill}", kill)
        found[f"{name}: computed"] = computed
        found[f"{name}: slowest over computing ms"] = over
    return found


# --- all in turn ----------------------------------------------------------------------------------------------------


def peers() -> dict[str, Path]:
    if not PEER_PYTHON.exists():
        subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(PEER_PYTHON.parent.parent)], check=True)
    probe = subprocess.run([PEER_PYTHON, "-c", "import diskcache, joblib, geopandas, pyarrow"], capture_output=True)
    if probe.returncode != 0:
        packages = ["diskcache", "joblib", "geopandas", "pyarrow"]
        subprocess.run([sys.executable, "-m", "uv", "pip", "install", "-q", "-p", PEER_PYTHON, *packages], check=True)
    found = {"ours": Path(sys.executable), "diskcache": PEER_PYTHON, "joblib": PEER_PYTHON}
    if OFFICIAL_PYTHON.exists():
        found["official"] = OFFICIAL_PYTHON
    else:
        print("the official decorator is left out: tests/conformance/.venv-2.9.5 is not there")
    return found


def one(peer: str, python: Path) -> dict[str, float]:
    folder = tempfile.mkdtemp(prefix="fused-bench-")
    environment = {**os.environ, "FUSED_HOME": f"{folder}/home", "HOME": folder}
    environment["PYTHONPATH"] = str(ROOT / "python") if peer == "ours" else ""
    try:
        done = subprocess.run(
            [python, __file__, "--peer", peer, folder], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{peer} failed:\n{done.stderr}")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {}
    pythons = peers()
    for _ in range(rounds):
        for peer, python in pythons.items():
            found.setdefault(peer, []).append(one(peer, python))
    names = list(found["ours"][0])
    median = {
        peer: {name: statistics.median(run[name] for run in runs) for name in names} for peer, runs in found.items()
    }
    print(f"{'':60}" + "".join(f"{peer:>12}" for peer in median) + f"{'ours/best':>12}")
    for name in names:
        best = min(values[name] for peer, values in median.items() if peer != "ours")
        ratio = median["ours"][name] / best if best > 0 else float("nan")  # where a peer measured nothing: nan
        print(f"{name:60}" + "".join(f"{values[name]:12.3f}" for values in median.values()) + f"{ratio:12.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
