"""Pointing the client at the server, and who one is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import fused


def fresh(code: str, home: Path, environment: dict[str, str]) -> str:
    """Runs `code` in a new process with another home: nothing of this one's settings is left."""
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=90,
        env={**keep, "HOME": str(home), **environment},
        cwd=home,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout.strip()


# The client takes a function's source from its file.
PROGRAM = """
import importlib.util, pathlib
path = pathlib.Path("program.py")
path.write_text('''import fused
@fused.udf
def udf(n: int = 1):
    import pandas as pd
    return pd.DataFrame({"n": [n + 1]})
''')
spec = importlib.util.spec_from_file_location("program", path)
program = importlib.util.module_from_spec(spec)
"""


def test_settings_toml_is_enough_with_an_environment_token(tmp_path, url, token, is_v2):
    (tmp_path / ".fused").mkdir()
    lines = [f'base_url = "{url}/server/v1"', f'shared_udf_base_url = "{url}/server/v1/realtime-shared"']
    (tmp_path / ".fused" / "settings.toml").write_text("\n".join(lines[: 2 if is_v2 else 1]) + "\n")
    code = (
        PROGRAM
        + "spec.loader.exec_module(program); import fused; print(fused.run(program.udf, n=4, engine='remote')['n'][0])"
    )
    assert fresh(code, tmp_path, {"FUSED_AUTH_TOKEN": token, "FUSED_AUTH_TOKEN_TYPE": "Fused-Env-Bearer"}) == "5"


def test_options_set_in_the_program_are_enough(tmp_path, url, token, is_v2):
    code = (
        PROGRAM
        + f"""
import fused
fused.options.base_url = "{url}/server/v1"
if {is_v2}: fused.options.shared_udf_base_url = "{url}/server/v1/realtime-shared"
spec.loader.exec_module(program)
print(fused.run(program.udf, n=4, engine='remote')['n'][0])
"""
    )
    assert fresh(code, tmp_path, {"FUSED_AUTH_TOKEN": token, "FUSED_AUTH_TOKEN_TYPE": "Fused-Rtenv-Bearer"}) == "5"


@pytest.mark.v2
@pytest.mark.parametrize("path", ["", "/server/v1"])
def test_env_with_the_servers_address_is_enough(tmp_path, url, token, path):
    code = (
        PROGRAM
        + f"""
import fused
fused._env("{url}{path}")
spec.loader.exec_module(program)
print(fused.run(program.udf, n=4)['n'][0])
program.udf.to_fused()
token = program.udf.create_access_token().token
print(fused.run(token, n=9)['n'][0])
program.udf.delete_saved()
"""
    )
    for kind in ("Fused-Env-Bearer", "Fused-Rtenv-Bearer", "Fused-Service-Token"):
        out = fresh(code, tmp_path, {"FUSED_AUTH_TOKEN": token, "FUSED_AUTH_TOKEN_TYPE": kind})
        assert out.split()[0] == "5" and out.split()[-1] == "10"


def test_a_credentials_file_works_and_makes_remote_the_default(tmp_path, url, token, is_v2):
    folder = tmp_path / ".fused"
    folder.mkdir()
    (folder / "credentials").write_text(
        json.dumps(
            {
                "access_token": token,
                "auth_scheme": "Bearer",
                "refresh_token": "none",
                "id_token": "none",
                "scope": "openid",
                "expires_in": 2_000_000_000,
                "expires_at": "2099-01-01T00:00:00+00:00",
            }
        )
    )
    (folder / "settings.toml").write_text(f'base_url = "{url}/server/v1"\n')
    code = PROGRAM + "spec.loader.exec_module(program); import fused; print(fused.run(program.udf, n=4)['n'][0])"
    assert fresh(code, tmp_path, {}) == "5"


def test_whoami_has_the_owner(email):
    assert "@" in email


def test_the_servers_health_as_the_client_asks(url):
    reply = requests.get(f"{url}/server/v1/health", timeout=120)
    assert reply.status_code == 200


@pytest.mark.v2
def test_team_info_answers():
    assert fused.api.team_info()["id"]


def test_the_environment_token_is_given_back(token):
    assert fused.api.FusedAPI().auth_token() == token


def test_no_request_is_made_at_import(tmp_path):
    (tmp_path / ".fused").mkdir()
    (tmp_path / ".fused" / "settings.toml").write_text('base_url = "http://127.0.0.1:9/server/v1"\n')
    assert fresh("import fused; print('imported')", tmp_path, {}) == "imported"


def test_without_a_token_the_server_refuses_in_json(url):
    reply = requests.get(f"{url}/server/v1/user/self", timeout=120)
    assert reply.status_code == 401 and reply.headers["content-type"] == "application/json"
    assert reply.json()["message"]


def test_every_scheme_carries_the_token(url, token, email):
    for scheme in ("Bearer", "Fused-Rtenv-Bearer", "Fused-Env-Bearer", "Fused-Service-Token"):
        reply = requests.get(f"{url}/server/v1/user/self", headers={"Authorization": f"{scheme} {token}"}, timeout=120)
        assert reply.json()["email"] == email, scheme


def test_recursion_beyond_the_limit_is_refused_by_the_server(url, token):
    @fused.udf
    def udf():
        return 1

    body = {"step_config": json.dumps({"type": "udf", "udf": json.loads(udf.model_dump_json())}), "format": "json"}
    address = f"{url}/server/v1/realtime/local/api/v1/run/udf"
    for depth, expected in (("5", {200}), ("6", {400, 403, 422, 429, 508})):
        reply = requests.post(
            address, json=body, timeout=120, headers={"Authorization": f"Bearer {token}", "Fused-Recursion": depth}
        )
        assert reply.status_code in expected, (depth, reply.status_code, reply.text)


def test_metadata_stays_below_the_async_clients_header_limit(url, token):
    @fused.udf
    def udf():
        import sys

        print("é" * 100_000)
        print("é" * 100_000, file=sys.stderr)
        raise ValueError("é" * 100_000)

    body = {"step_config": json.dumps({"type": "udf", "udf": json.loads(udf.model_dump_json())}), "format": "json"}
    reply = requests.post(
        f"{url}/server/v1/realtime/local/api/v1/run/udf/start",
        json=body,
        timeout=120,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert reply.status_code == 422 and reply.headers["content-type"] == "application/json"
    assert len(reply.headers["x-fused-metadata"]) < 12_000
    metadata = json.loads(reply.headers["x-fused-metadata"])
    assert (
        metadata["errormsg"]
        and metadata["exception_class"] == "ValueError"
        and metadata["error_type"] == "runtime_error"
    )


def test_a_repeated_start_with_one_run_id_runs_once(url, token):
    import uuid

    @fused.udf
    def udf():
        import uuid

        return str(uuid.uuid4())

    body = {"step_config": json.dumps({"type": "udf", "udf": json.loads(udf.model_dump_json())}), "format": "json"}
    headers = {"Authorization": f"Bearer {token}", "Fused-Run-Id": str(uuid.uuid4())}
    address = f"{url}/server/v1/realtime/local/api/v1/run/udf/start"
    first, second = (requests.post(address, json=body, timeout=120, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
