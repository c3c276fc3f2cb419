"""``~/.fused/settings.toml`` and ``~/.fused/credentials``: what ``fused login`` writes and every later start reads.

The credentials file has the keys of the official client's, so that both may share it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from fused.errors import ConfigurationError


def folder() -> Path:
    """``~/.fused``, or what ``FUSED_HOME`` names."""
    return Path(os.environ.get("FUSED_HOME") or Path.home() / ".fused")


def settings_path() -> Path:
    """Options, as TOML."""
    return folder() / "settings.toml"


def credentials_path() -> Path:
    """The token and the server it is for, as JSON."""
    return folder() / "credentials"


def read_settings() -> dict[str, Any]:
    """The file's keys; empty when there is none. ``ConfigurationError`` names file and line when it is not TOML."""
    try:
        text = settings_path().read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{settings_path()} is not TOML: {error}; mend it or write it anew with `fused login`"
        ) from None


def write_settings(values: dict[str, Any]) -> Path:
    """Writes the file whole: strings, numbers, flags and flat tables."""
    lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
    return _write(settings_path(), "\n".join(lines) + "\n", 0o644)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)


def read_credentials() -> dict[str, Any] | None:
    """None when there are none; ``ConfigurationError`` when the file cannot be used."""
    path = credentials_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("access_token"), str):
        raise ConfigurationError(f"{path} is not a credentials file; write it anew with `fused login`")
    return value


def write_credentials(token: str, base_url: str, scheme: str = "Bearer") -> Path:
    """Mode 0600; complete before it has its name."""
    value = {
        "access_token": token,
        "auth_scheme": scheme,
        "base_url": base_url,
        "refresh_token": "",
        "id_token": "",
        "scope": "",
        "expires_in": 2_000_000_000,
        "expires_at": "2099-01-01T00:00:00+00:00",
    }
    return _write(credentials_path(), json.dumps(value, indent=1) + "\n", 0o600)


def _write(path: Path, text: str, mode: int) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path
