"""Jobs as the SDK starts and watches them, on the real server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fused
from fused._cli import main as fused_command
from fused._transport import call_json
from fused.errors import ConflictError, NotFoundError, ServerError, UdfRuntimeError
from fused.models import JobConfig
from fused.warnings import FusedIgnoredWarning, FusedPathWarning
from tests.conftest import Server


@pytest.fixture(autouse=True)
def connected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused.options, "base_url", server.base_url)
    monkeypatch.setattr(fused.options, "auth_token", server.token)


@fused.udf
def double(n: int = 1, tag: str = "a"):
    print("doubling", n, tag)
    if n < 0:
        raise ValueError(f"{n} is negative")
    return {"n": 2 * n, "tag": tag}


@fused.udf
def sleeper(seconds: float = 60):
    import time

    print("sleeping", flush=True)
    time.sleep(seconds)
    return seconds


def test_a_job_of_a_list_goes_on_by_itself_and_its_results_come_in_order() -> None:
    job = double(arg_list=[3, 1, 2], tag="x").run_remote(instance_type="small", name="three")
    assert job.job_name == "three"
    assert job.total_tasks == 3
    assert job.wait_for_job(timeout=60).status == "done"
    assert job.get_results() == [{"n": 6, "tag": "x"}, {"n": 2, "tag": "x"}, {"n": 4, "tag": "x"}]
    assert job.get_results(1) == {"n": 2, "tag": "x"}
    messages = [line["message"] for line in fused.api.job_get_logs(job.job_id)]
    assert any("doubling 3 x" in message for message in messages)
    printed = io.StringIO()
    fused.api.job_print_logs(job.job_id, file=printed)
    assert "doubling 2 x" in printed.getvalue()
    assert fused.api.job_get_status(job.job_id).finished_tasks == 3
    assert fused.api.job_get_exec_time(job.job_id).total_seconds() >= 0
    assert fused.api.job_wait_for_results(job.job_id, timeout=120) == job.get_results()


def test_run_with_an_instance_type_waits_and_gives_the_value() -> None:
    assert fused.run(double, n=4, instance_type="small") == {"n": 8, "tag": "a"}
    assert fused.run(double(arg_list=[1, 2]), engine="small") == [{"n": 2, "tag": "a"}, {"n": 4, "tag": "a"}]
    with pytest.raises(UdfRuntimeError, match="-1 is negative"):
        fused.run(double, n=-1, instance_type="small")
    response = fused.run(double, n=-1, instance_type="small", _return_response=True)
    assert response.exception is not None
    with pytest.raises(ServerError, match=r"m5\.large"):
        fused.run(double, n=1, instance_type="m9.huge")


def test_a_cancel_is_final_and_a_second_one_a_conflict() -> None:
    job = sleeper().run_remote()
    deadline = time.monotonic() + 60
    while not any("sleeping" in line["message"] for line in job.get_logs()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert job.cancel().status == "canceled"
    with pytest.raises(ConflictError, match="canceled"):
        job.cancel()
    with pytest.raises(NotFoundError, match="no-such-job"):
        fused.api.job_cancel("no-such-job")


def test_what_failed_is_tried_again_and_the_whole_repeated_from_the_job() -> None:
    job = double(arg_list=[1, -1, 2]).run_remote(name="again")
    with pytest.raises(ConflictError, match="cancel it first"):
        sleeper().run_remote().retry()
    assert job.wait_for_job(timeout=60).status == "failed"
    rest, whole = job.retry(), job.rerun()
    assert len({job.job_id, rest.job_id, whole.job_id}) == 3
    tasks = call_json("GET", f"/api/v1/jobs/{job.job_id}", "looking")["tasks"]
    not_done = sum(task["state"] != "done" for task in tasks)
    assert (rest.job_name, rest.total_tasks) == ("again", not_done)
    assert (whole.job_name, whole.total_tasks) == ("again", 3)
    assert rest.wait_for_job(timeout=60).status == whole.wait_for_job(timeout=60).status == "failed"


def test_tail_follows_until_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    job = double(arg_list=[1, 2]).run_remote()
    job.tail_logs(refresh_seconds=0.05, sample_logs=False, timeout=60)
    assert job.is_done
    out = capsys.readouterr().out
    assert out.count("doubling 1 a") == 1
    assert out.count("doubling 2 a") == 1


def test_every_option_is_taken_shown_and_said() -> None:
    @fused.udf
    def town(n: int):
        import os

        return [n, os.environ.get("TOWN")]

    job = town(n=2).run_remote(
        instance_type="m5.large",
        region="us-west-2",
        disk_size_gb=3,
        additional_env=["TOWN=Bern"],
        image_name="ours:1",
        ignore_no_udf=False,
        ignore_no_output=True,
        validate_imports=True,
        validate_inputs=True,
        name="optioned",
        send_status_email=False,
        n_processes=1,
        cache_max_age="1h",
        priority=3,
        max_retry=1,
    )
    assert job.wait_for_job(timeout=60).status == "done"
    said = "\n".join(line["message"] for line in job.get_logs())
    assert "us-west-2" in said
    assert "ours:1" in said
    assert job.get_results() == [[2, "Bern"]]
    about = call_json("GET", f"/api/v1/jobs/{job.job_id}", "asking about the job")
    expected = {
        "instance_type": "m5.large", "region": "us-west-2", "disk_size_gb": 3, "additional_env": ["TOWN=…"],
        "image_name": "ours:1", "send_status_email": False, "cache_max_age": 3_600, "priority": 3, "max_retry": 1,
    }  # fmt: skip
    assert {name: about["options"][name] for name in expected} == expected
    assert (about["job_name"], about["priority"]) == ("optioned", 3)
    config = call_json("GET", f"/job/by-id/{job.job_id}/config", "reading its config")
    assert [step["n_processes"] for step in config["steps"]] == [1]


def test_max_retry_is_how_often_a_function_that_failed_is_tried_again() -> None:
    @fused.udf
    def second(place: str):
        from pathlib import Path

        tried = Path(place)
        tried.parent.mkdir(exist_ok=True)
        with tried.open("a") as file:
            file.write("x")
        if len(tried.read_text()) < 2:
            raise ValueError("not yet")
        return len(tried.read_text())

    for most, status in ((1, "done"), (0, "failed")):
        job = second(place=f"/mount/tried/{most}").run_remote(max_retry=most)
        assert job.wait_for_job(timeout=60).status == status


def test_an_unknown_instance_type_is_a_value_error_that_lists_the_types() -> None:
    for start in (
        lambda: double(arg_list=[{"n": 1}]).run_remote(instance_type="m5.larg"),
        lambda: fused.run(double, n=1, instance_type="m5.larg"),
        lambda: fused.submit(double, [{"n": 1}], instance_type="m5.larg"),
    ):
        with pytest.raises(ValueError, match=r"did you mean 'm5\.large'.*r5\.16xlarge"):
            start()


def test_a_result_of_a_task_that_never_began_has_a_word_of_its_own() -> None:
    job = double(arg_list=[{"n": -1}, {"n": 1}]).run_remote(n_processes=1).wait_for_job(timeout=60)
    assert job.status == "failed"
    with pytest.raises(ValueError, match=r"task 1 of job .* never began: the job is failed"):
        job.get_results(1)
    with pytest.raises(ValueError, match="has no result 2"):
        job.get_results(2)
    with pytest.raises(UdfRuntimeError, match="-1 is negative"):
        job.get_results(0)


def test_several_steps_are_one_job() -> None:
    config = JobConfig([double(n=5), double(arg_list=[1, 2])], name="steps")
    again = JobConfig.of_json(config.to_json()).to_json()
    assert JobConfig.of_json({"version": "0.0.3", "job_config": again}).to_json() == again
    assert [step["input"] for step in again["steps"]] == [None, [{"n": 1}, {"n": 2}]]
    job = config.run_remote()
    assert job.total_tasks == 3
    assert job.wait_for_job(timeout=60).status == "done"
    assert [each["n"] for each in job.get_results()] == [10, 2, 4]


def test_an_ingest_is_a_job(tmp_path: Path) -> None:
    source = "/mount/ingested/source.parquet"

    @fused.udf
    def write(path: str):
        import os

        import geopandas as gpd
        from shapely.geometry import Point

        os.makedirs(os.path.dirname(path), exist_ok=True)
        places = [Point(x / 10, 1) for x in range(100)]
        gpd.GeoDataFrame({"n": range(100)}, geometry=places, crs=4326).to_parquet(path)

    fused.run(write, path=source, engine="remote")
    job = fused.ingest(source).run_remote(output_table="/mount/ingested/table")
    assert job.wait_for_job(timeout=120).status == "done", job.error

    @fused.udf
    def count(url: str):
        import fused

        return int(fused.get_chunks_metadata(url)["num_rows"].sum())

    assert fused.run(count, url="/mount/ingested/table", engine="remote") == 100


def test_what_tasks_return_becomes_one_table() -> None:
    @fused.udf
    def part(n: int = 0):
        import pandas as pd

        return pd.DataFrame({"n": [n, n + 1]})

    job = part(arg_list=[20, 0, 0, 10]).run_remote(output_table="/mount/parts/table")
    assert job.wait_for_job(timeout=120).status == "done", job.error

    @fused.udf
    def numbers(url: str):
        import os

        import fused

        table = fused.get_chunks_metadata(url)
        found = sorted(
            int(n)
            for row in table.itertuples()
            for n in fused.get_chunk_from_table(url, row.file_id, row.chunk_id)["n"]
        )
        return {"n": found, "left": [name for name in os.listdir("/mount/parts") if ".parts-" in name]}

    assert fused.run(numbers, url="/mount/parts/table", engine="remote") == {
        "n": [0, 0, 1, 1, 10, 11, 20, 21],
        "left": [],
    }


# -- what is wrong ---------------------------------------------------------------------------------------------------


def test_arguments_that_cannot_be_are_refused_here() -> None:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"disk_size_gb": 0}, ValueError, "disk_size_gb is 0"),
        ({"additional_env": "A=1"}, ValueError, "list of texts"),
        ({"additional_env": ["1A"]}, ValueError, "1A"),
        ({"image_name": 3}, ValueError, "image_name is 3"),
        ({"name": "9 lives"}, ValueError, "9 lives"),
        ({"n_processes": 0}, ValueError, "n_processes is 0"),
        ({"priority": 1000}, ValueError, "priority is 1000"),
        ({"max_retry": -1}, ValueError, "max_retry is -1"),
        ({"on_finish": 3}, ValueError, "on_finish is 3"),
        ({"send_status_email": "yes"}, ValueError, "send_status_email"),
        ({"no_such_option": 1}, TypeError, "no_such_option"),
    ]
    for options, kind, message in wrong:
        with pytest.raises(kind, match=message):
            double(n=1).run_remote(**options)
    with pytest.raises(ValueError, match="empty"):
        double(arg_list=[])
    with pytest.raises(TypeError, match="generator"):
        double(arg_list=(n for n in range(3)))
    with pytest.raises(TypeError, match="no parameter 'm'"):
        double(arg_list=[{"n": 1}, {"m": 2}])
    with pytest.raises(TypeError, match="item 0 of arg_list"):
        double(arg_list=[{"n": 1, "tag": object()}]).run_remote()
    with pytest.raises(ValueError, match="holds no function"):
        fused.models.UdfJobStepConfig().run_remote()
    with pytest.raises(ValueError, match="no output"):
        fused.ingest("/mount/x.parquet").run_remote()
    with pytest.warns(FusedIgnoredWarning, match="overwrite"):
        double(n=1).run_remote(overwrite=True)
    with pytest.warns(FusedPathWarning), pytest.raises(ValueError, match="region is 3"):
        fused.ingest("./here.parquet", "/mount/y").run_remote(region=3)  # type: ignore[arg-type]


def test_missing_values_of_a_frame_arrive_as_what_they_are() -> None:
    @fused.udf
    def show(n: float = 0, tag: str = "a"):
        return [None if n is None or n != n else n, tag]

    job = show(arg_list=pd.DataFrame({"n": [1.5, float("nan")], "tag": ["x", "y"]})).run_remote()
    job.wait_for_job(timeout=60)
    assert job.get_results() == [[1.5, "x"], [None, "y"]]


def test_imports_that_the_server_lacks_are_named_before_anything_runs() -> None:
    @fused.udf
    def needs():
        import no_such_module_at_all

        return no_such_module_at_all.x

    with pytest.raises(ValueError, match="no_such_module_at_all"):
        needs().run_remote(validate_imports=True)


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(server: Server, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = fused_command(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    yield call


def test_the_command_lists_shows_and_repeats(command: Any, tmp_path: Path) -> None:
    job = double(arg_list=[1, -1]).run_remote(name="listed", n_processes=1)  # the first is done before the second fails
    job.wait_for_job(timeout=60)
    short = job.job_id[:8]
    code, out, _ = command("jobs", "ls", "--state", "failed")
    assert code == 0
    assert short in out
    assert "listed" in out
    code, out, _ = command("jobs", "show", short)
    assert code == 0
    assert "-1 is negative" in out
    assert "lists more" not in out, "all tasks are listed"
    assert json.loads(command("jobs", "show", short, "--json")[1])["job_id"] == job.job_id
    assert "doubling 1 a" in command("jobs", "logs", short)[1]
    code, out, err = command("jobs", "cancel", short)
    assert code == 1
    assert "failed" in err
    code, out, _ = command("jobs", "retry", short)
    assert code == 0
    again = fused.api.job_wait_for_job(out.strip(), timeout=60)
    assert again.total_tasks == 1
    config = tmp_path / "file.json"
    config.write_text(JobConfig([double(n=7)]).model_dump_json())
    code, out, _ = command("jobs", "rerun", str(config), "--wait")
    assert code == 0
    assert "doubling 7 a" in out
    code, _, err = command("jobs", "show", "zzz")
    assert code == 1
    assert "zzz" in err
    assert command("jobs", "rerun", str(tmp_path / "nothing.json"))[0] == 1
    assert command("jobs", "rm", job.job_id)[0] == 0
    assert command("jobs", "show", job.job_id)[0] == 1


def test_the_command_lists_tasks_beyond_a_page(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fused._cli import jobs

    job = double(arg_list=list(range(25))).run_remote(name="many")
    job.wait_for_job(timeout=60)
    shown = command("jobs", "show", job.job_id)[1]
    assert "… of 25 tasks; --tasks N lists more" in shown
    assert len([line for line in shown.splitlines() if " done " in line]) == 20
    monkeypatch.setattr(jobs, "PAGE", 10)
    told = json.loads(command("jobs", "show", job.job_id, "--json")[1])
    assert [task["task"] for task in told["tasks"]] == list(range(25))
    told = json.loads(command("jobs", "show", job.job_id, "--json", "--tasks", "12")[1])
    assert [task["task"] for task in told["tasks"]] == list(range(12))
    assert "lists more" not in command("jobs", "show", job.job_id, "--tasks", "5000")[1]
    code, _, err = command("jobs", "show", job.job_id, "--tasks", "0")
    assert (code, "--tasks 0: at least 1" in err) == (1, True)


def test_the_command_draws_what_a_job_used(command: Any, tmp_path: Path) -> None:
    @fused.udf
    def busy():
        import time

        end = time.monotonic() + 3
        while time.monotonic() < end:
            sum(range(10_000))

    job = busy().run_remote()
    job.wait_for_job(timeout=60)
    picture = tmp_path / "use.png"
    code, _, err = command("jobs", "show", job.job_id, "--plot", str(picture))
    assert code == 0, err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_help_teaches() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(fused.__file__).parents[1])}
    for verb in (["jobs"], ["jobs", "show"], ["schedule"], ["schedule", "add"]):
        command = [sys.executable, "-m", "fused", *verb, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert "examples:" in done.stdout
        assert "  fused " + verb[0] in done.stdout


def test_a_pool_may_be_a_job() -> None:
    pool = fused.submit(double, [{"n": n} for n in (3, -1, 2)], instance_type="small", max_workers=2)
    pool.wait()
    assert pool.any_failed()
    assert pool[0].result() == {"n": 6, "tag": "a"}
    assert "doubling 2 a" in pool[2].logs()
    with pytest.raises(UdfRuntimeError, match="-1 is negative"):
        pool[1].result()
    assert fused.submit(double, [1, 2], instance_type="small").results() == [
        {"n": 2, "tag": "a"},
        {"n": 4, "tag": "a"},
    ]
    slow = fused.submit(sleeper, [60, 60], instance_type="small")
    slow.cancel()
    slow.wait()
    assert {future.status() for future in slow} == {"cancelled"}
    with pytest.raises(ServerError, match=r"m5\.large"):
        fused.submit(double, [1], instance_type="m9.huge")
