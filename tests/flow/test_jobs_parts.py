"""The parts of an ``output_table``: they stay while a job could go on with them, and go with the last that could."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

import fused
from tests.conftest import Server
from tests.flow.calls import headers_of
from tests.flow.jobs import get, log, post, until, wait


@pytest.fixture(autouse=True)
def connected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)


@fused.udf
def rows(n: int, gate: str):
    import glob
    import os
    import time

    import pandas as pd

    root = "/mount" if os.path.isdir("/mount") else os.environ["FUSED_MOUNT"]
    while n == 2 and not glob.glob(f"{root}/{os.path.dirname(gate)}/table.parts-*/*/000000000-*.parquet"):
        time.sleep(0.01)  # the other task has not written its part
    if n >= 2 and not os.path.exists(f"{root}/{gate}"):
        raise ValueError("the second is not ready")
    return pd.DataFrame({"n": [n]})


def submitted(name: str, *numbers: int) -> str:
    items: list[dict[str, Any]] = [{"n": n, "gate": f"{name}/gate"} for n in numbers or (1, 2)]
    return str(rows(arg_list=items).run_remote(output_table=f"/mount/{name}/table").job_id)


def remove(server: Server, job: str) -> None:
    reply = requests.delete(f"{server.base_url}/api/v1/jobs/{job}", headers=headers_of(server), timeout=120)
    assert reply.status_code == 200, reply.text


def parts_of(server: Server, job: str) -> Path:
    """Where the job says that they lie."""
    about = get(server, f"/api/v1/jobs/{job}")
    told = about["options"]["parts"]
    assert [note for note in about["notes"] if told in note and "stays for a retry" in note]
    assert [line for line in log(server, job) if told in line["message"]]
    return server.data / str(told).lstrip("/")


def test_parts_of_a_job_that_failed_go_with_the_last_that_could_use_them(server: Server) -> None:
    name = f"parts-{uuid.uuid4().hex}"
    first = submitted(name)
    assert wait(server, first)["status"] == "failed"
    parts = parts_of(server, first)
    assert [each.name for each in parts.iterdir()] == [first]
    second = str(post(server, f"/api/v1/jobs/{first}/retry").json()["job_id"])
    assert wait(server, second)["status"] == "failed"
    assert parts_of(server, second) == parts
    remove(server, first)
    third = str(post(server, f"/api/v1/jobs/{second}/retry").json()["job_id"])  # with what the first has made
    assert wait(server, third)["status"] == "failed"
    assert (parts / first).is_dir()
    for job in (third, second):
        remove(server, job)
    until(lambda: not parts.exists())
    assert list(parts.parent.iterdir()) == []


def test_a_retry_makes_the_table_of_what_a_removed_job_had_made(server: Server) -> None:
    name = f"parts-{uuid.uuid4().hex}"
    first = submitted(name)
    assert wait(server, first)["status"] == "failed"
    parts = parts_of(server, first)
    (server.data / "mount" / name / "gate").touch()
    second = str(post(server, f"/api/v1/jobs/{first}/retry").json()["job_id"])
    remove(server, first)
    assert wait(server, second)["status"] == "done"
    until(lambda: not parts.exists())
    assert (server.data / "mount" / name / "table").is_dir()
    remove(server, second)
    assert (server.data / "mount" / name / "table").is_dir()


def test_parts_that_a_retry_made_again_go_as_well(server: Server) -> None:
    name = f"parts-{uuid.uuid4().hex}"
    first = submitted(name, 3, 4)
    assert wait(server, first)["status"] == "failed"
    parts = parts_of(server, first)
    # As a task leaves it that is ended behind its part and before its end is recorded: the retry runs both.
    (parts / first).mkdir(parents=True)
    (parts / first / "000000000-0123456789abcdef.parquet").write_bytes(b"PAR1")
    (server.data / "mount" / name / "gate").touch()
    second = str(post(server, f"/api/v1/jobs/{first}/retry").json()["job_id"])
    remove(server, first)
    assert wait(server, second)["status"] == "done", log(server, second)
    until(lambda: not parts.exists())
    assert (server.data / "mount" / name / "table").is_dir()
