"""A setting that does not exist or cannot be stops the start, and is named with what was probably meant."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PYTHON, SERVER, need_server, start_server, stop_server
from tests.flow.calls import run

MISSPELT = {
    "--prot 1": ("'--prot'", "'--port'"),
    "--prot=1": ("'--prot'", "'--port'"),
    "--worker 3": ("'--worker'", "'--workers'"),
    "--limit-memory-byte 1G": ("'--limit-memory-byte'", "'--limit-memory-bytes'"),
    "--s3-endpont http://127.0.0.1:9000": ("'--s3-endpont'", "'--s3-endpoint'"),
    "--colour": ("'--colour'", "--help"),
}
IMPOSSIBLE = {
    "--port 70000": ("--port", "70000"),
    "--limit-memory-bytes 1": ("--limit-memory-bytes", "268435456"),
    "--limit-memory-bytes 200MiB": ("--limit-memory-bytes", "268435456"),
    "--limit-processes 0": ("--limit-processes", "8"),
    "--limit-descriptors 3": ("--limit-descriptors", "64"),
    "--limit-stream-bytes -1": ("--limit-stream-bytes", "-1"),
    "--limit-wall-ms 0": ("--limit-wall-ms", "0"),
    "--s3-endpoint localhost:9000": ("--s3-endpoint", "localhost:9000"),
    "--s3-endpoint http://user@host": ("--s3-endpoint", "user@host"),
}


def refused(*arguments: str, **variables: str) -> str:
    need_server()
    settings = {name: value for name, value in os.environ.items() if not name.startswith("FUSED_")}
    settings |= {"FUSED_PYTHON": sys.executable, "PYTHONPATH": str(PYTHON), **variables}
    ended = subprocess.run([str(SERVER), *arguments], capture_output=True, text=True, env=settings, timeout=60)
    assert ended.returncode == 2, ended
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("arguments", MISSPELT)
def test_a_flag_that_does_not_exist_is_named_with_the_nearest(arguments: str) -> None:
    said = refused(*arguments.split())
    for part in MISSPELT[arguments]:
        assert part in said
    assert "Directory does not exist" not in said


@pytest.mark.parametrize("arguments", IMPOSSIBLE)
def test_a_value_that_cannot_be_is_refused_with_what_can(arguments: str) -> None:
    said = refused(*arguments.split())
    for part in IMPOSSIBLE[arguments]:
        assert part in said


def test_a_folder_that_is_not_there_is_wrong_usage_and_nothing_is_made(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path / "data"), "nofolder")
    assert said.startswith("fused serve: ") and "nofolder" in said
    assert not (tmp_path / "data").exists()


def test_a_taken_port_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    need_server()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [str(SERVER), "--port", str(port), "--data", str(tmp_path / "data")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr and "choose another --port" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_that_cannot_run_functions_ends_the_server_and_is_named(tmp_path: Path) -> None:
    need_server()
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)  # without numpy
    python = str(bare / "bin" / "python")
    command = [str(SERVER), "--port", "0", "--data", str(tmp_path / "data"), "--python", python]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={"PYTHONPATH": str(PYTHON)}
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1 and f"{python} cannot run functions" in said, said
    assert "ModuleNotFoundError" in said and "with --python" in said


def test_a_variable_with_an_impossible_value_is_refused() -> None:
    assert "268435456" in refused(FUSED_LIMIT_MEMORY_BYTES="1")


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("prot = 9000", ("'prot'", "'port'")),
        ('limit-memory-byte = "1G"', ("'limit-memory-byte'", "'limit-memory-bytes'")),
        ("[server]\nport = 9000", ("'server.port'",)),
        ("port = 70000", ("--port",)),
    ],
)
def test_a_name_in_the_file_that_is_no_setting_is_named(tmp_path: Path, line: str, parts: tuple[str, ...]) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"host = '127.0.0.1'\n{line}\n")
    said = refused("--config", str(file), "--data", str(tmp_path / "data"))
    for part in parts:
        assert part in said
    if parts[0].startswith("'"):
        assert str(file) in said
    assert not (tmp_path / "data").exists(), "nothing is made before the settings are good"


def test_functions_reach_the_object_store_that_is_named(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--s3-endpoint", "http://127.0.0.1:9000", workers=1)
    try:
        code = "def udf():\n    import os\n    return os.environ.get('AWS_ENDPOINT_URL')"
        assert run(server, code).json() == "http://127.0.0.1:9000"
    finally:
        stop_server(server)
