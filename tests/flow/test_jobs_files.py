"""The folder that the tasks of a job share, and `fused.file_path` in it, on a real server."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.jobs import get, post, printed, submitted, udf_step, until, values, wait

WRITE = """\
@fused.udf
def udf(name: str = "", wait_for: str = ""):
    import os, time
    path = fused.file_path(f"notes/{name}.txt")
    with open(path, "w") as file:
        file.write(name)
    print(path, flush=True)
    deadline = time.monotonic() + 60
    while wait_for and not os.path.exists(fused.file_path(f"notes/{wait_for}.txt")):
        assert time.monotonic() < deadline, sorted(os.listdir(os.path.dirname(path)))
        time.sleep(0.01)
    return [path]
"""
READ = """\
@fused.udf
def udf():
    import os
    folder = fused.file_path("notes")
    return {name: open(os.path.join(folder, name)).read() for name in sorted(os.listdir(folder))}
"""


def shared(server: Server, job: str) -> Path:
    return server.data / "job-data" / job


def test_tasks_of_a_job_share_files_at_one_path_and_nobody_else_does(server: Server) -> None:
    first = {"name": "a", "wait_for": "b"}
    job = submitted(server, udf_step(WRITE, [first, {"name": "b"}]), udf_step(READ), query={"instance_type": "large"})
    other = submitted(server, udf_step(READ))
    assert wait(server, job)["status"] == "done"
    assert wait(server, other)["status"] == "done"
    [a], [b], read = values(server, job)
    assert a == "/data/notes/a.txt" or a == str(shared(server, job) / "notes" / "a.txt")
    assert b == a.replace("a.txt", "b.txt")
    assert read == {"a.txt": "a", "b.txt": "b"}
    assert values(server, other) == [{}]
    until(lambda: not shared(server, job).exists() and not shared(server, other).exists())


def test_a_second_attempt_finds_what_the_first_has_written(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf():\n    import os\n    path = fused.file_path('seen.txt')\n"
        "    if not os.path.exists(path):\n        open(path, 'w').close()\n        raise RuntimeError('not yet')\n"
        "    return ['found']\n"
    )
    job = submitted(server, udf_step(code), max_retry=1)
    assert wait(server, job)["status"] == "done"
    assert values(server, job) == [["found"]]


def test_all_tasks_together_are_held_to_the_disk_of_the_job(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf(n: int):\n    import os, time\n"
        "    with open(fused.file_path(f'{n}.bin'), 'wb') as file:\n"
        "        os.posix_fallocate(file.fileno(), 0, 700 << 20)\n"
        "    time.sleep(0.4 if n == 0 else 30)\n    return n\n"
    )
    job = submitted(
        server, udf_step(code, [0]), udf_step(code, [1]), query={"disk_size_gb": 1, "instance_type": "small"}
    )
    ended = wait(server, job)
    assert ended["status"] == "failed" and "job's folder" in ended["error"], ended["error"]
    tasks = get(server, f"/api/v1/jobs/{job}")["tasks"]
    assert [task["state"] for task in tasks] == ["done", "failed"]
    until(lambda: not shared(server, job).exists())


def test_a_canceled_job_leaves_no_folder_also_where_its_task_writes_to_the_last(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf():\n    import os\n    n = 0\n    print('begun', flush=True)\n    while True:\n"
        "        n += 1\n        folder = fused.file_path(f'{n % 50}/{n}')\n        os.chmod(folder, 0)\n"
    )
    job = submitted(server, udf_step(code))
    until(lambda: printed(server, job) == ["begun"])
    assert shared(server, job).exists()
    assert post(server, f"/server/v1/run/by-id/{job}/cancel").status_code == 200
    until(lambda: not shared(server, job).exists())


def test_a_killed_server_s_successor_keeps_the_folders_of_open_jobs_and_removes_the_others(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data")
    gate = f"gate-{uuid.uuid4().hex}"
    slow = (
        "@fused.udf\ndef udf(gate: str):\n    import os, time\n    print('waiting', flush=True)\n"
        "    while not os.path.exists(fused.file_path(gate, storage='mount')):\n        time.sleep(0.05)\n"
        "    return 1\n"
    )
    job = submitted(server, udf_step(WRITE, [{"name": "early"}]), udf_step(slow, [{"gate": gate}]), udf_step(READ))
    until(lambda: "waiting" in printed(server, job))
    server.process.kill()
    server.process.wait()
    stray = server.data / "job-data" / str(uuid.uuid4())
    (stray / "inner").mkdir(parents=True)
    server = start_server(tmp_path / "data")
    try:
        until(lambda: not stray.exists())
        assert (shared(server, job) / "notes" / "early.txt").read_text() == "early"
        (server.data / "mount" / gate).touch()
        assert wait(server, job)["status"] == "done"
        found: Any = values(server, job)[2]
        assert found == {"early.txt": "early"}
        until(lambda: not shared(server, job).exists())
    finally:
        stop_server(server)
