"""Jobs on a real server: what is submitted runs, is watched, canceled, repeated, and survives the server."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.flow.calls import headers_of, run
from tests.flow.jobs import get, log, post, printed, results, status, submit, submitted, udf_step, until, values, wait

ADD = "@fused.udf\ndef udf(a: int = 1, b: int = 10):\n    print(f'adding {a}')\n    return a + b\n"
SLEEP = """\
@fused.udf
def udf(seconds: float = 60):
    import time
    print('begun', flush=True)
    time.sleep(seconds)
    return 1
"""


def test_a_submitted_job_runs_and_leaves_its_result(server: Server) -> None:
    reply = submit(server, udf_step(ADD, parameters={"a": 5}), name="sum")
    record = reply.json()
    assert record["job_name"] == "sum" and record["status"] in ("pending", "running") and not record["terminal_status"]
    ended = wait(server, record["job_id"])
    assert (ended["status"], ended["job_status"], ended["finished_job_status"]) == ("done", "Done", True)
    assert ended["total_tasks"] == ended["finished_tasks"] == 1
    files = results(server, record["job_id"])
    assert sorted(files) == ["0.json", "0.json.metadata"]
    assert files["0.json"].json() == 15 and files["0.json"].headers["content-type"] == "application/json"
    assert files["0.json.metadata"].json()["stdout"] == "adding 5\n"
    assert printed(server, record["job_id"]) == ["adding 5"]


def test_items_of_an_input_are_tasks_in_order(server: Server) -> None:
    job = submitted(server, udf_step(ADD, [{"a": 1}, {"a": 2, "b": 0}, 7, {"a": "4"}]))
    assert wait(server, job)["status"] == "done"
    assert values(server, job) == [11, 2, 17, 14]


def test_steps_come_one_after_the_other(server: Server, tmp_path: Path) -> None:
    write = "@fused.udf\ndef udf(name: str):\n    open(fused.file_path(name, storage='mount'), 'w').write(name)\n"
    read = (
        "@fused.udf\ndef udf(names: list):\n"
        "    return [open(fused.file_path(name, storage='mount')).read() for name in names]\n"
    )
    names = [f"steps-{os.getpid()}-{i}.txt" for i in range(3)]
    job = submitted(server, udf_step(write, [{"name": name} for name in names]), udf_step(read, [{"names": names}]))
    assert wait(server, job)["status"] == "done"
    assert results(server, job)["3.json"].json() == names


def test_a_failed_task_fails_its_job_and_says_why(server: Server) -> None:
    job = submitted(server, udf_step("@fused.udf\ndef udf():\n    raise ValueError('no such town')\n"))
    ended = wait(server, job)
    assert ended["status"] == "failed" and "ValueError: no such town" in ended["error"]
    files = results(server, job)
    assert files["0.error.metadata"].json()["errormsg"] == "no such town"
    assert any("no such town" in line["message"] for line in log(server, job))


def test_ignore_chunk_error_goes_on(server: Server) -> None:
    code = "@fused.udf\ndef udf(n: int):\n    assert n != 1, 'one is bad'\n    return n\n"
    job = submitted(server, udf_step(code, [0, 1, 2], ignore_chunk_error=True))
    assert wait(server, job)["status"] == "done"
    shown = get(server, f"/api/v1/jobs/{job}")
    assert [task["state"] for task in shown["tasks"]] == ["done", "failed", "done"]
    assert "one is bad" in shown["tasks"][1]["error"]


def test_max_retry_tries_the_function_again(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf(name: str):\n    import os\n    path = fused.file_path(name, storage='mount')\n"
        "    if not os.path.exists(path):\n        open(path, 'w').close()\n        raise RuntimeError('not yet')\n"
        "    return 'at last', 1\n"
    )
    job = submitted(server, udf_step(code, [{"name": f"retry-{time.time_ns()}.txt"}]), max_retry=1)
    assert wait(server, job)["status"] == "done"
    assert values(server, job) == [["at last", 1]]
    shown = get(server, f"/api/v1/jobs/{job}")
    assert [each["ended_as"] for each in shown["attempts"]] == ["failed", "done"]


def test_cancel_is_final_and_a_second_one_says_how_it_ended(server: Server) -> None:
    job = submitted(server, udf_step(SLEEP))
    until(lambda: printed(server, job) == ["begun"])
    canceled = post(server, f"/server/v1/run/by-id/{job}/cancel")
    assert canceled.status_code == 200 and canceled.json()["status"] == "canceled"
    again = post(server, f"/server/v1/run/by-id/{job}/cancel")
    assert again.status_code == 409 and "is canceled since" in again.json()["message"]
    assert status(server, job)["status"] == "canceled"


def test_what_is_wrong_is_named(server: Server) -> None:
    def refused(reply: requests.Response, code: int, *words: str) -> None:
        assert reply.status_code == code, reply.text
        for word in words:
            assert word in reply.json()["message"], reply.text

    refused(submit(server, udf_step(ADD), query={"instance_type": "m5.huge"}), 400, "m5.huge", "r5.16xlarge")
    refused(submit(server, udf_step(ADD, [])), 400, "steps[0].input", "at least one")
    refused(submit(server), 400, "steps", "at least one step")
    refused(submit(server, {"type": "nothing"}), 400, "steps[0].type", "partition_geospatial")
    refused(submit(server, udf_step(ADD), name="1bad"), 400, "1bad")
    refused(submit(server, udf_step(ADD), additional_env=["A B=1"]), 400, "additional_env[0]")
    refused(submit(server, udf_step(ADD), query={"disk_size_gb": "0"}), 400, "disk_size_gb")
    refused(post(server, "/server/v1/run", {}), 400, "config")
    nobody = "00000000-0000-4000-8000-000000000000"
    for path in (f"run/by-id/{nobody}", f"run/by-id/{nobody}/results", f"logs/{nobody}", f"job/by-id/{nobody}/config"):
        reply = requests.get(f"{server.api}/{path}", headers=headers_of(server), timeout=120)
        refused(reply, 404, nobody)
    refused(post(server, f"/server/v1/run/by-id/{nobody}/cancel"), 404, nobody)


def test_options_are_kept_shown_and_said(server: Server) -> None:
    code = "@fused.udf\ndef udf():\n    import os\n    return [os.environ['TOWN'], fused.context.in_batch()]\n"
    job = submitted(
        server,
        udf_step(code),
        query={"instance_type": "r5.16xlarge", "region": "us-west-2", "priority": 7},
        additional_env=["TOWN=Chur=1"],
        image_name="own",
    )
    assert wait(server, job)["status"] == "done"
    assert values(server, job) == [["Chur=1", True]]
    shown = get(server, f"/api/v1/jobs/{job}")
    assert shown["instance_type"] == "r5.16xlarge" and shown["priority"] == 7
    assert shown["options"]["additional_env"] == ["TOWN=…"] and shown["options"]["region"] == "us-west-2"
    text = "\n".join(line["message"] for line in log(server, job))
    for note in ("r5.16xlarge has 64 cores", "region 'us-west-2'", "image_name 'own'"):
        assert note in text and any(note in each for each in shown["notes"])
    assert "Chur" not in json.dumps(shown)


def test_the_config_lies_in_the_home_and_is_redirected_to(server: Server) -> None:
    job = submitted(server, udf_step(ADD, [{"a": 1}], name="first"), name="kept")
    reply = requests.get(
        f"{server.api}/job/by-id/{job}/config", headers=headers_of(server), timeout=120, allow_redirects=False
    )
    assert reply.status_code == 307
    config = requests.get(reply.headers["location"], timeout=120).json()
    assert config["name"] == "kept" and config["steps"][0]["input"] == [{"a": 1}]
    path = status(server, job)["config_path"]
    assert path.endswith(f"/fused-system/job-configs/{path.split('/')[-3]}/{job}/file.json")
    assert json.loads((server.data / "s3" / path.removeprefix("s3://")).read_text()) == config
    wait(server, job)


def test_links_are_signed(server: Server) -> None:
    job = submitted(server, udf_step(ADD))
    wait(server, job)
    url = get(server, f"/server/v1/run/by-id/{job}/results")[0]["url"]
    assert requests.get(url, timeout=120).json() == 11
    head, _, tail = url.rpartition("/")
    forged = head[:-1] + ("1" if head[-1] == "0" else "0")
    assert requests.get(f"{forged}/{tail}", timeout=120).status_code == 404
    assert requests.get(f"{head}/9.json", timeout=120).status_code == 404
    assert (
        requests.get(head.replace(job, "00000000-0000-4000-8000-000000000000") + "/0.json", timeout=120).status_code
        == 404
    )


def test_lines_come_with_time_and_since(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf():\n    import sys, time\n    for n in range(5):\n        print(n, flush=True)\n"
        "        time.sleep(0.02)\n    sys.stderr.write('half a line')\n"
    )
    job = submitted(server, udf_step(code))
    wait(server, job)
    lines = log(server, job)
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times) and times[0] > 1.7e12
    assert [line["message"] for line in lines if line["stream"] == "stdout"] == list("01234")
    assert [line["message"] for line in lines if line["stream"] == "stderr"] == ["half a line"]
    third = next(line for line in lines if line["message"] == "2")
    later = log(server, job, since_ms=third["timestamp"])
    assert later == [line for line in lines if line["timestamp"] >= third["timestamp"]] and third in later
    assert log(server, job, since_ms=times[-1] + 1) == []


def events(reply: requests.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    for line in reply.iter_lines(decode_unicode=True):
        if not line and event:
            found.append(event)
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
    return found


def follow(server: Server, job: str, last: str | None = None) -> list[dict[str, Any]]:
    headers = headers_of(server, **({"Last-Event-ID": last} if last else {}))
    with requests.get(f"{server.base_url}/api/v1/jobs/{job}/logs", headers=headers, timeout=60, stream=True) as reply:
        assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
        return events(reply)


def test_a_log_is_followed_to_the_end_and_resumed(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf():\n    import time\n    for n in range(4):\n        print(n, flush=True)\n"
        "        time.sleep(0.1)\n"
    )
    job = submitted(server, udf_step(code))
    seen = follow(server, job)
    assert seen[-1]["event"] == "end" and json.loads(seen[-1]["data"])["status"] == "done"
    lines = [json.loads(each["data"]) for each in seen[:-1]]
    assert [line["message"] for line in lines if line["stream"] == "stdout"] == list("0123")
    assert lines == log(server, job)
    middle = len(seen) // 2
    assert [each["data"] for each in follow(server, job, seen[middle]["id"])][:-1] == [
        each["data"] for each in seen[middle + 1 : -1]
    ]


def test_retry_takes_what_is_not_done_and_rerun_all(server: Server) -> None:
    code = (
        "@fused.udf\ndef udf(n: int, name: str):\n    import os\n    path = fused.file_path(name, storage='mount')\n"
        "    if n == 1 and not os.path.exists(path):\n        open(path, 'w').close()\n"
        "        raise ValueError('once')\n"
        "    return n\n"
    )
    name = f"once-{time.time_ns()}.txt"
    job = submitted(server, udf_step(code, [{"n": n, "name": name} for n in range(3)], ignore_chunk_error=True))
    wait(server, job)
    second = post(server, f"/api/v1/jobs/{job}/retry").json()["job_id"]
    assert wait(server, second)["total_tasks"] == 1 and values(server, second) == [1]
    assert get(server, f"/api/v1/jobs/{second}")["options"]["derived_from"] == job
    third = post(server, f"/api/v1/jobs/{job}/rerun").json()["job_id"]
    wait(server, third)
    assert values(server, third) == [0, 1, 2]
    nothing = post(server, f"/api/v1/jobs/{third}/retry")
    assert nothing.status_code == 409 and "no task that is not done" in nothing.json()["message"]


def test_lists_are_filtered_and_paged(server: Server) -> None:
    job = submitted(server, udf_step(ADD), name="listed")
    wait(server, job)
    listed = get(server, "/api/v1/jobs", state="done", mine="true", limit=5)
    assert listed["jobs"][0]["job_id"] == job and all(each["status"] == "done" for each in listed["jobs"])
    assert get(server, "/server/v1/job/self", limit=1)[0]["id"] == job
    assert get(server, "/api/v1/jobs", limit=1, skip=1)["jobs"][0]["job_id"] != job
    wrong = requests.get(server.base_url + "/api/v1/jobs?state=over", headers=headers_of(server), timeout=120)
    assert wrong.status_code == 400 and "canceled" in wrong.json()["message"]


def test_a_job_is_removed_when_it_has_ended(server: Server) -> None:
    job = submitted(server, udf_step(SLEEP))
    url = f"{server.base_url}/api/v1/jobs/{job}"
    refused = requests.delete(url, headers=headers_of(server), timeout=120)
    assert refused.status_code == 409 and "cancel it" in refused.json()["message"]
    post(server, f"/server/v1/run/by-id/{job}/cancel")
    until(lambda: requests.delete(url, headers=headers_of(server), timeout=120).status_code == 200)
    assert requests.get(url, headers=headers_of(server), timeout=120).status_code == 404
    assert not (server.data / "jobs" / job / "log.jsonl").exists()


def test_progress_counts(server: Server) -> None:
    job = submitted(server, udf_step(SLEEP))
    path = f"/server/v1/run/by-id/{job}/increment-progress"
    assert post(server, path, {"amount": 3}).json()["progress"] == 3
    assert post(server, path, {"amount": 4}).json()["progress"] == 7
    assert post(server, path, {"amount": 0}).status_code == 400
    post(server, f"/server/v1/run/by-id/{job}/cancel")
    assert post(server, path, {"amount": 1}).status_code == 409


def test_a_function_submits_a_job_with_its_owners_rights(server: Server) -> None:
    inner = json.dumps({"name": "inner", "steps": [udf_step(ADD)], "metadata": None})
    code = (
        "@fused.udf\ndef udf(config: str):\n    import json\n    from fused._transport import call_json\n"
        "    job = call_json('POST', '/run', 'submitting', None, {'config': json.loads(config)})\n"
        "    return [job['job_id'], job['user_email']]\n"
    )
    reply = run(server, code, {"config": inner})
    job, email = reply.json()
    assert email == "owner@localhost" and wait(server, job)["status"] == "done"


def test_a_job_is_beside_the_slots_of_requests(server: Server) -> None:
    jobs = [submitted(server, udf_step(SLEEP)) for _ in range(2)]
    for job in jobs:
        until(lambda job=job: printed(server, job) == ["begun"])
    assert run(server, "def udf():\n    return 1\n").json() == 1
    for job in jobs:
        assert post(server, f"/server/v1/run/by-id/{job}/cancel").status_code == 200


@pytest.mark.parametrize("format_name,code", [
    ("parquet", "def udf():\n    import pandas as pd\n    return pd.DataFrame({'a': [1, 2]})\n"),
    ("npy", "def udf():\n    import numpy as np\n    return np.arange(6)\n"),
])  # fmt: skip
def test_results_have_the_form_that_clients_read(server: Server, format_name: str, code: str) -> None:
    job = submitted(server, udf_step(code))
    wait(server, job)
    assert f"0.{format_name}" in results(server, job)
