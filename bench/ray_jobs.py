"""Tasks of one job on a Ray cluster through our server, beside plain Ray tasks with the same body on the same cluster
(a head with one core and a node with two, in a network namespace): time for each task, in turn.

    FUSED_TEST_RAY_PYTHON=PATH python bench/ray_jobs.py [tasks [rounds]]        120 tasks, 5 rounds

PATH: an interpreter that has ray[default] and the package's dependencies; without it, this one. Bodies: a wait of 0.1,
0.5 and 2 s, so that the cores of the machine are no bottleneck of either. Beside it what the server itself spends on a
task, and how fast large results reach its disk: the two numbers of the model in docs/guides/scale-out.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "python")]

from tests.conftest import start_server, stop_server  # noqa: E402
from tests.flow.jobs import get, submitted, udf_step, wait  # noqa: E402
from tests.flow.ray_cluster import PORT, TOKEN, Cluster, own_network  # noqa: E402

SECONDS = (0.1, 0.5, 2.0)
WIDE = {"instance_type": "m5.xlarge"}  # as the cluster
CORES = 3  # one of the head, two of the node

OURS = """\
@fused.udf
def udf(n: int, seconds: float):
    import time
    time.sleep(seconds)
    return n
"""

LARGE = """\
@fused.udf
def udf(n: int, megabytes: int):
    return b"x" * (megabytes << 20)
"""

PLAIN = """
import json, sys, time
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=1)
def body(n, seconds):
    time.sleep(seconds)
    return n

ray.get([body.remote(n, 0.01) for n in range(8)])
for line in sys.stdin:
    order = json.loads(line)
    begun = time.monotonic()
    assert ray.get([body.remote(n, order["seconds"]) for n in range(order["tasks"])]) == list(range(order["tasks"]))
    print(json.dumps(time.monotonic() - begun), flush=True)
"""


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as folder, own_network():
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            server = start_server(
                Path(folder) / "data", "--jobs", "ray", "--ray-address", cluster.address, "--job-cores", str(CORES),
                environment={"RAY_AUTH_TOKEN": TOKEN},
            )  # fmt: skip
            plain = subprocess.Popen(
                [cluster.python, "-c", PLAIN, f"127.0.0.1:{PORT}"], env=cluster.environment(), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            try:
                wait(server, submitted(server, udf_step(OURS, [{"n": n, "seconds": 0.0} for n in range(4)])), 120)
                for seconds in SECONDS:
                    number = CORES * max(4, int(tasks * SECONDS[0] / seconds / CORES))
                    measure(server, plain, number, seconds, rounds)
                measure_results(server, 30, 16)
            finally:
                plain.kill()
                plain.wait()
                stop_server(server)
        finally:
            cluster.stop()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_results(server, tasks: int, megabytes: int) -> None:
    before, begun = cpu_seconds(server.pid), time.monotonic()
    job = submitted(server, udf_step(LARGE, [{"n": n, "megabytes": megabytes} for n in range(tasks)]), query=WIDE)
    assert wait(server, job, 300)["status"] == "done"
    seconds, cpu = time.monotonic() - begun, cpu_seconds(server.pid) - before
    total = tasks * megabytes
    print(
        f"results of {megabytes} MiB: {total / seconds:6.0f} MiB/s to the server's disk, "
        f"{1e3 * cpu / total:5.2f} ms of its CPU for each MiB"
    )


def measure(server, plain, tasks: int, seconds: float, rounds: int) -> None:
    ours, theirs, cpu = [], [], []
    for _ in range(rounds):
        plain.stdin.write(json.dumps({"tasks": tasks, "seconds": seconds}) + "\n")
        plain.stdin.flush()
        theirs.append(json.loads(plain.stdout.readline()))
        before, begun = cpu_seconds(server.pid), time.monotonic()
        job = submitted(server, udf_step(OURS, [{"n": n, "seconds": seconds} for n in range(tasks)]), query=WIDE)
        while not get(server, f"/api/v1/jobs/{job}?limit=1")["terminal_status"]:
            time.sleep(0.05)
        ours.append(time.monotonic() - begun)
        cpu.append(cpu_seconds(server.pid) - before)
        assert wait(server, job)["status"] == "done"
    mine, other = statistics.median(ours) / tasks * CORES, statistics.median(theirs) / tasks * CORES
    print(
        f"body of {seconds:3.1f} s, {tasks:4} tasks on {CORES} cores: ours {mine:6.3f} s a task, Ray {other:6.3f}, "
        f"ratio {mine / other:5.3f}; over the body {1e3 * (mine - seconds):6.1f} ms against "
        f"{1e3 * (other - seconds):6.1f} ms; the server's CPU {1e3 * statistics.median(cpu) / tasks:5.2f} ms a task",
        flush=True,
    )


if __name__ == "__main__":
    main()
