"""Where the server is found, and which token goes where."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import fused
from fused import _settings_file
from fused._options import Options
from fused.errors import AuthenticationError, ConfigurationError, TransportError
from fused.warnings import FusedIgnoredWarning


def test_with_nothing_set_there_is_no_server() -> None:
    assert fused.options.base_url is None
    assert fused.options.shared_udf_base_url is None
    assert fused.options.authorization() is None


def test_the_order_is_options_then_environment_then_files(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings_file.write_settings({"base_url": "http://file:1"})
    _settings_file.write_credentials("file-token", "http://file:1")
    fused.options.reload()
    assert fused.options.base_url == "http://file:1/server/v1"
    assert fused.options.authorization() == "Bearer file-token"
    monkeypatch.setenv("FUSED_BASE_URL", "http://variable:2")
    monkeypatch.setenv("FUSED_AUTH_TOKEN", "variable-token")
    monkeypatch.setenv("FUSED_AUTH_TOKEN_TYPE", "fused-env-bearer")
    assert fused.options.base_url == "http://variable:2/server/v1"
    assert fused.options.authorization() == "Fused-Env-Bearer variable-token"
    fused.options.base_url = "http://set:3"
    fused.options.auth_token = "set-token"
    assert fused.options.base_url == "http://set:3/server/v1"
    assert fused.options.authorization() == "Fused-Env-Bearer set-token"
    del fused.options.base_url
    assert fused.options.base_url == "http://variable:2/server/v1"


def test_the_token_of_the_file_goes_only_to_its_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    _settings_file.write_settings({"base_url": "http://home:1"})
    _settings_file.write_credentials("secret", "http://home:1")
    fused.options.reload()
    monkeypatch.setenv("FUSED_BASE_URL", "http://elsewhere:1")
    assert fused.options.authorization() is None
    fused.options.base_url = "http://home:1/other/path"
    assert fused.options.authorization() == "Bearer secret"


def test_the_official_clients_credentials_belong_to_the_server_of_the_settings() -> None:
    path = _settings_file.credentials_path()
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"access_token": "theirs", "auth_scheme": "Bearer"}))
    fused.options.base_url = "http://set:1"
    assert fused.options.authorization() is None
    _settings_file.write_settings({"base_url": "http://set:1"})
    fused.options.reload()
    assert fused.options.authorization() == "Bearer theirs"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8783", "http://127.0.0.1:8783/server/v1"),
        ("http://127.0.0.1:8783/", "http://127.0.0.1:8783/server/v1"),
        ("https://host/server/v1/", "https://host/server/v1"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_a_bare_host_gets_the_path(url: str, kept: str) -> None:
    fused.options.base_url = url
    assert fused.options.base_url == kept
    assert fused.options.shared_udf_base_url == f"{kept}/realtime-shared"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("base_url", "127.0.0.1:8783", "is not a server's address"),
        ("base_url", "ftp://x", "is not a server's address"),
        ("base_url", "http://user:pw@host", "no user name"),
        ("request_timeout", 0, "above 0"),
        ("request_timeout", "5", "above 0"),
        ("request_max_retries", -1, "from 0 up"),
        ("auth_token", "a\nb", "one line"),
        ("auth_token_type", "Basic", "schemes are Bearer"),
        ("default_udf_run_engine", "cloud", "'remote' and 'local'"),
        ("default_dtype_out_vector", "shp", "'shp' is no format"),
        ("verbose_udf_runs", 1, "True or False"),
        ("default_run_headers", [1], "dictionary of header names"),
        ("cache_directory", 3, "folder's path"),
    ],
)
def test_impossible_values_are_refused_when_they_are_set(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        setattr(fused.options, name, value)


def test_unknown_options_name_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no 'colour'; it has base_url"):
        fused.options.colour = 1
    with pytest.raises(AttributeError, match="no 'colour'"):
        _ = fused.options.colour


def test_a_wrong_variable_or_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSED_BASE_URL", "nonsense")
    with pytest.raises(ConfigurationError, match="FUSED_BASE_URL='nonsense'"):
        _ = fused.options.base_url
    monkeypatch.delenv("FUSED_BASE_URL")
    path = _settings_file.write_settings({"request_timeout": -1})
    fused.options.reload()
    with pytest.raises(ConfigurationError, match=f"request_timeout in {path}"):
        _ = fused.options.base_url
    path.write_text("base_url = ")
    fused.options.reload()
    with pytest.raises(ConfigurationError, match="is not TOML"):
        _ = fused.options.base_url
    path.write_text('no_such_thing = 1\nbase_url = "http://a:1"\n')
    fused.options.reload()
    with pytest.warns(FusedIgnoredWarning, match="sets no_such_thing"):
        assert fused.options.base_url == "http://a:1/server/v1"


def test_saving_writes_what_was_set_but_never_the_token() -> None:
    fused.options.base_url = "http://a:1"
    fused.options.auth_token = "secret"
    fused.options.request_timeout = 7
    fused.options.default_run_headers = {"X-Thing": 'a "b"'}
    path = fused.options.save()
    assert "secret" not in path.read_text()
    fresh = Options()
    assert (fresh.base_url, fresh.request_timeout) == ("http://a:1/server/v1", 7.0)
    assert fresh.default_run_headers == {"X-Thing": 'a "b"'}


def test_credentials_are_readable_by_their_owner_alone() -> None:
    path = _settings_file.write_credentials("secret", "http://a:1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) >= {
        "access_token",
        "auth_scheme",
        "refresh_token",
        "expires_at",
        "expires_in",
    }
    path.write_text("nonsense")
    fused.options.base_url = "http://a:1"
    with pytest.raises(ConfigurationError, match="fused login"):
        fused.options.authorization()


def test_repr_shows_values_and_sources_but_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSED_AUTH_TOKEN", "secret")
    fused.options.base_url = "http://a:1"
    text = repr(fused.options)
    assert "secret" not in text
    assert "base_url = 'http://a:1/server/v1'" in text
    assert "[FUSED_AUTH_TOKEN]" in text


def test_env_switches_the_server() -> None:
    fused.options.shared_udf_base_url = "http://old:1/x"
    fused._env("http://new:2")
    assert fused.options.base_url == "http://new:2/server/v1"
    assert fused.options.shared_udf_base_url == "http://new:2/server/v1/realtime-shared"


def test_the_api_without_a_token_says_what_to_do() -> None:
    with pytest.raises(AuthenticationError, match="fused login"):
        fused.api.access_token()
    fused.options.auth_token = "abc"
    assert (fused.api.auth_scheme(), fused.api.access_token()) == ("Bearer", "abc")
    fused.api.logout()
    with pytest.raises(AuthenticationError):
        fused.api.access_token()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    fused.options.base_url = "http://127.0.0.1:9"
    with pytest.raises(TransportError, match=r"cannot reach http://127.0.0.1:9 \(.*refused.*fused serve"):
        fused.api.whoami()


def test_netrc_is_not_sent_instead_of_the_token(tmp_path: Path) -> None:
    # requests would look into ~/.netrc for the host and replace our Authorization header.
    code = """
import fused, requests
from fused import _transport
fused.options.base_url = "http://127.0.0.1:9"
session = _transport._session()
asked = requests.Request("GET", "http://127.0.0.1:9/x", headers={"Authorization": "Bearer t"})
prepared = session.prepare_request(asked)
print(prepared.headers["Authorization"])
"""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(fused.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "Bearer t\n"
