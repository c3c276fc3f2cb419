"""Jobs on a real Ray cluster of two nodes (docs/decisions/0011-many-machines.md).

The cluster needs an interpreter with ray[default]: this one, or the one that FUSED_TEST_RAY_PYTHON names; it is tried
with FUSED_TEST_RAY=1 and by `make test-long`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.jobs import get, log, post, printed, status, submitted, udf_step, until, values, wait
from tests.flow.ray_cluster import TOKEN, Cluster, own_network, ray_python
from tests.flow.test_jobs_kill import HOSTILE, processes_with
from tests.flow.test_jobs_ray_refused import refusal
from tests.flow.test_promotion import Beats, ask, promoted

IS_ASKED = "1" in (os.environ.get("FUSED_TEST_RAY"), os.environ.get("FUSED_TEST_LONG"))
TASKS = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_server()
    if not IS_ASKED:
        pytest.skip("not tested: jobs on a Ray cluster (FUSED_TEST_RAY=1, or make test-long)")
    if not ray_python():
        pytest.skip("not tested: jobs on a Ray cluster: no ray here, and FUSED_TEST_RAY_PYTHON names no interpreter")
    network = own_network()
    try:
        network.__enter__()
    except PermissionError as error:
        pytest.skip(f"not tested: jobs on a Ray cluster: this machine allows no network namespace ({error})")
    try:
        running = Cluster(tmp_path_factory.mktemp("ray"))
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        network.__exit__(None, None, None)


def start(cluster: Cluster, data: Path, *arguments: str) -> Server:
    return start_server(
        data, "--jobs", "ray", "--ray-address", cluster.address, "--job-lease-ms", "15000", *arguments,
        environment={"RAY_AUTH_TOKEN": TOKEN},
    )  # fmt: skip


@pytest.fixture(scope="module")
def on_ray(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start(cluster, tmp_path_factory.mktemp("on_ray") / "data")
    yield server
    stop_server(server)
    print("".join(server.lines[-40:]))


SQUARE = """\
@fused.udf
def udf(n: int):
    import os, sys
    print('square of', n)
    print('to stderr', file=sys.stderr)
    if n == 2:
        raise ValueError('two is not allowed')
    return [n * n, os.environ.get('FROM_THE_JOB', '')]
"""


def test_tasks_run_on_the_nodes_and_tell_what_local_ones_tell(on_ray: Server) -> None:
    job = submitted(
        on_ray,
        udf_step(SQUARE, [1, 2, 3], ignore_chunk_error=True),
        additional_env=["FROM_THE_JOB=yes"],
    )
    assert wait(on_ray, job, 120)["status"] == "done"
    shown = get(on_ray, f"/api/v1/jobs/{job}")
    states = {each["task"]: each["ended_as"] for each in shown["attempts"]}
    assert states == {0: "done", 1: "failed", 2: "done"}, shown
    failed = next(each for each in shown["attempts"] if each["task"] == 1)
    assert failed["error"] == "ValueError: two is not allowed"
    lines = log(on_ray, job)
    assert sorted(each["message"] for each in lines if each["stream"] == "stdout") == [
        "square of 1", "square of 2", "square of 3"
    ]  # fmt: skip
    assert sum(each["stream"] == "stderr" and each["message"] == "to stderr" for each in lines) == 3
    assert sum("runs on node" in each["message"] for each in lines if each["stream"] == "job") == 3
    results = get(on_ray, f"/server/v1/run/by-id/{job}/results")
    assert {each["name"] for each in results} >= {"0.json", "2.json"}


ASKS = """\
@fused.udf
def udf(n: int):
    import fused

    @fused.udf
    def inner(k: int):
        return k + 1

    return fused.run(inner, k=n)
"""


def test_a_function_on_a_node_asks_the_server(on_ray: Server) -> None:
    job = submitted(on_ray, udf_step(ASKS, [41]))
    assert wait(on_ray, job, 120)["status"] == "done", log(on_ray, job)
    assert values(on_ray, job) == [42]


LARGE = "@fused.udf\ndef udf(n: int):\n    import numpy as np\n    return np.full(n, 7, dtype='int64')\n"


def test_a_large_result_comes_whole(on_ray: Server) -> None:
    job = submitted(on_ray, udf_step(LARGE, [2_000_000]))
    assert wait(on_ray, job, 120)["status"] == "done", log(on_ray, job)
    files = get(on_ray, f"/server/v1/run/by-id/{job}/results")
    assert any(each["name"].endswith(".npy") for each in files), files


LIMITED = """\
@fused.udf(limits={'wall_seconds': 1})
def udf(n: int):
    import time
    while True:
        time.sleep(0.1)
"""


def test_limits_hold_on_a_node(on_ray: Server) -> None:
    job = submitted(on_ray, udf_step(LIMITED, [1]))
    assert wait(on_ray, job, 120)["status"] == "failed"
    shown = get(on_ray, f"/api/v1/jobs/{job}")
    assert {each["ended_as"] for each in shown["attempts"]} == {"timeout"}, shown
    assert "longer than its limit of 1 s" in shown["attempts"][0]["error"]


DIES = "@fused.udf\ndef udf(n: int):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)\n"


def test_a_process_that_dies_on_a_node_is_told_as_one_here(on_ray: Server) -> None:
    job = submitted(on_ray, udf_step(DIES, [1]))
    assert wait(on_ray, job, 120)["status"] == "failed"
    shown = get(on_ray, f"/api/v1/jobs/{job}")
    assert {each["ended_as"] for each in shown["attempts"]} == {"crashed"}, shown
    assert "ended by signal 11" in shown["attempts"][0]["error"]


def test_a_canceled_job_leaves_no_process_on_its_node(on_ray: Server) -> None:
    mark = f"hostile-{uuid.uuid4().hex}"
    job = submitted(on_ray, udf_step(HOSTILE, [{"mark": mark}]))
    until(lambda: "begun" in printed(on_ray, job))
    until(lambda: len(processes_with(mark)) == 2)
    began = time.monotonic()
    assert post(on_ray, f"/server/v1/run/by-id/{job}/cancel").status_code == 200
    until(lambda: not processes_with(mark), 10)
    print(f"no process of a canceled job on its node after {time.monotonic() - began:.2f} s")
    assert status(on_ray, job)["status"] == "canceled"
    until(lambda: get(on_ray, "/health")["ray"]["attempts"] == 0, 30)


SLOW = """\
@fused.udf
def udf(n: int, folder: str):
    import os, time, uuid
    mark = uuid.uuid4().hex
    with open(f'{folder}/{n}', 'a') as file:
        file.write(mark + '\\n')
    time.sleep(1)
    return [n, mark]
"""


def test_every_result_is_there_once_when_a_node_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    server = start(cluster, tmp_path / "data", "--ray-mount", str(shared))
    try:
        (shared / "ledger").mkdir()
        step = udf_step(SLOW, [{"n": n, "folder": "/mount/ledger"} for n in range(TASKS)])
        job = submitted(server, step, query={"instance_type": "m5.xlarge"})  # as wide as the cluster
        until(lambda: get(server, f"/api/v1/jobs/{job}")["finished_tasks"] >= 5, 120)
        cluster.kill_node()
        killed_at = get(server, f"/api/v1/jobs/{job}")["finished_tasks"]
        ended = wait(server, job, 240)
        assert ended["status"] == "done", log(server, job)[-20:]
        found = values(server, job)
        assert [n for n, _ in found] == list(range(TASKS))
        starts = {n: (shared / "ledger" / str(n)).read_text().split() for n in range(TASKS)}
        assert all(mark in starts[n] for n, mark in found), "a result that no start has made"
        shown = get(server, f"/api/v1/jobs/{job}")
        recorded = sorted(each["task"] for each in shown["attempts"] if each["ended_as"] == "done")
        assert recorded == list(range(TASKS)), "a result is recorded once"
        begun = sum(map(len, starts.values()))
        again = sum("is begun again" in each["message"] for each in log(server, job))
        print(f"a node killed after {killed_at} of {TASKS} tasks: {begun} starts, {again} begun again by Ray")
        # A start that was killed before it had written its mark is known from the log alone.
        assert begun > TASKS or again > 0, "nothing ran on the node that was killed"
    finally:
        stop_server(server)
        print("".join(server.lines[-40:]))
        cluster.add_node()


def test_a_killed_server_s_jobs_go_on_with_the_next(cluster: Cluster, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "ledger").mkdir(parents=True)
    server = start(cluster, tmp_path / "data", "--ray-mount", str(shared))
    job = submitted(server, udf_step(SLOW, [{"n": n, "folder": "/mount/ledger"} for n in range(6)]))
    until(lambda: get(server, f"/api/v1/jobs/{job}")["finished_tasks"] >= 1, 120)
    server.process.kill()
    server.process.wait()
    server = start(cluster, tmp_path / "data", "--ray-mount", str(shared))
    try:
        assert wait(server, job, 240)["status"] == "done", log(server, job)[-20:]
        assert [n for n, _ in values(server, job)] == list(range(6))
    finally:
        stop_server(server)


NOTE = """\
@fused.udf
def udf(n: int):
    import os
    path = fused.file_path(f"notes/{n}.txt")
    open(path, "w").write(str(n))
    return [path]
"""
NOTES = """\
@fused.udf
def udf():
    import os
    folder = fused.file_path("notes")
    return [folder, sorted(os.listdir(folder))]
"""


def test_tasks_share_their_job_s_folder_where_the_nodes_share_a_mount(cluster: Cluster, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    server = start(cluster, tmp_path / "data", "--ray-mount", str(shared))
    try:
        job = submitted(server, udf_step(NOTE, [0, 1, 2]), udf_step(NOTES))
        assert wait(server, job, 120)["status"] == "done"
        folder, names = values(server, job)[3]
        assert names == ["0.txt", "1.txt", "2.txt"]
        on_mount = shared / "fused-system" / "job-data" / job
        assert folder in ("/data/notes", str(on_mount / "notes")) and (on_mount / "notes" / "0.txt").exists()
    finally:
        stop_server(server)


def test_without_a_shared_mount_each_task_has_a_folder_of_its_own(on_ray: Server) -> None:
    job = submitted(on_ray, udf_step(NOTE, [0, 1]), udf_step(NOTES))
    assert wait(on_ray, job, 120)["status"] == "done"
    _, names = values(on_ray, job)[2]
    assert names == []


def test_a_promoted_run_goes_on_where_it_is_and_its_next_attempt_on_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    arguments = ("--limit-wall-ms", "1000", "--ray-mount", str(tmp_path / "data" / "mount"))
    server = start(cluster, tmp_path / "data", *arguments)
    try:
        beats = Beats(server)
        job = promoted(ask(server, beats))
        nodes = [each["message"] for each in log(server, job) if "runs on node" in each["message"]]
        assert len(beats.marks()) == 1 and not nodes, "it is the server's own process that goes on"
        server.process.kill()
        server.process.wait()
        server = start(cluster, tmp_path / "data", *arguments)
        until(lambda: len(beats.marks()) == 2, 240)
        beats.open()
        assert wait(server, job, 120)["status"] == "done", log(server, job)[-20:]
        assert values(server, job) == [beats.marks()[1]]
        assert any("runs on node" in each["message"] for each in log(server, job))
    finally:
        stop_server(server)


def test_without_its_token_the_cluster_is_refused_by_name(cluster: Cluster, tmp_path: Path) -> None:
    assert "asks for a token" in refusal(tmp_path / "data", "--jobs", "ray", "--ray-address", cluster.address)
