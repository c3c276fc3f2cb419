"""A worker that was forked ahead of its task: it enters its sandbox late, with what the task may have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.worker.worker_harness import TestZygote

LOOK = """
import os, resource
def udf():
    descriptors = []
    for number in range(4, 200):
        try:
            descriptors.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return {
        "descriptors_max": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "cwd": os.getcwd(), "home": os.environ["HOME"], "secret": os.environ.get("SECRET"),
        "paths": [path for path in descriptors if path.startswith("/")],
    }
"""
SHARE = """
import fused
def udf(name: str):
    path = fused.file_path(name)
    with open(path, "a") as file:
        file.write("x")
    return [path, open(path).read()]
"""


@pytest.mark.parametrize("isolation", ["auto", "none"])
def test_limits_and_folders_are_those_that_came_with_the_task(tmp_path: Path, isolation: str) -> None:
    zygote = TestZygote(tmp_path, {"SECRET": "of the server"})
    shared = tmp_path / "job"
    shared.mkdir()
    try:
        worker = zygote.worker(isolation, {"limits": {"descriptors": 321}, "job": str(shared)})
        seen = worker.run(LOOK).value
        assert seen["descriptors_max"] == 321
        assert seen["cwd"] == seen["home"] == str(worker.scratch)
        assert seen["secret"] is None
        at_once = zygote.worker(isolation)
        also = at_once.run(LOOK).value["paths"]
        assert len(seen["paths"]) == len(also), (seen["paths"], also)
        inside = worker.ready["job"]
        has_root = "private_root" in worker.ready["isolation"]
        assert inside == ("/data" if has_root else str(shared))
        context = {"batch": True, "job_id": "j", "recursion": 1, "headers": {}}
        path, text = worker.run(SHARE, typed={"name": "notes.txt"}, context=context).value
        assert (path, text) == (f"{inside}/notes.txt", "x")
        assert (shared / "notes.txt").read_text() == "x"
        other = zygote.worker(isolation, {"job": str(shared)})
        assert other.run(SHARE, typed={"name": "notes.txt"}, context=context).value[1] == "xx"
        assert other.ready["isolation"] == worker.ready["isolation"]
        assert at_once.ready["isolation"] == worker.ready["isolation"], "ahead or not, the same is in force"
        assert "job" not in at_once.ready
    finally:
        zygote.close()


def test_one_that_nobody_sends_in_ends_with_the_server(tmp_path: Path) -> None:
    zygote = TestZygote(tmp_path)
    worker = zygote.worker("auto", {})
    worker.connection.socket.close()
    assert os.waitstatus_to_exitcode(worker.ended()["status"]) == 0
    zygote.close()


def test_what_is_no_sandbox_ends_it(tmp_path: Path) -> None:
    zygote = TestZygote(tmp_path)
    try:
        with pytest.raises(AssertionError, match=r"(?s)no READY.*sandbox"):
            zygote.worker("auto", {"limits": {"no_such_limit": 1}})
    finally:
        zygote.close()
