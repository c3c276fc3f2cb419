"""Files of jobs that the state database does not know: swept behind a start, and nothing else is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from pathlib import Path

import requests

from tests.conftest import need_server, start_server, stop_server
from tests.flow.calls import headers_of
from tests.flow.jobs import get, status, submitted, udf_step, until, values, wait

CODE = "@fused.udf\ndef udf(n: int):\n    print('task', n)\n    return [n]\n"


def configs(data: Path) -> set[str]:
    return {each.parent.name for each in data.glob("s3/fused-users/*/fused-system/job-configs/*/*/file.json")}


def test_what_no_row_names_is_swept_at_the_next_start_and_what_one_names_stays(tmp_path: Path) -> None:
    need_server()
    data = tmp_path / "data"
    server = start_server(data)
    try:
        kept, lost = (submitted(server, udf_step(CODE, [{"n": 1}, {"n": 2}])) for _ in range(2))
        for job in (kept, lost):
            assert wait(server, job)["status"] == "done"
        assert configs(data) == {kept, lost}
    finally:
        stop_server(server)
    # As a kill between the row and the files leaves it: the row is gone, the files are not; or the other way round.
    with contextlib.closing(sqlite3.connect(data / "state.db")) as database:
        database.execute("PRAGMA foreign_keys=ON")
        database.execute("DELETE FROM job WHERE id=?", [lost])
        database.commit()
    half_made, half_swept, older = (str(uuid.uuid4()) for _ in range(3))
    (data / "jobs" / half_made / "results").mkdir(parents=True)
    (data / "jobs" / f".swept-{half_swept}" / "results").mkdir(parents=True)
    (data / "jobs" / "a note of somebody's").mkdir()
    (data / "jobs" / older / "results").mkdir(parents=True)
    os.utime(data / "jobs" / older, (1e9, 1e9))  # of another state.db, as where that file was lost
    (data / "job-data" / "something of somebody's").mkdir(parents=True)
    server = start_server(data)
    try:
        expected = {kept, older, "a note of somebody's"}
        until(lambda: {each.name for each in (data / "jobs").iterdir()} == expected)
        assert configs(data) == {kept}
        assert (data / "job-data" / "something of somebody's").is_dir()
        assert values(server, kept) == [[1], [2]]
        assert status(server, kept)["status"] == "done"
        reply = requests.get(f"{server.base_url}/api/v1/jobs/{lost}", headers=headers_of(server), timeout=120)
        assert reply.status_code == 404
        for told in (
            "files of 2 jobs that are not in the",
            "files of 1 jobs below jobs/ are of another state database",
        ):
            until(lambda told=told: [line for line in server.lines if told in line])
        again = submitted(server, udf_step(CODE, [{"n": 3}]))
        assert wait(server, again)["status"] == "done"
        assert {each["job_id"] for each in get(server, "/api/v1/jobs")["jobs"]} == {kept, again}
    finally:
        stop_server(server)
