"""Jobs of the official client: run_remote, its RunResponse, and what api.job_* and batch runs make of it."""

from __future__ import annotations

import pytest

import fused


@fused.udf
def town(n: int = 1, label: str = "a"):
    import pandas as pd

    print(f"town {n}")
    if n == 13:
        raise ValueError("thirteen")
    return pd.DataFrame({"n": [n], "label": [label]})


def step_of(udf, items):
    """2.x has no udf(arg_list=…) any more; its steps are made as models."""
    if fused.__version__.startswith("2"):
        return fused.models.UdfJobStepConfig(udf=udf, input=items)
    return udf(arg_list=items)


def ended(job):
    return job.wait_for_job(poll_interval_seconds=0.2)


def test_a_list_of_arguments_becomes_a_job():
    job = step_of(town, [{"n": 1}, {"n": 2, "label": "b"}]).run_remote(instance_type="m5.large")
    status = ended(job)
    assert status.status == "done" and status.terminal_status
    if fused.__version__.startswith("2"):
        assert (status.job_status, status.total_tasks, status.finished_tasks) == ("Done", 2, 2)


@pytest.mark.v2
def test_results_come_in_the_order_of_the_input():
    job = step_of(town, [{"n": 5}, {"n": 6, "label": "b"}, 7]).run_remote(instance_type="m5.large")
    ended(job)
    frames = [each.data for each in job.get_results()]
    assert [(int(f["n"].iloc[0]), f["label"].iloc[0]) for f in frames] == [(5, "a"), (6, "b"), (7, "a")]


@pytest.mark.v2
def test_run_with_an_instance_type_gives_the_value():
    frame = fused.run(town, n=9, instance_type="small")
    assert frame["n"].tolist() == [9]


def test_logs_and_time_are_told():
    job = step_of(town, [{"n": 3}]).run_remote(instance_type="m5.large")
    ended(job)
    assert "town 3" in [line["message"] for line in job.get_logs()]
    job.print_logs()
    job.tail_logs(refresh_seconds=0.1)
    assert job.get_exec_time().total_seconds() >= 0
    assert job.get_status().job_id == job.job_id


def test_a_failure_is_told():
    job = step_of(town, [{"n": 13}]).run_remote(instance_type="m5.large")
    assert ended(job).status == "failed"
    assert any("thirteen" in line["message"] for line in job.get_logs())


def test_a_job_is_canceled():
    @fused.udf
    def sleeper(seconds: int = 60):
        import time

        time.sleep(seconds)

    job = step_of(sleeper, [{"seconds": 60}]).run_remote(instance_type="m5.large")
    job.cancel()
    assert job.get_status().status == "canceled"
    with pytest.raises(Exception, match="ended before"):
        job.cancel()


def test_an_unknown_instance_type_is_refused():
    with pytest.raises(Exception, match=r"instance|m5"):
        step_of(town, [{"n": 1}]).run_remote(instance_type="m5.colossal")


@pytest.mark.v2
def test_submit_in_batches():
    pool = fused.submit(town, [{"n": n} for n in range(4)], instance_type="small", max_workers=2, collect=False)
    pool.wait()
    assert sorted(int(frame["n"].iloc[0]) for each in pool.results() for frame in (each if isinstance(each, list) else [each])) == list(range(4))  # fmt: skip  # noqa: E501


def test_an_ingest_runs_as_a_job(tmp_path):
    import json
    import urllib.request

    from conftest import TOKEN, URL

    features = [
        {"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [n / 10, 46]}}
        for n in range(50)
    ]
    code = (
        "@fused.udf\ndef udf(text: str, name: str):\n"
        "    path = fused.file_path(name, storage='mount')\n    open(path, 'w').write(text)\n    return path\n"
    )
    udf = {"name": "put", "code": code, "headers": [], "entrypoint": "udf"}
    udf["parameters"] = {
        "text": json.dumps({"type": "FeatureCollection", "features": features}),
        "name": f"points-{fused.__version__}.geojson",
    }
    body = {"step_config": json.dumps({"type": "udf", "udf": udf}), "format": "json"}
    request = urllib.request.Request(
        f"{URL}/server/v1/realtime/local/api/v1/run/udf",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        path = json.loads(reply.read())
    table = f"/mount/table-{fused.__version__}"
    job = fused.ingest(f"file://{path}", output=f"file://{table}", output_metadata=f"file://{table}-meta").run_remote(
        instance_type="m5.large"
    )
    status = ended(job)
    lines = [line["message"] for line in job.get_logs()]
    assert status.status == "done", lines
    assert any("rows 50" in line for line in lines), lines
