"""A realtime run that reaches its wall limit and goes on as a job: the same process, under the same id."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of, metadata_of, poll, run
from tests.flow.jobs import get, log, post, printed, results, status, until, values, wait

WALL_MS = 1_000
SETTINGS = ("--limit-wall-ms", str(WALL_MS), "--job-cores", "2")

# `mark` is made once in a life of the process; every beat is written down until the gate opens.
BEATS = """\
@fused.udf{decorator}
def udf(name: str, fail: bool = False):
    import os, time, uuid
    root = '/mount' if os.path.isdir('/mount') else os.environ['FUSED_MOUNT']
    mark = uuid.uuid4().hex
    print('mark', mark, flush=True)
    print('no end yet', end='', flush=True)
    while not os.path.exists(os.path.join(root, name + '.gate')):
        with open(os.path.join(root, name), 'a') as file:
            file.write(mark + '\\n')
        time.sleep(0.02)
    print(' and now it has')
    if fail:
        raise ValueError('as it was asked: é')
    return mark
"""
PLAIN = BEATS.format(decorator="")
ASKS = BEATS.format(decorator="(on_timeout='job')")


class Beats:
    """What the function writes down, and the gate that ends it."""

    def __init__(self, server: Server) -> None:
        self.name = f"beats-{uuid.uuid4()}"
        self._file = server.data / "mount" / self.name

    def open(self) -> None:
        Path(f"{self._file}.gate").write_text("")

    def marks(self) -> list[str]:
        """One for each start of the function, in order."""
        return list(dict.fromkeys(self._file.read_text().split())) if self._file.exists() else []

    def size(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_server()
    running = start_server(tmp_path_factory.mktemp("promotion") / "data", *SETTINGS)
    yield running
    stop_server(running)


@pytest.fixture
def beats(server: Server) -> Iterator[Beats]:
    made = Beats(server)
    yield made
    made.open()
    until(lambda: get(server, "/health")["jobs"]["processes"] == 0)


def ask(
    server: Server, beats: Beats, on_timeout: str | None = "job", code: str = PLAIN, **more: Any
) -> requests.Response:
    """The direct form; the answer of whatever comes first."""
    headers = {} if on_timeout is None else {"Fused-On-Timeout": on_timeout}
    headers |= more.pop("headers", {})
    body = body_of(code, {"name": beats.name, **more.pop("parameters", {})})
    route = more.pop("route", ROUTE)
    return requests.post(
        server.api + route, params=more, json=body, headers={**headers_of(server), **headers}, timeout=60
    )


def promoted(reply: requests.Response) -> str:
    assert reply.status_code == 202, reply.text
    told = reply.json()
    assert told["job_id"] == told["run_id"] == reply.headers["x-fused-job-id"] == reply.headers["x-fused-run-id"]
    assert "goes on as job" in told["message"]
    return str(told["job_id"])


def test_a_run_goes_on_as_the_job_of_its_id_with_all_it_has_done(server: Server, beats: Beats) -> None:
    began = time.time()
    reply = ask(server, beats)
    job = promoted(reply)
    now = status(server, job)
    assert (now["status"], now["total_tasks"], now["instance_type"]) == ("running", 1, "small")
    assert requests.get(server.base_url + reply.headers["location"], headers=headers_of(server), timeout=120).ok
    assert job in [each["job_id"] for each in get(server, "/api/v1/jobs")["jobs"]]
    shown = get(server, f"/api/v1/jobs/{job}")
    assert shown["options"]["promoted_after_seconds"] == WALL_MS / 1000
    assert [attempt["ended_as"] for attempt in shown["attempts"]] == [None]
    first, told = log(server, job)[0], next(line for line in log(server, job) if line["stream"] == "job")
    assert "goes on as this job" in told["message"] and first["message"].startswith("mark ")
    assert began < first["timestamp"] / 1000 and told["timestamp"] - first["timestamp"] > WALL_MS / 2  # its own time
    assert not any("no end yet" in line for line in printed(server, job))  # the line goes on
    beats.open()
    assert wait(server, job)["status"] == "done"
    assert len(beats.marks()) == 1 and values(server, job) == beats.marks()  # the process that began
    assert printed(server, job) == [f"mark {beats.marks()[0]}", "no end yet and now it has"]
    assert results(server, job)["0.json.metadata"].json()["stdout"].startswith("mark ")
    attempts = get(server, f"/api/v1/jobs/{job}")["attempts"]
    assert [(each["task"], each["ended_as"]) for each in attempts] == [(0, "done")]


def test_the_function_asks_and_who_takes_no_jobs_gets_the_plain_timeout(server: Server, beats: Beats) -> None:
    for on_timeout in (None, "error"):  # browsers, tiles, the official client
        plain = ask(server, beats, on_timeout, ASKS)
        assert plain.status_code == 504, plain.text
        assert plain.json()["message"] == "TimeoutError: the function ran longer than its limit of 1 s"
        assert metadata_of(plain)["error_type"] == "timeout_error"
    job = promoted(ask(server, beats, "function", ASKS))
    beats.open()
    assert wait(server, job)["status"] == "done"
    assert ask(server, Beats(server), "function", PLAIN).status_code == 504  # this one does not ask
    wrong = ask(server, beats, "later")
    assert wrong.status_code == 400 and "job, function" in wrong.json()["message"]


def test_polling_goes_on_under_the_same_id_until_the_result(server: Server, beats: Beats) -> None:
    run_id = str(uuid.uuid4())
    began = ask(server, beats, route=ROUTE + "/start", headers={"Fused-Run-Id": run_id, "Prefer": "respond-async"})
    assert began.status_code == 202 and "x-fused-job-id" not in began.headers
    until(lambda: "x-fused-job-id" in poll(server, run_id).headers)
    again = ask(server, beats, headers={"Fused-Run-Id": run_id})  # joins, begins nothing
    assert promoted(again) == run_id and len(beats.marks()) == 1
    with requests.get(f"{server.base_url}/api/v1/runs/{run_id}/logs", headers=headers_of(server), timeout=120) as lines:
        assert "event: end" in lines.text and '"promoted"' in lines.text and run_id in lines.text
    assert poll(server, run_id).status_code == 202
    beats.open()
    ended = until(lambda: (reply := poll(server, run_id)).status_code != 202 and reply)
    assert ended.status_code == 200 and ended.json() == beats.marks()[0]
    assert ended.headers["content-type"] == "application/json"
    assert metadata_of(ended)["outcome"] == "ok" and metadata_of(ended)["run_id"] == run_id
    folder = str(metadata_of(ended)["log_dir"]).removeprefix("/mount/")
    assert "no end yet" in until(lambda: _read(server.data / "mount" / folder / "stdout.log"))


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def test_a_failure_is_that_of_the_job(server: Server, beats: Beats) -> None:
    job = promoted(ask(server, beats, parameters={"fail": True}))
    beats.open()
    ended = wait(server, job)
    assert ended["status"] == "failed" and "as it was asked" in ended["error"]
    polled = poll(server, job)
    assert polled.status_code == 422 and polled.json()["message"] == "as it was asked: é"
    assert metadata_of(polled)["exception_class"] == "ValueError"


def test_a_cancel_kills_the_process_and_is_final(server: Server, beats: Beats) -> None:
    job = promoted(ask(server, beats))
    assert post(server, f"/server/v1/run/by-id/{job}/cancel").json()["status"] == "canceled"
    until(lambda: get(server, "/health")["jobs"]["processes"] == 0, 2)
    size = beats.size()
    time.sleep(0.1)
    assert beats.size() == size and status(server, job)["status"] == "canceled"
    polled = poll(server, job)
    assert polled.status_code == 422 and metadata_of(polled)["exception_class"] == "CancelledError"


def test_it_gives_its_slot_to_the_next_request(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", *SETTINGS, workers=1)
    beats = Beats(server)
    try:
        job = promoted(ask(server, beats))
        for n in range(3):
            assert run(server, f"def udf():\n    return {n}\n").json() == n
        assert status(server, job)["status"] == "running"
        health = get(server, "/health")
        assert health["jobs"]["cores_in_use"] == 1
        beats.open()
        assert wait(server, job)["status"] == "done"
        assert run(server, "def udf():\n    return 'after'\n").json() == "after"
        assert until(lambda: get(server, "/health")["jobs"]["cores_in_use"] == 0)
    finally:
        beats.open()
        stop_server(server)


def test_the_functions_own_wall_limit_holds_no_more_in_a_later_attempt(tmp_path: Path) -> None:
    code = BEATS.format(decorator="(on_timeout='job', limits={'wall_seconds': 0.4})")
    server = start_server(tmp_path / "data", *SETTINGS)
    beats = Beats(server)
    job = promoted(ask(server, beats, "function", code=code))
    server.process.kill()
    server.process.wait()
    again = start_server(tmp_path / "data", *SETTINGS)
    try:
        until(lambda: len(beats.marks()) == 2)
        size = beats.size()
        until(lambda: beats.size() > size + 40 * len(beats.marks()[1]))  # 0.8 s at least, twice its limit
        beats.open()
        assert wait(again, job)["status"] == "done"
        assert len(beats.marks()) == 2
    finally:
        beats.open()
        stop_server(again)


MANY = """\
@fused.udf
def udf(name: str):
    import time
    for number in range(20_000):
        print('line', number)
    print('all', flush=True)
    time.sleep(60)
"""


def test_what_was_printed_is_in_the_log_of_who_was_told_of_the_job(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", *SETTINGS)
    job = promoted(ask(server, Beats(server), code=MANY))
    server.process.kill()  # in the next moment
    server.process.wait()
    lines = [json.loads(line) for line in (server.data / "jobs" / job / "log.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines if line["stream"] == "stdout"] == [
        *(f"line {number}" for number in range(20_000)),
        "all",
    ]


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_after_an_end_of_the_server_it_is_attempt_2_of_the_job(tmp_path: Path, how: str) -> None:
    server = start_server(tmp_path / "data", *SETTINGS)
    beats = Beats(server)
    job = promoted(ask(server, beats))
    getattr(server.process, how)()
    server.process.wait()
    again = start_server(tmp_path / "data", *SETTINGS)
    try:
        until(lambda: len(beats.marks()) == 2)
        assert poll(again, job).status_code == 202  # by the old id, though the run's registry is gone
        beats.open()
        assert wait(again, job)["status"] == "done"
        # In the format that the run's caller had named.
        assert values(again, job) == [beats.marks()[1]] == [poll(again, job).json()]
        attempts = get(again, f"/api/v1/jobs/{job}")["attempts"]
        assert sorted(str(each["ended_as"]) for each in attempts) == ["done", "interrupted"]
        assert [line for line in printed(again, job) if line.startswith("mark")] == [
            f"mark {mark}" for mark in beats.marks()
        ]
    finally:
        beats.open()
        stop_server(again)


def test_what_is_no_job_ends_at_its_limit_and_says_why(server: Server, beats: Beats) -> None:
    def refused(reply: requests.Response, word: str) -> None:
        assert reply.status_code == 504, reply.text
        message = reply.json()["message"]
        assert "ran longer than its limit of 1 s; it was not made a job: " in message, message
        assert word in message

    tile = "import time\ndef udf(bounds, name: str = ''):\n    time.sleep(30)\n"
    refused(ask(server, beats, code=tile, route=ROUTE + "/tiles/1/0/0"), "tile")
    slug = f"promoted_{uuid.uuid4().hex[:8]}"
    saved = requests.post(
        f"{server.api}/udf/new",
        json={"slug": slug, "udf_body": json.dumps({"name": slug, "code": ASKS}), "udf_type": "auto"},
        headers=headers_of(server),
        timeout=120,
    ).json()
    token = requests.post(
        f"{server.api}/udf-access-token/new", json={"udf_id": saved["id"]}, headers=headers_of(server), timeout=120
    ).json()["token"]
    shared = f"{server.api}/realtime-shared/{token}/run/file.json?name={beats.name}"
    refused(requests.get(shared, headers={"Fused-On-Timeout": "job"}, timeout=120), "share token")
    job = promoted(ask(server, beats))
    beats.open()
    wait(server, job)


def test_a_nested_run_is_none(server: Server) -> None:
    slug = f"nested_{uuid.uuid4().hex[:8]}"
    inner = "import time\n@fused.udf(on_timeout='job', limits={'wall_seconds': 0.3})\ndef udf():\n    time.sleep(30)\n"
    requests.post(
        f"{server.api}/udf/new",
        json={"slug": slug, "udf_body": json.dumps({"name": slug, "code": inner}), "udf_type": "auto"},
        headers=headers_of(server),
        timeout=120,
    )
    outer = (
        "import json\n@fused.udf\ndef udf(slug: str):\n    from fused import _transport\n"
        "    asked = {'Fused-On-Timeout': 'job'}\n"
        "    reply = _transport.request('GET', '/api/v1/run/' + slug, {}, asked)\n"
        "    return json.loads(reply.body)['message']\n"
    )
    told = run(server, outer, {"slug": slug})
    assert told.status_code == 200 and "another run waits for it" in told.json(), told.text


def test_no_more_at_once_than_jobs_have_cores(server: Server) -> None:
    every = [Beats(server) for _ in range(3)]
    try:
        jobs = [promoted(ask(server, each)) for each in every[:2]]
        third = ask(server, every[2])
        assert third.status_code == 504 and "which is the most" in third.json()["message"], third.text
    finally:
        for each in every:
            each.open()
    assert [wait(server, job)["status"] for job in jobs] == ["done", "done"]
    until(lambda: get(server, "/health")["jobs"]["processes"] == 0)


def test_strict_instances_are_asked_first(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", *SETTINGS, "--strict-instances", "--job-memory-bytes", str(1 << 28))
    beats = Beats(server)
    try:
        reply = ask(server, beats)
        assert reply.status_code == 504 and "small" in reply.json()["message"], reply.text
    finally:
        stop_server(server)


def test_an_id_that_is_a_jobs_already_is_not_taken_twice(server: Server, beats: Beats) -> None:
    name = f"other-{uuid.uuid4().hex[:8]}"
    made = requests.post(
        f"{server.base_url}/api/v1/users",
        json={"email": f"{name}@localhost", "username": name, "role": "member"},
        headers=headers_of(server),
        timeout=120,
    )
    theirs = {"Authorization": f"Bearer {made.json()['token']}"}
    job = promoted(ask(server, beats))
    same = ask(server, beats, headers={"Fused-Run-Id": job, **theirs})
    assert same.status_code == 504 and f"a job with the id {job} already" in same.json()["message"], same.text
    # And what is somebody else's is not to be had by its id.
    route = f"{server.api}{ROUTE}/get/{job}"
    assert requests.get(route, headers=theirs, timeout=120).status_code == 422  # their own run of that id: its timeout
    assert requests.get(route, headers={"Authorization": "Bearer no"}, timeout=120).status_code == 401
    other = str(uuid.uuid4())
    assert requests.get(f"{server.api}{ROUTE}/get/{other}", headers=theirs, timeout=120).status_code == 404


def test_callers_who_joined_get_the_job_where_they_take_one(server: Server, beats: Beats) -> None:
    answers: dict[str, requests.Response] = {}

    def send(who: str, on_timeout: str | None) -> None:
        answers[who] = ask(server, beats, on_timeout, ASKS, cache_max_age=3600)

    leader = threading.Thread(target=send, args=("leader", "function"))
    leader.start()
    until(beats.marks)
    others = [threading.Thread(target=send, args=each) for each in (("same", "function"), ("browser", None))]
    for thread in others:
        thread.start()
    for thread in (leader, *others):
        thread.join()
    job = promoted(answers["leader"])
    assert answers["same"].status_code == 202 and answers["same"].json()["job_id"] == job
    assert answers["browser"].status_code == 504, answers["browser"].text
    assert "whose run this one had joined" in answers["browser"].json()["message"]
    beats.open()
    assert wait(server, job)["status"] == "done" and len(beats.marks()) == 1


def test_a_caller_who_leaves_after_it_became_a_job_ends_nothing(server: Server, beats: Beats) -> None:
    run_id = str(uuid.uuid4())
    reply = ask(server, beats, headers={"Fused-Run-Id": run_id})
    reply.close()
    job = promoted(reply)
    size = beats.size()
    until(lambda: beats.size() > size)
    beats.open()
    assert wait(server, job)["status"] == "done"


def test_one_who_leaves_before_the_limit_ends_the_run_as_ever(server: Server, beats: Beats) -> None:
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            server.api + ROUTE,
            json=body_of(PLAIN, {"name": beats.name}),
            headers=headers_of(server, **{"Fused-On-Timeout": "job"}),
            timeout=0.5,
        )
    size = -1

    def is_still() -> bool:
        nonlocal size
        before, size = size, beats.size()
        time.sleep(0.1)
        return before == size

    until(is_still)
    assert not any(each["status"] == "running" for each in get(server, "/api/v1/jobs")["jobs"])


# ---- the SDK and the command line


def python(server: Server, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FUSED_BASE_URL": server.api, "FUSED_AUTH_TOKEN": server.token}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_sdk_gives_the_job_with_a_warning(server: Server, beats: Beats) -> None:
    gate = server.data / "mount" / f"{beats.name}.gate"
    ran = python(
        server,
        "import fused, warnings, pathlib\n"
        f"plain, asks = fused.load({PLAIN!r}), fused.load({ASKS!r})\n"
        f"name = {beats.name!r}\n"
        "assert (plain.on_timeout, asks.on_timeout) == (None, 'job')\n"
        "for f, more in ((plain, {}), (asks, {'on_timeout': 'error'})):\n"
        "    try:\n        fused.run(f, name=name, **more)\n"
        "    except fused.errors.UdfTimeoutError as error:\n"
        "        assert 'longer than its limit' in str(error), error\n"
        "    else:\n        raise SystemExit('no timeout')\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    job = fused.run(asks, name=name)\n"
        "    other = fused.run(plain, name=name + 'x', on_timeout='job', follow_logs=lambda *_: None)\n"
        "assert [each.category.__name__ for each in told] == 2 * ['FusedInProgressWarning'], told\n"
        "assert 'goes on as job ' + job.job_id in str(told[0].message), told[0].message\n"
        "assert job.status == 'running' and type(job).__name__ == 'RunResponse'\n"
        f"pathlib.Path({str(gate)!r}).write_text('')\n"
        f"pathlib.Path({str(gate)!r}.replace(name, name + 'x')).write_text('')\n"
        "assert len(job.wait_for_job().get_results(0)) == 32\n"
        "assert other.wait_for_job().status == 'done'\n",
    )
    assert ran.returncode == 0, ran.stderr


def test_a_pool_of_calls_has_results_or_errors(server: Server, beats: Beats) -> None:
    ran = python(
        server,
        "import fused\n"
        f"f = fused.load({ASKS!r})\n"
        f"pool = fused.submit(f, [{{'name': {beats.name!r}}}], max_retry=0, collect=False)\n"
        "pool.wait()\n"
        "assert 'longer than its limit' in str(pool.errors()[0]), pool.errors()\n",
    )
    assert ran.returncode == 0, ran.stderr


def test_the_command_prints_the_job(server: Server, beats: Beats, tmp_path: Path) -> None:
    file = tmp_path / "beats.py"
    file.write_text("import fused\n" + PLAIN)
    environment = {**os.environ, "FUSED_BASE_URL": server.api, "FUSED_AUTH_TOKEN": server.token}
    command = [sys.executable, "-m", "fused", "run", str(file), f"name={beats.name}"]
    ran = subprocess.run(
        [*command, "--on-timeout", "job"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    job = ran.stdout.strip()
    assert status(server, job)["status"] == "running" and "goes on as job" in ran.stderr
    beats.open()
    assert wait(server, job)["status"] == "done"
