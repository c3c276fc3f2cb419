"""Other ways the clients have to ask for the same run."""

from __future__ import annotations

import json
import threading
import uuid

import pytest
import requests

import fused


@fused.udf
def answer(n: int = 1):
    import pandas as pd

    print("asked for", n)
    return pd.DataFrame({"n": [n * 2]})


def test_a_step_runs(run):
    step = fused.models.UdfJobStepConfig(udf=answer, name="step")
    assert run(step, n=4)["n"].tolist() == [8]


@pytest.mark.v2
def test_calling_the_function_runs_it():
    assert answer(n=3)["n"].tolist() == [6]


@pytest.mark.v2
def test_streamed_output_of_a_run(run, capfd):
    fused.options.verbose_udf_runs = True
    try:
        assert run(answer, n=3, _stream_logs=True)["n"].tolist() == [6]
    finally:
        fused.options.verbose_udf_runs = False
    assert "asked for 3" in capfd.readouterr().out


@pytest.mark.v2
def test_output_is_shown_while_the_function_runs(run, capfd):
    """The client looks for it after each poll that says "still running"; not verbose, it shows nothing after."""

    @fused.udf
    def udf():
        import time

        for i in range(3):
            print("step", i)
            time.sleep(2.2)
        return 1

    assert run(udf, _stream_logs=True) == 1
    assert "step 0\nstep 1\n" in capfd.readouterr().out


@pytest.mark.v2
def test_streamed_output_of_a_failure_has_the_traceback(run, capfd):
    @fused.udf
    def udf():
        print("before")
        raise ValueError("streamed failure")

    with pytest.raises(fused.types.UdfRuntimeError, match="streamed failure"):
        run(udf, _stream_logs=True)
    shown = capfd.readouterr()
    assert "before" in shown.out + shown.err


def test_a_waiting_caller_is_told_the_log_folder_and_sees_what_was_printed(url, token):
    lines = [
        "import time",
        "@fused.udf",
        "def udf():",
        f"    mark = '{uuid.uuid4()}'",  # not answered from the cache of the other client's run
        "    print('first', flush=True)",
        "    time.sleep(2.6)",
        "    print('second')",
        "    return 1",
    ]
    code = "\n".join(lines) + "\n"
    udf = {"name": "udf", "code": code, "headers": [], "entrypoint": "udf", "parameters": {}}
    body = {"step_config": json.dumps({"type": "udf", "udf": udf}), "format": "json"}
    headers = {"Authorization": f"Bearer {token}", "Fused-Run-Id": str(uuid.uuid4())}
    reply = requests.post(
        f"{url}/server/v1/realtime/local/api/v1/run/udf/start", json=body, headers=headers, timeout=120
    )
    assert reply.status_code == 202
    log_dir = json.loads(reply.headers["x-fused-metadata"])["log_dir"]

    def printed(folder: str, **changed: str) -> requests.Response:
        return requests.post(
            f"{url}/server/v1/efs/local/udf-logs", json={"log_dir": folder}, timeout=120, headers={**headers, **changed}
        )

    assert printed(log_dir).json() == {"stdout": "first\n", "stderr": ""}
    get = f"{url}/server/v1/realtime/local/api/v1/run/udf/get/{headers['Fused-Run-Id']}"
    reply = requests.get(get, headers=headers, timeout=120)
    assert reply.status_code == 200 and json.loads(reply.headers["x-fused-metadata"])["log_dir"] == log_dir
    assert printed(log_dir).json() == {"stdout": "first\nsecond\n", "stderr": ""}
    assert printed(log_dir + "x").status_code == 404 and printed("/etc/passwd").status_code == 404
    assert printed(log_dir, Authorization="Bearer nobody").status_code == 401


@pytest.mark.v2
def test_a_run_that_its_caller_cancels_ends(run):
    @fused.udf
    def udf():
        import time

        time.sleep(30)

    with pytest.raises(BaseException, match=r"(?i)cancel"):  # concurrent.futures.CancelledError is no Exception here
        run(udf, _cancel_callback=lambda: True)


@pytest.mark.v2
@pytest.mark.parametrize(("wanted", "kind"), [("json", list), ("parquet", None), ("csv", None)])
def test_a_wanted_format(save, name, wanted, kind):
    token = save(answer, name).create_access_token()
    reply = requests.get(token.get_file_url(format=wanted), params={"n": 2}, timeout=120)
    assert reply.status_code == 200 and reply.content
    if kind:
        assert isinstance(reply.json(), kind) and reply.json()[0]["n"] == 4


@pytest.mark.v1
def test_the_deprecated_keywords_of_the_old_client(save, name, email):
    token = save(answer, name).create_access_token().token
    assert fused.run(udf_email=email, udf_name=name, n=2)["n"].tolist() == [4]
    assert fused.run(token=token, n=3)["n"].tolist() == [6]


@pytest.mark.v1
def test_include_log_of_the_old_client(run):
    result = run(answer, n=2, _include_log=True)
    assert result.data["n"].tolist() == [4] and "asked for 2" in result.stdout


@pytest.mark.v1
def test_the_old_client_runs_objects_here_unless_told_remote():
    assert fused.run(answer, n=5, engine="local")["n"].tolist() == [10]


def test_apps_are_an_empty_list():
    assert len(fused.api.get_apps()) == 0


def test_functions_saved_by_one_version_have_what_the_other_reads(save, name, url, token):
    saved = save(answer, name)
    record = requests.get(
        f"{url}/server/v1/udf/by-id/{saved.metadata['fused:id']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
    ).json()
    body = json.loads(record["udf_body"])
    assert record["slug"] == name and "def " in body["code"] and body["entrypoint"]
    # As the other version would send it: without the members that only this one has.
    for member in ("collection_id", "collection_name", "engine", "disk_size_gb", "region", "table_schema"):
        body.pop(member, None)
    step = {"type": "udf", "udf": body}
    reply = requests.post(
        f"{url}/server/v1/realtime/local/api/v1/run/udf",
        timeout=120,
        headers={"Authorization": f"Bearer {token}"},
        json={"step_config": json.dumps(step), "format": "json"},
    )
    assert reply.json() == [{"n": 2}]


def test_three_hundred_short_runs_by_sixteen_callers_all_end(url, token):
    """A run that comes to a worker in the moment it gets idle is neither lost nor answered with another's result."""
    code = "@fused.udf\ndef udf(n: int):\n    return n\n"
    answers: dict[int, object] = {}

    def ask(numbers: range) -> None:
        with requests.Session() as session:
            session.headers.update({"Authorization": f"Bearer {token}"})
            base = f"{url}/server/v1/realtime/local/api/v1/run/udf"
            for n in numbers:
                udf = {"name": "udf", "code": code, "headers": [], "entrypoint": "udf", "parameters": {"n": n}}
                body = {"step_config": json.dumps({"type": "udf", "udf": udf}), "format": "json"}
                run_id = str(uuid.uuid4())
                reply = session.post(f"{base}/start", json=body, headers={"Fused-Run-Id": run_id}, timeout=120)
                for _ in range(10):
                    if reply.status_code != 202:
                        break
                    reply = session.get(f"{base}/get/{run_id}", timeout=120)
                answers[n] = reply.json()

    callers = [threading.Thread(target=ask, args=(range(i, 304, 16),)) for i in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(100)
    assert answers == {n: n for n in range(304)}
