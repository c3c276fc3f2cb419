"""What HTTP itself costs: GET /health through parser, router and dispatcher, with the access log on and off.

Needs wrk. Prints requests per second and p99 at 1, 8 and 64 connections and, which a busy machine disturbs less, the
server's processor time per request:

    .venv/bin/python bench/http_floor.py [--seconds 4]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "python" / "fused" / "bin" / "fused-server"
CONNECTIONS = (1, 8, 64)
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def start(data: Path, level: str) -> tuple[subprocess.Popen[bytes], str]:
    environment = {**os.environ, "FUSED_PYTHON": sys.executable}
    command = [str(SERVER), "--port", "0", "--data", str(data), "--workers", "1", "--log-level", level]
    with Path(os.devnull).open("w") as nowhere:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=nowhere, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(rb"http://[0-9.]+:\d+", line):
            return process, found.group().decode()
    raise SystemExit(f"the server ended with {process.wait()}")


def measure(process: subprocess.Popen[bytes], url: str, connections: int, seconds: int) -> str:
    before = cpu_seconds(process.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"{url}/health"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(process.pid) - before
    requests = int(re.search(r"(\d+) requests in", text).group(1))  # type: ignore[union-attr]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
    p99 = re.search(r"99%\s+(\S+)", text).group(1)  # type: ignore[union-attr]
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    assert failed is None, failed
    return (
        f"{connections:4d} connections  {rate:9.0f} req/s  p99 {p99:>8}  {used / requests * 1e6:5.1f} µs CPU a request"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    seconds = parser.parse_args().seconds
    for level, name in (("info", "access log on"), ("warn", "access log off")):
        with tempfile.TemporaryDirectory() as folder:
            process, url = start(Path(folder) / "data", level)
            try:
                urllib.request.urlopen(f"{url}/health").read()
                time.sleep(2)  # the workers come up meanwhile
                print(f"{name}; load of the machine {os.getloadavg()[0]:.1f}")
                for connections in CONNECTIONS:
                    print(measure(process, url, connections, seconds), flush=True)
            finally:
                process.terminate()
                process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
