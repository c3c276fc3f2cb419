"""What the command says of jobs, runs, tokens and caches of a server, as a newcomer meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fused
from fused._cli import main
from tests.conftest import PYTHON, Server, free_port, need_server, start_server, stop_server
from tests.table.make_table import polygons, write_table

Command = Callable[..., tuple[int, str, str]]

# Slower than the wall limit unless `quick`; beside each other where `other` waits for its failing neighbour.
CODE = """\
import fused
@fused.udf
def slow(n: int = 1, seconds: float = 2.0, fail: bool = False):
    import time
    print("begins", n, flush=True)
    if fail and n == 1:
        raise ValueError("as it was asked")
    time.sleep(seconds)
    return {"n": n}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_server()
    settings = ("--limit-wall-ms", "1000", "--job-cores", "2", "--cache-max-age", "90d")
    running = start_server(tmp_path_factory.mktemp("command") / "data", *settings)
    yield running
    stop_server(running)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def command(
    server: Server, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    monkeypatch.chdir(folder)
    fused.options.base_url, fused.options.auth_token = server.base_url, server.token

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(list(arguments))
        return code, *capfd.readouterr()

    yield call
    fused.options.base_url = fused.options.auth_token = None


def test_a_run_that_becomes_a_job_is_waited_for_where_its_bytes_are_wanted(command: Command, folder: Path) -> None:
    code, out, err = command("run", "slow.py", "n=7", "--on-timeout", "job", "-o", "out.json")
    assert code == 0, err
    assert "goes on as job" in err and "waiting for job" in err and out == ""
    assert json.loads((folder / "out.json").read_bytes()) == {"n": 7}
    code, out, err = command("run", "slow.py", "n=7", "--on-timeout", "job", "--format", "json")
    assert code == 0 and json.loads(out) == {"n": 7}, err
    assert "goes on as job" in err, "the result of a job is the job's: the same call runs again"


def test_a_job_that_fails_leaves_no_file_and_another_exit_code(command: Command, folder: Path) -> None:
    late = CODE.replace("    time.sleep(seconds)\n", "    time.sleep(seconds)\n    raise KeyError(n)\n")
    (folder / "late.py").write_text(late)
    code, out, err = command("run", "late.py", "--on-timeout", "job", "-o", "out.json")
    assert code == 1 and "KeyError" in err and out == ""
    assert not (folder / "out.json").exists()


def test_without_a_place_for_its_bytes_the_id_is_printed_as_the_help_says(command: Command) -> None:
    code, out, err = command("run", "slow.py", "n=9", "--on-timeout", "job")
    assert code == 0
    assert fused.api.job_wait_for_job(out.strip(), timeout=60).get_results(0) == {"n": 9}
    assert err.startswith("fused run: ") and "FusedInProgressWarning" not in err
    with pytest.raises(SystemExit):
        command("run", "--help")


def test_an_answer_from_the_cache_says_that_it_is_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = command("run", "slow.py", "n=3", "seconds=0", "--follow")
    assert code == 0 and "begins 3" in err and "from the cache" not in err
    code, again, err = command("run", "slow.py", "n=3", "seconds=0", "--follow")
    assert code == 0 and again == out
    assert "answered from the cache" in err and "begins 3" not in err
    assert "from the cache" not in command("run", "slow.py", "n=3", "seconds=0")[2]  # a script's stderr stays empty
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "--cache-max-age 0s" in command("run", "slow.py", "n=3", "seconds=0")[2]
    assert "from the cache" not in command("run", "slow.py", "n=3", "seconds=0", "--cache-max-age", "0s")[2]


def test_a_task_that_its_job_ended_is_canceled_and_the_rest_never_began(command: Command) -> None:
    slow = fused.load(CODE)
    items = [{"n": 0, "seconds": 60}, {"n": 1, "fail": True}, {"n": 2}, {"n": 3}]
    job = slow(arg_list=items).run_remote(n_processes=2).wait_for_job(timeout=60)
    _, out, _ = command("jobs", "show", job.job_id[:8])
    rows = {line.split()[0]: line.split()[2] for line in out.partition("TASK")[2].splitlines()[1:3]}
    assert rows == {"0": "canceled", "1": "failed"}
    assert "lists more" not in out and out.endswith("the other 2 of 4 tasks never began\n")
    tasks = json.loads(command("jobs", "show", job.job_id, "--json")[1])["tasks"]
    assert [task["state"] for task in tasks] == ["canceled", "failed"]
    assert "--tasks N lists more" in command("jobs", "show", job.job_id, "--tasks", "1")[1]


def test_lines_of_several_tasks_name_theirs(command: Command) -> None:
    slow = fused.load(CODE)
    job = slow(arg_list=[{"n": n, "seconds": 0} for n in (0, 1)]).run_remote().wait_for_job(timeout=60)
    for follow in ((), ("-f",)):
        _, out, _ = command("jobs", "logs", *follow, job.job_id)
        assert " [task 0] begins 0\n" in out and " [task 1] begins 1\n" in out
        assert "[task -1]" not in out
    assert "[task" not in command("jobs", "logs", "--task", "1", job.job_id)[1]
    alone = slow(n=5, seconds=0).run_remote().wait_for_job(timeout=60)
    out = command("jobs", "logs", alone.job_id)[1]
    assert "begins 5" in out and "[task" not in out


def test_the_log_of_a_job_is_pointed_at(command: Command) -> None:
    job = fused.load(CODE)(arg_list=[{"n": 1, "seconds": 0}]).run_remote().wait_for_job(timeout=60)
    code, _, err = command("logs", job.job_id[:8])
    assert code == 1 and f"`fused jobs logs {job.job_id[:8]}`" in err
    code, _, err = command("logs", "ffffffff")
    assert code == 1 and "there is no run 'ffffffff'" in err


def test_a_name_that_nobody_saved_is_not_said_to_be_dropped(command: Command) -> None:
    fused.load(CODE).to_fused(slug="kept", overwrite=True)
    assert command("cache", "invalidate", "kept")[:2] == (0, "dropped the results of kept\n")
    code, out, err = command("cache", "invalidate", "ketp")
    assert code == 0 and out == "" and "there is no saved function 'ketp'" in err


@pytest.mark.parametrize("life", ["0d", "0s"])
def test_a_token_that_would_end_at_once_is_refused_in_plain_words(command: Command, life: str) -> None:
    fused.load(CODE).to_fused(slug="kept", overwrite=True)
    for verb in (("token", "create", "kept"), ("token", "api", "create", "laptop")):
        code, _, err = command(*verb, "--expires", life)
        assert code == 1 and f"--expires '{life}' would end at once: at least '1s'" in err
        assert "expires_in" not in err


def test_a_schedule_reads_its_arguments_as_its_runs_will(command: Command) -> None:
    fused.load(CODE).to_fused(slug="kept", overwrite=True)
    code, _, err = command("schedule", "add", "kept", "0 1 * * *", "n=many")
    assert code == 1 and "parameter 'n': 'many' cannot be read as int" in err
    assert command("schedule", "add", "kept", "0 1 * * *", "n=3")[0] == 0


def test_tokens_of_a_table_are_listed_and_live_as_long_as_it_is_that_table(command: Command, server: Server) -> None:
    for name in ("one", "other"):
        write_table(polygons(50), server.data / "mount" / name)
    assert command("table", "register", "shapes", "/mount/one", "--share")[0] == 0
    listed = command("token", "list")[1]
    assert "table shapes" in listed
    code, _, err = command("table", "register", "shapes", "/mount/one")
    assert code == 0 and "revoked" not in err and command("token", "list")[1] == listed
    code, _, err = command("table", "register", "shapes", "/mount/other")
    assert code == 0 and "'shapes' was another table before: 1 share token of that one revoked" in err
    assert "table shapes" not in command("token", "list")[1]


def test_a_warning_points_to_the_line_of_who_called(server: Server, folder: Path) -> None:
    script = folder / "script.py"
    script.write_text(
        "import fused\n"
        "slow = fused.load('slow.py')\n"
        "def mine():\n"
        "    return fused.run(slow, on_timeout='job', n=11)  # line 4\n"
        "job = mine()\n"
        "fused.api.job_get_exec_time(job)  # line 6\n"
    )
    environment = {**os.environ, **server.environment(), "PYTHONPATH": str(PYTHON)}
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = [line for line in ran.stderr.splitlines() if "Warning" in line]
    assert [line.split(": ")[0].removeprefix(str(folder)) for line in told] == ["/script.py:4", "/script.py:6"]


def test_login_where_no_server_is_at_the_default_address_names_the_option(
    command: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in ("base_url", "auth_token", "auth_token_type"):
        monkeypatch.setattr(fused.options, option, getattr(fused.options, option))
    monkeypatch.setattr("fused._cli.login.DEFAULT_URL", f"http://127.0.0.1:{free_port()}")
    code, _, err = command("login", "--token-file", str(server.data / "token"))
    assert code == 1 and "named by --url" in err
