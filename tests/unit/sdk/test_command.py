"""The `fused` command, as a person types it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fused
from fused._cli import main

PYTHON = Path(fused.__file__).parents[1]
HELLO = '''\
import fused

LIMIT = 3


@fused.udf
def udf(n: int = LIMIT):
    """Counts."""
    import pandas as pd

    print("counting to", n)
    return pd.DataFrame({"n": range(n)})
'''


class Command:
    """Runs `fused …` in a folder of its own with a home of its own."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PYTHON), "FUSED_HOME": str(folder / ".fused")}
        self.environment |= environment or {}

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fused", *arguments],
            input=stdin.encode(),
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            timeout=120,
        )
        out = done.stdout.decode("utf-8", "replace") + done.stderr.decode()
        assert done.returncode == code, out
        return out


@pytest.fixture
def command(tmp_path: Path) -> Command:
    (tmp_path / "hello.py").write_text(HELLO)
    return Command(tmp_path)


@pytest.fixture
def connected_command(server: Any, tmp_path: Path) -> Command:
    (tmp_path / "hello.py").write_text(HELLO)
    return Command(tmp_path, {"FUSED_BASE_URL": server.base_url, "FUSED_AUTH_TOKEN": server.token})


def test_version_and_help_teach(command: Command) -> None:
    assert command("--version").strip() == f"fused-server {fused.__version__}"
    text = command()
    for verb in ("serve", "run", "udf", "token", "login", "logs"):
        assert f"fused {verb}" in text
        assert command(verb, "--help") if verb != "serve" else True
    assert "fused udf push hello.py" in command("udf")
    assert "invalid choice" in command("dance", code=2)


@pytest.mark.parametrize(
    "words",
    ["run", "login", "logs", "udf", "udf list", "udf push", "udf pull", "udf show", "udf rm"],
)
def test_the_help_of_every_command_has_an_example(command: Command, words: str) -> None:
    text = command(*words.split(), "--help")
    assert f"  fused {words}" in text.partition("examples:")[2]


def test_a_wrong_option_is_answered_by_the_command_it_was_given_to(command: Command) -> None:
    text = command("run", "hello.py", "--fromat", "json", code=2)
    assert text.startswith("usage: fused run ")
    assert "not understood: --fromat; did you mean --format?" in text
    assert "required: NAME|FILE\n" in command("run", code=2)


def test_parameters_may_stand_behind_options(command: Command) -> None:
    assert "[2 rows" in command("run", "hello.py", "--rows", "1", "n=2", "--engine", "local")


def test_output_that_cannot_be_written_is_refused_before_the_run(command: Command) -> None:
    assert "there is no folder 'none'" in command("run", "hello.py", "-o", "none/x.json", code=1)
    (command.folder / "here.json").mkdir()
    assert "is a folder" in command("run", "hello.py", "-o", "here.json", code=1)


def test_what_a_function_raises_here_is_told_as_the_server_tells_it(command: Command) -> None:
    (command.folder / "bad.py").write_text("import fused, json\n@fused.udf\ndef udf():\n    return json.loads('{')\n")
    text = command("run", "bad.py", code=1)
    assert text.startswith("'bad' failed in line 4: JSONDecodeError: ")
    assert 'File "bad.py", line 4, in udf' in text
    assert "return json.loads('{')" in text
    assert "_cli" not in text
    assert "decoder.py" not in text


def test_a_table_with_geometry_is_shown_without_a_warning(command: Command) -> None:
    (command.folder / "places.py").write_text(
        "import fused\n@fused.udf\ndef udf(n: int = 2):\n    import geopandas, shapely\n"
        "    points = [shapely.Point(i, i) for i in range(n)]\n"
        "    return geopandas.GeoDataFrame({'id': range(n)}, geometry=points, crs=4326)\n"
    )
    text = command("run", "places.py")
    assert "POINT (1 1)" in text
    assert "Warning" not in text
    assert command("run", "places.py", "--rows", "0") == "columns: id, geometry\n[2 rows × 2 columns, 0 shown]\n"
    assert command("run", "places.py", "n=0") == "columns: id, geometry\n[0 rows × 2 columns]\n"


def test_options_of_the_sdk_are_named_as_options_of_the_command(command: Command) -> None:
    (command.folder / "two.py").write_text(
        "import fused\n@fused.udf\ndef a():\n    return 1\n@fused.udf\ndef b():\n    return 2\n"
    )
    assert "name it by --entrypoint NAME" in command("run", "two.py", code=1)
    assert command("run", "two.py", "--entrypoint", "b").strip() == "2"
    assert command("login", "--token-file", "none", code=1) == "fused login: none: No such file or directory\n"


def test_a_file_runs_here_without_a_server(command: Command) -> None:
    out = command("run", "hello.py", "n=2")
    assert "counting to 2" in out
    assert "[2 rows × 1 columns]" in out


def test_wrong_parameters_are_said_in_one_line(command: Command) -> None:
    assert command("run", "hello.py", "n=x", code=1).strip() == "fused run: parameter 'n': 'x' cannot be read as int"
    assert "write name=value" in command("run", "hello.py", "nonsense", code=1)
    assert "is not JSON" in command("run", "hello.py", "n:={", code=1)
    assert "no parameter 'm'; its parameters are: n" in command("run", "hello.py", "m=1", code=1)
    assert "is not z/x/y" in command("run", "hello.py", "--tile", "1/2", code=1)
    assert "is not there" in command("run", "none.py", code=1)
    assert "'.docx' is no format" in command("run", "hello.py", "-o", "x.docx", code=1)
    assert "a format is made by the server" in command("run", "hello.py", "--format", "json", code=1)
    assert "Traceback" not in command("run", "hello.py", "n=x", code=1)
    assert "Traceback" in command("--traceback", "run", "hello.py", "n=x", code=1)


def test_without_a_server_every_verb_says_what_to_do(command: Command) -> None:
    for arguments in (["udf", "list"], ["udf", "push", "hello.py"], ["token", "list"], ["run", "name"], ["logs"]):
        assert "fused login" in command(*arguments, code=1)


def test_serve_refuses_beside_the_official_client(command: Command, tmp_path: Path) -> None:
    theirs = tmp_path / "site" / "fused-2.9.5.dist-info"
    theirs.mkdir(parents=True)
    (theirs / "METADATA").write_text("Metadata-Version: 2.1\nName: fused\nVersion: 2.9.5\n")
    command.environment["PYTHONPATH"] = f"{PYTHON}:{tmp_path / 'site'}"
    text = command("serve", code=1)
    assert "the official client (distribution `fused` 2.9.5) is installed" in text
    assert "pip uninstall fused" in text


def test_serve_without_the_binary_says_where_it_should_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("fused._cli.serve.server_program", lambda: tmp_path / "fused-server")
    monkeypatch.setattr("fused._cli.serve.official_client", lambda: None)
    assert main(["serve"]) == 1
    assert f"the server is not here ({tmp_path}/fused-server)" in capsys.readouterr().err


def test_serve_hands_all_arguments_to_the_server(command: Command, server: Any) -> None:
    text = command("serve", "--help")
    assert "--isolation" in text
    assert "--data" in text
    assert "no-such-flag" in command("serve", "--no-such-flag", code=command_code(command))


def test_serve_warns_about_a_misspelt_variable(command: Command, server: Any) -> None:
    command.environment |= {"FUSED_PROT": "9", "FUSED_PORT": "8783", "FUSED_BASE_URL": "http://127.0.0.1:1"}
    text = command("serve", "--help")
    assert "FUSED_PROT is no setting and has no effect; did you mean FUSED_PORT?" in text
    assert text.count("is no setting") == 1


def command_code(command: Command) -> int:
    """The server's own code for a wrong flag; only that it is not 0 matters here."""
    done = subprocess.run(
        [sys.executable, "-m", "fused", "serve", "--no-such-flag"],
        capture_output=True,
        env=command.environment,
        timeout=60,
    )
    assert done.returncode != 0
    return done.returncode


def test_login_checks_the_token_and_keeps_it_private(command: Command, server: Any, tmp_path: Path) -> None:
    assert "no token" in command("login", "--url", server.base_url, code=1)
    wrong = command("login", "--url", server.base_url, stdin="wrong\n", code=1)
    assert "does not know this token" in wrong
    assert "the file `token` of the server's data folder" in wrong
    assert not (tmp_path / ".fused" / "credentials").exists()
    out = command("login", "--url", server.base_url, "--token-file", str(server.data / "token"))
    assert "as owner@localhost" in out
    assert server.token not in out
    kept = tmp_path / ".fused" / "credentials"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["access_token"] == server.token
    assert "nothing" in command("udf", "list") or "NAME" in command("udf", "list")
    command("login", "--logout")
    assert not kept.exists()


def test_push_list_run_show_pull_share_and_rm(connected_command: Command, tmp_path: Path) -> None:
    fused_ = connected_command
    name = f"hello_{uuid.uuid4().hex[:8]}"
    assert f"saved {name}" in fused_("udf", "push", "hello.py", "--name", name)
    assert f"saved {name}" in fused_("udf", "push", "hello.py", "--name", name)
    assert "is saved already" in fused_("udf", "push", "hello.py", "--name", name, "--new", code=1)
    assert name in fused_("udf", "list")
    assert any(each["name"] == name for each in json.loads(fused_("udf", "list", "--json")))
    assert "[4 rows × 1 columns]" in fused_("run", name, "n=4")
    assert "def udf(n: int = LIMIT)" in fused_("udf", "show", name)
    assert fused_("udf", "pull", name).strip() == f"{name}.py"
    assert "--overwrite replaces it" in fused_("udf", "pull", name, code=1)
    compile((tmp_path / f"{name}.py").read_text(), name, "exec")
    made = fused_("token", "create", name, "--expires", "1h")
    token = made.split()[1]
    assert f"/realtime-shared/{token}/run/file" in made
    assert token in fused_("token", "list", name)
    assert "[2 rows" in fused_("run", token, "n=2")
    assert f"revoked {token}" in fused_("token", "rm", token)
    assert "no share tokens" in fused_("token", "list", name)
    assert "say -y" in fused_("udf", "rm", name, code=1)
    assert f"deleted {name}" in fused_("udf", "rm", name, "-y")
    assert "no saved function" in fused_("udf", "show", name, code=1)


def test_formats_go_to_files_and_pipes(connected_command: Command, tmp_path: Path) -> None:
    out = connected_command("run", "hello.py", "n=3", "-o", "out.parquet")
    assert "out.parquet: " in out
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 3
    text = connected_command("run", "hello.py", "n=2", "--format", "csv")
    assert text.split()[-2:] == ["0", "1"]
    about = connected_command("run", "hello.py", "n=2", "--verbose")
    assert "counting to 2" in about
    assert "request id" in about


def test_failures_show_the_traceback_and_the_logs_find_them(
    connected_command: Command, server: Any, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text("import fused\n@fused.udf\ndef udf():\n    print('before')\n    return 1 / 0\n")
    text = connected_command("run", "bad.py", code=1)
    assert "ZeroDivisionError" in text
    assert "return 1 / 0" in text
    run_id = text.split("request id ")[1].split(";")[0]
    deadline = time.monotonic() + 120
    while not list((server.data / "mount").glob(f"fused-system/logs/*/*/*/{run_id}")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for extra in ([], ["--data", str(server.data)]):
        log = connected_command("logs", run_id, "--code", *extra)
        assert "before" in log
        assert "ZeroDivisionError" in log
        assert "return 1 / 0" in log.split("--- code")[1]
        assert run_id in connected_command("logs", *extra)
        assert "--- stdout.log" in connected_command("logs", "--last", *extra)
    assert "there is no run 'nothing'" in connected_command("logs", "nothing", code=1)
    assert "is not there" in connected_command("logs", "--data", str(tmp_path / "none"), code=1)


def test_the_newest_run_comes_first_also_within_a_minute_and_lists_can_be_narrowed(
    connected_command: Command, server: Any, tmp_path: Path
) -> None:
    name = f"turns_{uuid.uuid4().hex[:8]}"
    (tmp_path / f"{name}.py").write_text("def udf(n: int = 1):\n    print('turn', n)\n    return 1 / (n - 2)\n")
    for n in (1, 2, 3):
        connected_command("run", f"{name}.py", f"n={n}", code=int(n == 2))
    deadline = time.monotonic() + 120
    listed = ""
    while listed.count(name) < 3 and time.monotonic() < deadline:
        listed = connected_command("logs", "--function", name)
    outcomes = [line.split()[3] for line in listed.splitlines()[1:]]
    assert outcomes == ["ok", "user_error", "ok"]
    began = [" ".join(line.split()[:2]) for line in listed.splitlines()[1:]]
    assert began == sorted(began, reverse=True)
    assert "turn 3" in connected_command("logs", "--last", "--function", name)
    failed = connected_command("logs", "--failed", "--function", name).splitlines()
    assert len(failed) == 2
    run_id = failed[1].split()[-1]
    assert "turn 2" in connected_command("logs", run_id[:13])
    assert "no run is like that" in connected_command("logs", "--function", "none", code=1)


def test_a_reader_that_goes_away_makes_no_noise(command: Command) -> None:
    (command.folder / "long.py").write_text("def udf():\n    return ['x' * 50] * 300\n")
    done = subprocess.run(
        f"{sys.executable} -m fused run long.py | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=command.folder,
        env=command.environment,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[\n", "")
