"""Jobs on our server: how long from the submit to its acknowledgement, to the first line that the function prints and
to the recorded end; jobs one after the other on an idle server.

    python bench/jobs.py [jobs]                       50 jobs

The queue by itself, with 100 and 100,000 pending jobs: `tools/dev job_queue`, then `build/release/job_queue DIR`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "python")]

import fused  # noqa: E402
from tests.conftest import start_server, stop_server  # noqa: E402


@fused.udf
def hello(n: int = 0):
    print("hello", n, flush=True)
    return n


def told(name: str, values: list[float]) -> None:
    values = sorted(values)
    print(f"{name:28} p50 {statistics.median(values):6.1f} ms   p90 {values[int(0.9 * len(values))]:6.1f} ms")


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory(prefix="bench-jobs-") as folder:
        server = start_server(Path(folder) / "data")
        try:
            fused.options.base_url, fused.options.auth_token = server.base_url, server.token
            hello(arg_list=[0]).run_remote().wait_for_job()
            acknowledged, first_line, ended = [], [], []
            for n in range(jobs):
                begun = time.time() * 1e3
                job = hello(arg_list=[n]).run_remote(name="hello")
                acknowledged.append(time.time() * 1e3 - begun)
                while not job.get_status().terminal_status:
                    time.sleep(0.005)
                ended.append(time.time() * 1e3 - begun)
                lines = [line for line in job.get_logs() if line["message"].endswith(f"hello {n}")]
                first_line.append(lines[0]["timestamp"] - begun)
            told("acknowledged", acknowledged)
            told("first line of the function", first_line)
            told("seen as done", ended)
        finally:
            stop_server(server)


if __name__ == "__main__":
    main()
