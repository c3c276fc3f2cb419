"""The result cache over HTTP beside nginx serving the same bytes as a file, and what it costs a function that is never
asked the same thing twice.

    python bench/result_cache.py [static] [uncached]

Needs wrk and nginx (Debian: nginx-light). Each pair is measured in turn, five times (BENCH_RUNS) of two seconds
(BENCH_SECONDS); medians, and the median of the ratios of the pairs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = 64
LARGE_BYTES = 642_196
FUNCTIONS = {
    "small": "import pandas as pd\n\ndef udf():\n    return pd.DataFrame({'x': [1], 'y': [2]})\n",
    "large": f"def udf():\n    return 'x' * {LARGE_BYTES}\n",
    "always_new": "import pandas as pd\n\ndef udf(x: int = 1):\n    return pd.DataFrame({'x': [x], 'y': [x * 2]})\n",
}
NGINX = """
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 10000000; sendfile on; tcp_nopush on; default_type application/json;
  open_file_cache max=100; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; server {{ listen 127.0.0.1:{port}; root {folder}/html; }} }}
"""
# Every request asks for a value that was never asked before.
NEW_VALUES = """
local n = {begin}
request = function()
  n = n + 1
  return wrk.format("GET", wrk.path .. "x=" .. n)
end
"""


class Served:
    """Our server with the functions, and nginx with what they answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "functions").mkdir()
        for name, code in FUNCTIONS.items():
            (folder / "functions" / f"{name}.py").write_text(
                f"import fused\n{code.replace('def', '@fused.udf' + chr(10) + 'def')}"
            )
        ports = [free_port(), free_port()]
        self.ours, self.peer = (f"http://127.0.0.1:{port}" for port in ports)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FUSED_")}
        environment |= {"FUSED_PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "python")}
        command = [ROOT / "python/fused/bin/fused-server", folder / "functions", "--data", folder / "data"]
        command += ["--port", str(ports[0]), "--workers", "2", "--log-level", "warn"]
        self.processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)]
        wait_for(f"{self.ours}/health")
        self.headers = {"Authorization": "Bearer " + (folder / "data/token").read_text().strip()}
        (folder / "html").mkdir()
        for name in ("small", "large"):
            (folder / "html" / f"{name}.json").write_bytes(fetch(self.url(name), self.headers)[0])
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports[1]))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self.processes.append(subprocess.Popen([nginx, "-p", folder, "-c", folder / "nginx.conf"]))
        wait_for(f"{self.peer}/small.json")

    def url(self, name: str) -> str:
        return f"{self.ours}/api/v1/run/owner@localhost/{name}.json"

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, headers: dict[str, str] | None = None) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as reply:
        return reply.read(), {name.lower(): value for name, value in reply.headers.items()}


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            fetch(url)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def load(url: str, headers: dict[str, str], connections: int, script: Path | None = None) -> dict[str, float]:
    words = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    words += ["-s", str(script)] if script else []
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *words, url],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", out)
    assert not bad, f"{url}: {bad[0]}"

    def percentile(name: str) -> float:
        value, unit = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]

    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return {"req/s": rate, "p50 ms": percentile("50"), "p99 ms": percentile("99")}


def show(title: str, pairs: list[tuple[dict[str, float], dict[str, float]]], peer: str, goal: str) -> None:
    for figure in ("req/s", "p50 ms", "p99 ms"):
        a, b = (statistics.median(pair[at][figure] for pair in pairs) for at in (0, 1))
        ratio = statistics.median(x[figure] / y[figure] for x, y in pairs)
        wanted = f"   (goal {goal})" if figure == "req/s" else ""
        print(f"{title}: {figure:8} ours {a:11.3f}   {peer} {b:11.3f}   ratio {ratio:5.2f}{wanted}", flush=True)


def bench_static(served: Served) -> None:
    for name, goal in (("small", "≥ 0.6, p99 ≤ 3 ms"), ("large", "≥ 0.8")):
        for _ in range(3):  # a served folder's functions are described while the first requests are answered
            body, headers = fetch(served.url(name), served.headers)
        assert headers["x-fused-cache"] == "hit", headers
        assert body == fetch(f"{served.peer}/{name}.json")[0]
        load(served.url(name), served.headers, CONNECTIONS)
        pairs = [
            (load(served.url(name), served.headers, CONNECTIONS), load(f"{served.peer}/{name}.json", {}, CONNECTIONS))
            for _ in range(RUNS)
        ]
        show(f"cached, {len(body)} bytes, {CONNECTIONS} connections", pairs, "nginx", goal)


def bench_uncached(served: Served) -> None:
    """Always-new arguments, with the default cache_max_age and with none."""
    begin = 0

    def one(query: str) -> dict[str, float]:
        nonlocal begin
        begin += 10_000_000
        script = served.folder / "new.lua"
        script.write_text(NEW_VALUES.format(begin=begin))
        return load(f"{served.url('always_new')}?{query}", served.headers, 8, script)

    for query in ("", "cache_max_age=0&"):
        one(query)
    pairs = [(one(""), one("cache_max_age=0&")) for _ in range(RUNS)]
    show("always-new arguments, 8 connections", pairs, "uncached", "≥ 0.85")
    _, headers = fetch(f"{served.url('always_new')}?x=1", served.headers)
    assert headers["x-fused-cache"] == "miss"
    health = json.loads(fetch(f"{served.ours}/health", served.headers)[0])["cache"]
    print(f"  stored {health['stored']}, given up {health['not_stored']}, trouble {health['trouble']!r}")


BENCHES = {"static": bench_static, "uncached": bench_uncached}


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, {RUNS} runs of {SECONDS} s in turn, {time.strftime('%Y-%m-%d')}")
    where = Path(tempfile.mkdtemp(prefix="fused-bench-"))
    where.chmod(0o755)  # started by root, nginx reads as another user
    running = Served(where)
    try:
        for wanted in sys.argv[1:] or BENCHES:
            BENCHES[wanted](running)
    finally:
        running.stop()
        shutil.rmtree(where, ignore_errors=True)
