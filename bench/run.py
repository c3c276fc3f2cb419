"""`make bench`: our server and the peer on this machine in one run, five times in turn; medians and the ratio.

    python bench/run.py [http|code|refill|start|memory|overload ...]

Needs wrk. The peer's packages (fastapi, uvicorn, pillow, geopandas) go into bench/.venv-peer at the first run.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
os.environ["FUSED_CACHE_MAX_AGE"] = "0s"  # what is measured here is running, not answering again
PEER_PYTHON = HERE / ".venv-peer/bin/python"
CODE = (
    "import geopandas as gpd, pandas as pd, shapely\ndef udf():\n    # {i}\n    return pd.DataFrame({{'x': [{i}]}})\n"
)


def prepare_peer() -> None:
    if not PEER_PYTHON.exists():
        subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(PEER_PYTHON.parent.parent)], check=True)
        packages = ["fastapi", "uvicorn[standard]", "pillow", "geopandas", "pyarrow"]
        subprocess.run(
            [sys.executable, "-m", "uv", "pip", "install", "-q", "-p", str(PEER_PYTHON), *packages], check=True
        )


def wait_for(url: str, headers: dict[str, str] | None = None, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def ask(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> None:
    """One POST over a connection that stays open."""
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text


class Ours:
    name = "fused-server"

    def __init__(self, data: Path, port: int) -> None:
        command = [
            str(ROOT / "python/fused/bin/fused-server"),
            str(HERE / "functions"),
            "--data",
            str(data),
            "--port",
            str(port),
            "--log-level",
            "warn",
            "--workers",
            "2",
            "--cache-max-age",
            "0s",  # runs are measured here, not answers from the cache
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(f"http://127.0.0.1:{port}/health")
        self.base = f"http://127.0.0.1:{port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.headers = {"Authorization": "Bearer " + (data / "token").read_text().strip()}
        for _ in range(12):
            for kind in ("tiny", "gdf", "tile"):
                wait_for(self.url(kind), self.headers)

    def url(self, kind: str) -> str:
        extension = {"tiny": "json", "gdf": "parquet", "tile": "png"}[kind]
        return f"{self.base}/api/v1/run/owner@localhost/{kind}.{extension}"

    def run_code(self, code: str, fresh: bool = False) -> None:
        step = json.dumps({"type": "udf", "udf": {"name": "new", "code": code}})
        body = json.dumps({"step_config": step, "format": "json"}).encode()
        headers = {
            **self.headers,
            "Content-Type": "application/json",
            **({"Fused-Fresh-Worker": "true"} if fresh else {}),
        }
        ask(self.connection, "/server/v1/realtime/local/api/v1/run/udf", body, headers)


class Peer:
    name = "FastAPI pool"

    def __init__(self, port: int) -> None:
        command = [
            str(PEER_PYTHON),
            "-m",
            "uvicorn",
            "fastapi_pool:app",
            "--port",
            str(port),
            "--log-level",
            "error",
            "--no-access-log",
        ]
        self.process = subprocess.Popen(command, cwd=HERE / "peers")
        self.base = f"http://127.0.0.1:{port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.headers: dict[str, str] = {}
        for kind in ("tiny", "gdf", "tile"):
            wait_for(self.url(kind))

    def url(self, kind: str) -> str:
        return f"{self.base}/run/{kind}"

    def run_code(self, code: str, fresh: bool = False) -> None:
        ask(self.connection, "/code", code.encode(), {})


def cpu_seconds(pid: int) -> float:
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            pass
    return total


def load(target: Ours | Peer, kind: str, connections: int) -> dict[str, float]:
    headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *headers, target.url(kind)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        # Within the load: at its end callers leave, and workers that are ended with their runs take their clocks along.
        time.sleep(0.3)
        before, begin = cpu_seconds(target.process.pid), time.perf_counter()
        time.sleep(SECONDS - 0.8)
        spent, seconds = cpu_seconds(target.process.pid) - before, time.perf_counter() - begin
        out = wrk.communicate()[0]
    assert wrk.returncode == 0, out
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    assert not bad, f"{target.name} {kind}: {bad[0]}"
    return {
        "req/s": rate,
        "p50 ms": milliseconds(out, "50%"),
        "p99 ms": milliseconds(out, "99%"),
        "cpu ms": spent * 1e3 / (rate * seconds),
    }


def milliseconds(out: str, row: str) -> float:
    value, unit = re.search(row + r"\s+([\d.]+)(us|ms|s)", out).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


@contextmanager
def both() -> Iterator[tuple[Ours, Peer]]:
    prepare_peer()
    with tempfile.TemporaryDirectory() as folder:
        ours, peer = Ours(Path(folder) / "data", 9341), Peer(9342)
        try:
            yield ours, peer
        finally:
            for target in (ours, peer):
                target.process.terminate()
                target.process.wait(40)


def show(title: str, ours: list[float], peer: list[float], higher_is_better: bool) -> None:
    a, b = statistics.median(ours), statistics.median(peer)
    ratio = statistics.median(x / y if higher_is_better else y / x for x, y in zip(ours, peer, strict=True))
    print(f"{title:34} ours {a:10.3f}   peer {b:10.3f}   ratio {ratio:6.2f}", flush=True)


def bench_http() -> None:
    with both() as (ours, peer):
        for kind in ("tiny", "gdf", "tile"):
            for connections in (1, 8, 64):
                pairs = [(load(ours, kind, connections), load(peer, kind, connections)) for _ in range(RUNS)]
                for figure in ("req/s", "p50 ms", "p99 ms", "cpu ms"):
                    show(
                        f"{kind} at {connections}: {figure}",
                        [a[figure] for a, _ in pairs],
                        [b[figure] for _, b in pairs],
                        figure == "req/s",
                    )


def bench_code() -> None:
    """New code to its first result: in a warm worker, one after the other and after pauses, and in a fresh one."""
    with both() as (ours, peer):
        calls = {"warm": ours.run_code, "fresh": lambda code: ours.run_code(code, fresh=True), "peer": peer.run_code}
        for title, name, pause in (
            ("warm worker", "warm", 0.0),
            ("warm worker, after 30 ms", "warm", 0.03),
            ("fresh worker", "fresh", 0.03),  # the pool makes the next one meanwhile
        ):
            times: dict[str, list[float]] = {name: [], "peer": []}
            for _ in range(40 * RUNS):
                for each, taken in times.items():
                    code = CODE.format(i=f"1{uuid.uuid4().int % 10**9}")
                    time.sleep(pause)
                    begin = time.perf_counter()
                    calls[each](code)
                    taken.append((time.perf_counter() - begin) * 1e3)
            show(f"new code, {title}: p50 ms", *([statistics.median(each)] for each in times.values()), False)


def bench_refill() -> None:
    """How long after a fresh worker was taken the next one stands ready."""
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder) / "data", 9344)
        try:
            times = []
            for i in range(10 * RUNS):
                ours.run_code(CODE.format(i=10_000_000 + i), fresh=True)
                begin = time.perf_counter()
                while blank_workers(ours) < 1:
                    pass
                times.append((time.perf_counter() - begin) * 1e3)
                time.sleep(0.1)
            print(
                f"{'pool refilled: ms':34} ours {statistics.median(times):10.3f}   "
                f"worst of {len(times)} {max(times):.1f}   (goal 100)"
            )
        finally:
            ours.process.terminate()
            ours.process.wait(40)


def blank_workers(ours: Ours) -> int:
    request = urllib.request.Request(ours.base + "/metrics", headers=ours.headers)
    with urllib.request.urlopen(request) as answer:
        return int(float(re.search(r'worker\S*\{state="blank"\} (\S+)', answer.read().decode())[1]))


def bench_start() -> None:
    """From exec to the first answer of /health; the peer to its first answer."""
    prepare_peer()
    ours = []
    for i in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [
                    str(ROOT / "python/fused/bin/fused-server"),
                    "--data",
                    folder + "/data",
                    "--port",
                    str(9350 + i),
                    "--log-level",
                    "warn",
                ],
                stdout=subprocess.PIPE,
            )
            process.stdout.readline()
            ours.append((time.perf_counter() - begin) * 1e3)
            process.terminate()
            process.wait(40)
    print(f"{'exec to ready: ms':34} ours {statistics.median(ours):10.3f}   (goal 50)")


def bench_memory() -> None:
    """Proportional set size of the server, the zygote and its workers a second after each has served."""
    with both() as (ours, peer):
        for target in (ours, peer):
            load(target, "gdf", 8)
            time.sleep(1)
            # A worker's init process runs in the zygote's own address space, which is counted with the zygote.
            top = psutil.Process(target.process.pid)
            processes = [top, *top.children(recursive=True)]
            total = sum(p.memory_full_info().pss for p in processes if p.name() != "fused-init")
            print(f"{'PSS after Parquet load: MiB':34} {target.name} {total / 2**20:.0f}")


def bench_overload() -> None:
    """At four times the load that it can bear: how long the admitted wait, and how soon the others hear no."""
    from open_loop import open_loop

    warm_up, seconds = 3.0, float(os.environ.get("BENCH_OVERLOAD_SECONDS", "15"))
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder) / "data", 9343)
        try:
            for kind in ("gdf", "tile"):
                capacity = statistics.median(load(ours, kind, 8)["req/s"] for _ in range(3))
                calm = open_loop(ours.url(kind), ours.headers, capacity * 0.8, seconds, warm_up)
                flood = open_loop(ours.url(kind), ours.headers, capacity * 4, seconds, warm_up)
                for name, answers in (("80 %", calm), ("400 %", flood)):
                    others = {status: len(times) for status, times in answers.by_status.items() if status != 200}
                    print(
                        f"{kind} at {name} of {capacity:.0f}/s: {answers.count(200) / seconds:.0f}/s answered, "
                        f"p50 {answers.quantile(200, 0.5):.1f} ms, p99 {answers.quantile(200, 0.99):.1f} ms; "
                        f"others {others}, lost {answers.lost}",
                        flush=True,
                    )
                ratio = flood.quantile(200, 0.99) / calm.quantile(200, 0.99)
                print(
                    f"{kind}: p99 of the admitted at 400 % is {ratio:.2f} x that at 80 % (goal 2); "
                    f"p99 of 429 {flood.quantile(429, 0.99):.1f} ms (goal 50)",
                    flush=True,
                )
        finally:
            ours.process.terminate()
            ours.process.wait(40)


BENCHES = {
    "http": bench_http,
    "code": bench_code,
    "refill": bench_refill,
    "start": bench_start,
    "memory": bench_memory,
    "overload": bench_overload,
}

if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, {RUNS} runs of {SECONDS} s in turn, {time.strftime('%Y-%m-%d')}")
    for name in sys.argv[1:] or BENCHES:
        print(f"\n== {name}")
        BENCHES[name]()
