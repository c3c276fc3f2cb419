"""``fused.api``: the server's records: who is signed in, saved functions, share tokens, jobs, schedules."""

from __future__ import annotations

from typing import Any

from fused import _saved, _settings_file
from fused._invalidate import invalidate_cache
from fused._jobs.by_id import (
    job_cancel,
    job_get_exec_time,
    job_get_logs,
    job_get_results,
    job_get_status,
    job_print_logs,
    job_tail_logs,
    job_wait_for_job,
    job_wait_for_results,
)
from fused._jobs.schedule import schedule_list, schedule_udf
from fused._options import options
from fused._people import add_user, api_tokens, change_user, create_api_token, revoke_api_token, users
from fused._transport import call_json
from fused.errors import AuthenticationError
from fused.models.access_token import UdfAccessToken, UdfAccessTokenList
from fused.models.udf import Udf

__all__ = [
    "access_token",
    "add_user",
    "api_tokens",
    "auth_scheme",
    "change_user",
    "create_api_token",
    "get_udf_access_token",
    "get_udf_access_tokens",
    "get_udfs",
    "health",
    "invalidate_cache",
    "job_cancel",
    "job_get_exec_time",
    "job_get_logs",
    "job_get_results",
    "job_get_status",
    "job_print_logs",
    "job_tail_logs",
    "job_wait_for_job",
    "job_wait_for_results",
    "logout",
    "revoke_api_token",
    "schedule_list",
    "schedule_udf",
    "team_info",
    "users",
    "whoami",
]


def whoami() -> dict[str, Any]:
    """The user whose token is in force: ``email``, ``username``, ``execution_environment_id`` and more."""
    return _saved.whoami()


def team_info() -> dict[str, Any]:
    """The organisation of that user."""
    return dict(call_json("GET", "/execution-env/self", "asking about the organisation"))


def health() -> dict[str, Any]:
    """Version, isolation, workers and queue of the server; without a token status and version alone."""
    return dict(call_json("GET", "/health", "asking how the server is"))


def access_token() -> str:
    """The token in force; ``AuthenticationError`` when there is none. It is a secret: keep it out of logs."""
    return _authorization().split(" ", 1)[1]


def auth_scheme() -> str:
    """The scheme that token is sent with, as ``"Bearer"``."""
    return _authorization().split(" ", 1)[0]


def _authorization() -> str:
    value = options.authorization()
    if value is None:
        raise AuthenticationError("no token is set: sign in with `fused login`, or set FUSED_AUTH_TOKEN", status=401)
    return value


def logout() -> None:
    """Forgets the token: the one set in ``fused.options`` and the credentials file. The environment's stays."""
    options.auth_token = None
    _settings_file.credentials_path().unlink(missing_ok=True)


def get_udfs(
    n: int | None = None, skip: int = 0, by: str = "name", whose: str = "self", collection_name: str | None = None
) -> dict[str, Udf]:
    """Saved functions. ``by``: keys are ``"name"``, ``"slug"`` or ``"id"``; ``whose``: ``"self"``, ``"team"``,
    ``"public"``.
    """
    return _saved.list_saved(n, skip, by, whose, collection_name)


def get_udf_access_tokens(udf: Udf | None = None) -> UdfAccessTokenList:
    """All share tokens of the user, or those of one saved function."""
    return _saved.access_tokens(udf)


def get_udf_access_token(token: str) -> UdfAccessToken:
    """The record of one share token."""
    return UdfAccessToken(token).refresh()
