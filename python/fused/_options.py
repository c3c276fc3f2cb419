"""``fused.options``: where the server is and how it is spoken to.

Each value is found in this order: what was set on the object, ``FUSED_BASE_URL`` / ``FUSED_AUTH_TOKEN`` (and
``FUSED_CACHE_DIR``), ``~/.fused/settings.toml`` with ``~/.fused/credentials``. With no server known, functions run
here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fused import _settings_file
from fused._inside import channel
from fused.errors import ConfigurationError
from fused.warnings import FusedIgnoredWarning, warn_caller

API_PREFIX = "/server/v1"
AUTH_SCHEMES = ("Bearer", "Fused-Env-Bearer", "Fused-Rtenv-Bearer", "Fused-Service-Token")
FORMATS = [
    "parquet",
    "geojson",
    "json",
    "csv",
    "mvt",
    "feather",
    "arrow",
    "xlsx",
    "excel",
    "xml",
    "html",
    "txt",
    "png",
    "jpeg",
    "jpg",
    "webp",
    "gif",
    "apng",
    "svg",
    "tiff",
    "tif",
    "npy",
    "zip",
]


def clean_url(value: Any, what: str = "base_url") -> str:
    """``http://host:port`` gets the API's path; a URL with a path is kept. ``ValueError`` for what is no http(s)
    URL.
    """
    text = str(value).strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{what}={value!r} is not a server's address: write http://127.0.0.1:8783 or https://host/server/v1"
        )
    if parts.username or parts.query or parts.fragment:
        raise ValueError(f"{what}={value!r} may have no user name, query or fragment")
    return text if parts.path else text + API_PREFIX


def _positive(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{what}={value!r} is not a number of seconds above 0")
    return float(value)


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what}={value!r} is not a whole number from 0 up")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or re.search(r"[\r\n\0]", value):
        raise ValueError(f"{what} is a text of one line")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what}={value!r} is not True or False")
    return value


def _path(value: Any, what: str) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{what}={value!r} is not a folder's path")
    return Path(value).expanduser()


def _engine(value: Any, what: str) -> str:
    if value not in ("local", "remote", "realtime"):
        raise ValueError(f"{what}={value!r} is unknown; engines are 'remote' and 'local'")
    return "local" if value == "local" else "remote"


def _scheme(value: Any, what: str) -> str:
    for scheme in AUTH_SCHEMES:
        if str(value).lower() == scheme.lower():
            return scheme
    raise ValueError(f"{what}={value!r} is unknown; schemes are {', '.join(AUTH_SCHEMES)}")


def _formats(value: Any, what: str) -> str:
    names = [part.strip() for part in str(value).split(",")]
    wrong = [name for name in names if name not in FORMATS]
    if wrong:
        raise ValueError(
            f"{what}={value!r}: {', '.join(map(repr, wrong))} is no format; formats are {', '.join(FORMATS)}"
        )
    return ",".join(names)


def _headers(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{what}={value!r} is not a dictionary of header names and values")
    return {_text(name, what): _text(text, what) for name, text in value.items()}


@dataclass(frozen=True)
class Option:
    """How one option is checked, its default, its environment variable and what it says in ``repr``."""

    check: Callable[[Any, str], Any]
    default: Any
    about: str
    variable: str | None = None


OPTIONS: dict[str, Option] = {
    "base_url": Option(clean_url, None, "the server, as http://127.0.0.1:8783", "FUSED_BASE_URL"),
    "shared_udf_base_url": Option(clean_url, None, "where share tokens are run; default: base_url/realtime-shared"),
    "auth_token": Option(_text, None, "the token that says who asks", "FUSED_AUTH_TOKEN"),
    "auth_token_type": Option(_scheme, "Bearer", "its scheme in the Authorization header", "FUSED_AUTH_TOKEN_TYPE"),
    "request_timeout": Option(_positive, 30.0, "seconds one HTTP request may take"),
    "run_timeout": Option(_positive, 130.0, "seconds a run is waited for"),
    "request_max_retries": Option(_count, 5, "repeats after 429, 502, 503 and broken connections"),
    "request_retry_base_delay": Option(_positive, 0.25, "seconds before the first repeat, doubled each time"),
    "realtime_client_id": Option(_text, None, "the environment to run in; default: asked of the server"),
    "max_recursion_factor": Option(_count, 5, "how deep functions may call functions with engine='local'"),
    "default_run_headers": Option(_headers, {}, "HTTP headers sent with every request"),
    "default_udf_run_engine": Option(_engine, None, "'remote' or 'local'; default: remote when a server is known"),
    "default_dtype_out_raster": Option(_formats, "npy,tiff", "formats asked for arrays, best first"),
    "default_dtype_out_vector": Option(_formats, "parquet", "formats asked for tables"),
    "default_dtype_out_simple": Option(_formats, "json", "formats asked for other values"),
    "verbose_udf_runs": Option(_flag, False, "print what a function printed on the server"),
    "cache_directory": Option(_path, None, "where results computed here are kept", "FUSED_CACHE_DIR"),
}


class Options:
    """All options as attributes; setting one checks it. ``del fused.options.base_url`` goes back to what was found."""

    def __init__(self) -> None:
        object.__setattr__(self, "_set", {})
        object.__setattr__(self, "_file", None)

    def __getattr__(self, name: str) -> Any:
        if name not in OPTIONS:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(f"fused.options has no {name!r}; it has {', '.join(OPTIONS)}")
        return self._find(name)[0]

    def _find(self, name: str) -> tuple[Any, str]:
        """The value and where it came from: "set", the variable's name, the file's path or "default"."""
        option = OPTIONS[name]
        if name in self._set:
            return self._set[name], "set"
        if channel() is None:
            given = os.environ.get(option.variable, "") if option.variable else ""
            if given:
                try:
                    return option.check(given, option.variable or name), str(option.variable)
                except ValueError as error:
                    raise ConfigurationError(str(error)) from None
            if name in self._from_file():
                return self._from_file()[name], str(_settings_file.settings_path())
        if name == "shared_udf_base_url":
            base = self.base_url
            return (None if base is None else f"{base}/realtime-shared"), "default"
        default = option.default
        return (dict(default) if isinstance(default, dict) else default), "default"

    def _from_file(self) -> dict[str, Any]:
        if self._file is None:
            kept = {}
            path = _settings_file.settings_path()
            unknown = []
            for name, value in _settings_file.read_settings().items():
                if name not in OPTIONS:
                    unknown.append(name)
                    continue
                try:
                    kept[name] = OPTIONS[name].check(value, f"{name} in {path}")
                except ValueError as error:
                    raise ConfigurationError(str(error)) from None
            if unknown:
                message = f"{path} sets {', '.join(sorted(unknown))}, which this version does not know"
                warn_caller(message, FusedIgnoredWarning)
            object.__setattr__(self, "_file", kept)
        return self._file or {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in OPTIONS:
            raise AttributeError(f"fused.options has no {name!r}; it has {', '.join(OPTIONS)}")
        if value is None:
            self._set.pop(name, None)
        else:
            self._set[name] = OPTIONS[name].check(value, f"fused.options.{name}")
        if name == "base_url":
            self._set.pop("realtime_client_id", None)

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def authorization(self) -> str | None:
        """``"Bearer …"`` for the server in force, or None.

        The token of the credentials file goes only to the server it was made for: the one it names, else the one of the
        settings file. A token from the environment or set here goes to whatever server is set.
        """
        token, _ = self._find("auth_token")
        if token is not None:
            return f"{self.auth_token_type} {token}"
        if channel() is not None:
            return None
        credentials = _settings_file.read_credentials()
        base = self.base_url
        if credentials is None or base is None:
            return None
        own = credentials.get("base_url") or self._from_file().get("base_url")
        if own is None or _origin(clean_url(own)) != _origin(base):
            return None
        return f"{credentials.get('auth_scheme') or 'Bearer'} {credentials['access_token']}"

    def reload(self) -> None:
        """Reads the settings file again the next time it is needed."""
        object.__setattr__(self, "_file", None)

    def save(self) -> Path:
        """Writes what was set on this object into ``~/.fused/settings.toml``, beside what stands there; never a
        token.
        """
        kept = {name: value for name, value in self._set.items() if name != "auth_token"}
        path = _settings_file.write_settings({**_settings_file.read_settings(), **kept})
        self.reload()
        return path

    def __dir__(self) -> list[str]:
        return [*OPTIONS, "authorization", "reload", "save"]

    def __repr__(self) -> str:
        lines = ["fused.options"]
        for name, option in OPTIONS.items():
            value, source = self._find(name)
            shown = "'…'" if name == "auth_token" and value is not None else repr(value)
            lines.append(f"  {name} = {shown}  # {option.about}{'' if source == 'default' else f' [{source}]'}")
        return "\n".join(lines)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


options = Options()


def set_environment(url: str) -> None:
    """``fused._env("http://host:port")``: this server from now on, with the share-token address and client id that
    go with it.
    """
    options.base_url = url
    options.shared_udf_base_url = None
