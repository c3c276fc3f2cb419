"""Schedules on the real server: by the SDK, the command and plain HTTP."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import requests

import fused
from fused._cli import main as fused_command
from fused.errors import NotFoundError, ServerError
from tests.conftest import Server, start_server, stop_server
from tests.flow.clock import FAKETIME, faked_clock
from tests.until import until


@pytest.fixture(autouse=True)
def connected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)


def function(name: str) -> Any:
    @fused.udf
    def report(region: str = "all", n: int = 1):
        print("reporting", region)
        if region == "nowhere":
            raise ValueError("there is no such region")
        return {"region": region, "n": n}

    return report.to_fused(name, overwrite=True)


def ask(server: Server, method: str, path: str, value: Any = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.token}"}
    return requests.request(method, server.base_url + path, json=value, headers=headers, timeout=120)


def test_a_schedule_is_made_changed_run_and_removed() -> None:
    udf = function("scheduled_one")
    made = udf.schedule(minute=5, hour=[6, 18], udf_args={"region": "north", "n": 3}, time_zone="Europe/Zurich")
    assert made.cron == "5 6,18 * * *"
    assert made.function == udf.id
    assert len(made.next) == 3
    again = udf.schedule("*/15 * * * mon-fri", overlap="queue", catch_up="all", jitter="5m")
    assert again.id == made.id, "one function has one schedule of a name"
    assert (again.cron, again.overlap, again.catch_up, again.jitter) == ("*/15 * * * mon-fri", "queue", "all", 300)
    assert again.arguments == {"region": "north", "n": 3}, "what is not named stays"
    assert [each.id for each in udf.get_schedule()] == [made.id]
    assert made.id in {each.id for each in fused.api.schedule_list()}
    job = again.run_now()
    assert job.wait_for_job(timeout=60).status == "done"
    assert job.get_results() == [{"region": "north", "n": 3}]
    assert again.runs()[0]["job_id"] == job.job_id
    assert again.refresh().last_run is not None
    again.update(on_failure=udf, description="of the north", udf_args={"region": "south"})
    assert (again.on_failure, again.arguments) == (udf.id, {"region": "south"})
    again.update(on_failure=None, description=None, udf_args=None)
    assert (again.on_failure, again.description, again.arguments) == (None, "", {})
    with pytest.raises(TypeError, match="no parameter 'nothing'"):
        again.update(udf_args=[{"region": "a"}, {"nothing": 1}])
    with pytest.raises(ValueError, match="cron is None"):
        again.update(cron=None)
    assert again.refresh().cron == "*/15 * * * mon-fri"
    assert again.disable().next == []
    assert again.enable().next
    again.delete()
    with pytest.raises(NotFoundError, match=made.id):
        again.refresh()


def test_a_due_time_runs_a_job_by_itself(tmp_path: Path) -> None:
    # A server of its own: its clock is put to the end of a minute, so that nobody waits for a whole one. Where
    # libfaketime is missing the minute is a real one.
    told = tmp_path / "time"
    told.write_text("+0")
    environment = faked_clock(told) if FAKETIME.exists() else {}
    own = start_server(tmp_path / "data", environment=environment)
    fused.options.base_url, fused.options.auth_token = own.base_url, own.token
    try:
        udf = function("every_minute")
        aside = told.with_suffix(".new")
        aside.write_text(f"+{(56 - int(time.time())) % 60}")
        aside.rename(told)
        made = udf.schedule("* * * * *", udf_args={"region": "south"})
        until(lambda: (seen := made.runs()) and seen[0]["job_id"], 75)
        runs = made.runs()
        assert runs[0]["due"].endswith(":00Z")
        fused.api.job_wait_for_job(runs[0]["job_id"], timeout=60)
        assert fused.api.job_get_results(runs[0]["job_id"]) == [{"region": "south", "n": 1}]
        # A kill and a start between two due times: the row stays, nothing is run twice.
        os.kill(own.pid, 9)
        own.process.wait()
        own = start_server(tmp_path / "data", environment=environment)
        fused.options.base_url = own.base_url
        assert [run["job_id"] for run in made.runs() if run["due"] == runs[0]["due"]] == [runs[0]["job_id"]]
        assert made.refresh().next
    finally:
        stop_server(own)


def test_a_list_of_arguments_is_a_task_for_each() -> None:
    made = function("scheduled_list").schedule(0, 6, udf_args=[{"region": "a"}, {"region": "b"}])
    job = made.run_now().wait_for_job(timeout=60)
    assert [each["region"] for each in job.get_results()] == ["a", "b"]
    made.delete()


def test_a_failure_runs_the_function_for_it() -> None:
    @fused.udf
    def alarm(schedule_name: str, job_id: str, error: str):
        from pathlib import Path

        Path(f"/mount/alarm-{job_id}").write_text(f"{schedule_name}: {error}")

    @fused.udf
    def read(job_id: str):
        from pathlib import Path

        path = Path(f"/mount/alarm-{job_id}")
        return path.read_text() if path.exists() else None

    alarm_id = alarm.to_fused("alarm_of_schedules", overwrite=True)
    made = function("failing").schedule(0, 0, udf_args={"region": "nowhere"}, on_failure=alarm_id)
    job = made.run_now().wait_for_job(timeout=60)
    assert job.status == "failed"
    told = until(lambda: fused.run(read, job_id=job.job_id, engine="remote"))
    assert told.startswith("failing: ")
    assert "no such region" in told
    made.delete()


def test_what_is_wrong_is_named_with_what_is_allowed(server: Server) -> None:
    udf = function("wrongly_scheduled")
    wrong: list[tuple[Any, str]] = [
        (lambda: udf.schedule(minute=61, hour=0), "minute is 61; allowed are whole numbers from 0 to 59"),
        (lambda: udf.schedule(minute=0, hour=[]), "hour is an empty list"),
        (lambda: udf.schedule(minute=0, udf_args={"nothing": 1}), "no parameter 'nothing'"),
        (lambda: udf.schedule(hour=3), "needs a minute"),
        (lambda: udf.schedule("0 6 * * *", hour=3), "whole cron line"),
        (lambda: udf.schedule(0, 0, colour="red"), "'colour'"),
        (lambda: udf.schedule(0, 0, enabled="yes"), "True or False"),
    ]
    for call, message in wrong:
        with pytest.raises((ValueError, TypeError), match=message.replace("(", r"\(")):
            call()
    refused: list[tuple[Any, str]] = [
        (lambda: udf.schedule("61 * * * *"), "minute is '61'; allowed are 0 to 59"),
        (lambda: udf.schedule("0 6 * *"), "has 4 fields; it needs five"),
        (lambda: udf.schedule("0 0 31 2 *"), "never"),
        (lambda: udf.schedule(0, 0, time_zone="Mars/Olympus"), "Mars/Olympus"),
        (lambda: udf.schedule(0, 0, overlap="perhaps"), "skip, queue, cancel_running"),
        (lambda: udf.schedule(0, 0, instance_type="m9.huge"), "m5.large"),
        (lambda: udf.schedule(0, 0, jitter=7200), "0 to 3600 seconds"),
        (lambda: udf.schedule(0, 0, on_failure="no_such_alarm"), "no_such_alarm"),
    ]
    for call, message in refused:
        with pytest.raises(ServerError) as raised:
            call()
        assert message in str(raised.value)
    answer = ask(server, "POST", "/api/v1/schedules", {"function": udf.id, "cron": "0 6 * * *", "timezone": "UTC"})
    assert answer.status_code == 400
    assert "did you mean 'time_zone'" in answer.text
    assert ask(server, "POST", "/api/v1/schedules", {"cron": "0 6 * * *"}).status_code == 400
    assert ask(server, "POST", "/api/v1/schedules", {"function": "nobody", "cron": "0 6 * * *"}).status_code == 404
    assert ask(server, "GET", "/api/v1/schedules/nobody").status_code == 404


def test_a_schedule_of_a_deleted_function_says_so_and_rests() -> None:
    udf = function("soon_gone")
    made = udf.schedule(0, 0)
    udf.delete_saved(inplace=False)
    assert made.refresh().function_name is None
    with pytest.raises(ServerError, match="was deleted"):
        made.run_now()
    assert made.refresh().enabled is False
    assert "was deleted" in made.runs()[0]["note"]
    made.delete()


def test_who_may_do_what(server: Server) -> None:
    made = function("of_the_owner").schedule(0, 0)
    member = fused.api.add_user("scheduler@example.org", "scheduler")
    fused.options.auth_token = member["token"]
    assert made.refresh().name == "of_the_owner", "everybody of the organisation sees it"
    with pytest.raises(ServerError, match="another user's"):
        made.disable()
    with pytest.raises(ServerError, match="another user's"):
        made.run_now()
    fused.options.auth_token = server.token
    made.delete()


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    function("by_command")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = fused_command(["schedule", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    line = "0 6 * * mon-fri"
    code, out, err = call("add", "by_command", line, "region=east", "--time-zone", "Europe/Zurich", "--jitter", "1m")
    assert code == 0, err
    assert "due " in out
    code, out, _ = call("ls", "--mine")
    assert "by_command" in out
    assert line in out
    code, out, err = call("run", "by_command", "--wait")
    assert code == 0, err
    assert "reporting east" in out
    code, out, _ = call("show", "by_command")
    assert "Europe/Zurich" in out
    assert "asked for" in out
    assert "disabled" in call("disable", "by_command")[1]
    code, out, err = call("add", "by_command", "0 7 * * *")
    assert "disabled" in out, err
    assert "0 7 * * * (Europe/Zurich)" in call("show", "by_command")[1], "what is not named stays"
    assert "due " in call("enable", "by_command")[1]
    assert "disabled" in call("add", "by_command", "0 7 * * *", "--disabled")[1]
    assert call("add", "by_command", "61 * * * *")[0] == 1
    code, _, err = call("add", "by_command", "0", "6")
    assert code == 1
    assert "quote the whole cron line" in err
    assert call("rm", "by_command")[0] == 0
    code, _, err = call("rm", "by_command")
    assert code == 1
    assert "by_command" in err
