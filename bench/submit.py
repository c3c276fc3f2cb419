"""`fused.submit` against our server beside `ProcessPoolExecutor` and, where it is installed, Ray: the same tiny calls
on two workers, every status kept, in turn in one run; medians and the ratio.

    python bench/submit.py [calls] [rounds]           10000 calls, 5 rounds
    python bench/submit.py million                    10⁶ calls: rate and memory of client and server
    python bench/submit.py seconds                    50 calls of one second against the ideal

Ray runs in bench/.venv-ray (`uv venv bench/.venv-ray && uv pip install -p bench/.venv-ray ray`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "python")]
RAY_PYTHON = HERE / ".venv-ray/bin/python"
WORKERS = 2
RAY = """
import json, sys, time
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
@ray.remote
def double(n):
    return n * 2
ray.get([double.remote(n) for n in range(200)])
for line in sys.stdin:
    calls = int(line)
    began = time.perf_counter()
    refs = [double.remote(n) for n in range(calls)]
    good = 0
    for n, ref in enumerate(refs):
        try:
            good += ray.get(ref) == 2 * n
        except Exception:
            pass
    assert good == calls
    print(json.dumps(time.perf_counter() - began), flush=True)
"""


def double(n: int) -> int:
    return n * 2


@contextmanager
def serving() -> Iterator[psutil.Process]:
    from tests.conftest import start_server, stop_server

    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", workers=WORKERS)
        os.environ |= {"FUSED_BASE_URL": server.base_url, "FUSED_AUTH_TOKEN": server.token}
        try:
            yield psutil.Process(server.pid)
        finally:
            stop_server(server)


def ours(calls: int) -> float:
    """Seconds until each call's status and result are here."""
    import fused

    udf = fused.load("@fused.udf\ndef double(n: int):\n    return n * 2\n")
    began = time.perf_counter()
    pool = fused.submit(udf, range(calls))
    pool.wait()
    took = time.perf_counter() - began
    assert pool.all_succeeded() and pool.table.finished == calls
    for index in range(0, calls, max(1, calls // 1_000)):
        assert pool[index].result() == 2 * index
    pool._engine.join()
    return took


def executor(calls: int, pool: ProcessPoolExecutor) -> float:
    began = time.perf_counter()
    futures = [pool.submit(double, n) for n in range(calls)]
    assert all(future.result() == 2 * n for n, future in enumerate(futures))
    return time.perf_counter() - began


@contextmanager
def ray_driver() -> Iterator[subprocess.Popen[str] | None]:
    if not RAY_PYTHON.exists():
        print(f"no Ray here ({RAY_PYTHON.relative_to(ROOT)} is missing)")
        yield None
        return
    driver = subprocess.Popen(
        [RAY_PYTHON, "-c", RAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    try:
        yield driver
    finally:
        assert driver.stdin is not None
        driver.stdin.close()
        try:
            driver.wait(20)
        except subprocess.TimeoutExpired:  # its own end can take minutes on a busy machine
            driver.terminate()
            driver.wait(20)


def by_ray(calls: int, driver: subprocess.Popen[str]) -> float:
    assert driver.stdin is not None
    assert driver.stdout is not None
    driver.stdin.write(f"{calls}\n")
    driver.stdin.flush()
    return float(json.loads(driver.stdout.readline()))


def compare(calls: int, rounds: int) -> None:
    took: dict[str, list[float]] = {"fused.submit": [], "ProcessPoolExecutor": [], "Ray": []}
    with serving(), ProcessPoolExecutor(WORKERS) as pool, ray_driver() as driver:
        ours(200), executor(200, pool)
        for _ in range(rounds):
            took["fused.submit"].append(ours(calls))
            took["ProcessPoolExecutor"].append(executor(calls, pool))
            if driver is not None:
                took["Ray"].append(by_ray(calls, driver))
    own = statistics.median(took["fused.submit"])
    for name, seconds in took.items():
        if seconds:
            middle = statistics.median(seconds)
            spread = f"{min(seconds) / calls * 1e6:.1f} to {max(seconds) / calls * 1e6:.1f}"
            print(f"{name:20} {middle / calls * 1e6:7.1f} µs a call ({spread}), {middle / own:.1f}× ours")


def million() -> None:
    calls = 1_000_000
    with serving() as server:
        ours(1_000)
        seconds = ours(calls)
        client = psutil.Process().memory_info().rss
        print(f"{calls:,} calls: {seconds / calls * 1e6:.1f} µs a call")
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        high = int(Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
        now = server.memory_info().rss
        print(f"client {client >> 20} MiB (peak {peak >> 20}), server {now >> 20} MiB (peak {high >> 20})")


def of_a_second() -> None:
    import fused

    udf = fused.load("import time\n@fused.udf\ndef nap(n: int):\n    time.sleep(1)\n    return n\n")
    with serving():
        ours(200)
        began = time.perf_counter()
        fused.submit(udf, range(50)).results()
        took = time.perf_counter() - began
    print(f"50 calls of 1 s on {WORKERS} workers: {took:.2f} s, {took / 25:.3f}× the ideal")


if __name__ == "__main__":
    what = sys.argv[1:] or ["10000"]
    if what[0] == "million":
        million()
    elif what[0] == "seconds":
        of_a_second()
    else:
        compare(int(what[0]), int(what[1]) if len(what) > 1 else 5)
