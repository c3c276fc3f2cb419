"""Where a request's processor time goes: event loop, log folders, workers; and what of a worker's is the function's.

    .venv/bin/python bench/request_path.py [--kind tiny] [--seconds 4] [--folder DIR]

Needs wrk. Counts come from the scheduler's own clocks of each thread, so a busy machine disturbs them little.
The function's own time is what its runs report.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import run


def thread_seconds(top: psutil.Process) -> dict[str, float]:
    """Seconds of processor time so far, by part of the server."""
    parts = {"event loop": 0.0, "other threads of the server": 0.0, "workers": 0.0, "zygote and init": 0.0}
    for process in [top, *top.children(recursive=True)]:
        try:
            for task in os.listdir(f"/proc/{process.pid}/task"):
                spent = int(Path(f"/proc/{process.pid}/task/{task}/schedstat").read_text().split()[0]) / 1e9
                if process.pid == top.pid:
                    part = "event loop" if int(task) == top.pid else "other threads of the server"
                elif process.name() == "fused-init" or process.ppid() == top.pid:
                    part = "zygote and init"
                else:
                    part = "workers"
                parts[part] += spent
        except (OSError, psutil.Error):
            continue  # a worker that was replaced meanwhile
    return parts


def own_ms(target: run.Ours, kind: str) -> float:
    """Milliseconds that the function itself took as its runs tell, the median of runs one after the other."""
    execution = []
    for _ in range(200):
        with urllib.request.urlopen(urllib.request.Request(target.url(kind), headers=target.headers)) as answer:
            answer.read()
            execution.append(json.loads(answer.headers["x-fused-metadata"])["execution_time_seconds"] * 1e3)
    return statistics.median(execution)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="tiny", choices=["tiny", "gdf", "tile"])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument(
        "--folder", type=Path, help="where the data folder is made; a disk without recent mass deletions"
    )
    options = parser.parse_args()
    run.SECONDS = options.seconds
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    target = run.Ours(folder / "data", 9361)
    try:
        run.load(target, options.kind, options.connections)
        top = psutil.Process(target.process.pid)
        # Within the load: at its end the callers of the last requests go away, and their workers with them.
        run.SECONDS = options.seconds + 1
        with ThreadPoolExecutor(1) as pool:
            loaded = pool.submit(run.load, target, options.kind, options.connections)
            time.sleep(0.5)
            before = thread_seconds(top)
            time.sleep(options.seconds)
            after = thread_seconds(top)
            figures = loaded.result()
        requests = figures["req/s"] * options.seconds
        print(f"{options.kind} at {options.connections} for {options.seconds} s: {figures['req/s']:.0f} req/s")
        for part, seconds in after.items():
            print(f"{part:30} {(seconds - before[part]) / requests * 1e3:7.3f} ms a request")
        print(f"{'the function itself (reported)':30} {own_ms(target, options.kind):7.3f} ms")
    finally:
        target.process.terminate()
        target.process.wait()
        print(f"the data folder is left in {folder}: removing many small files slows a disk for minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
