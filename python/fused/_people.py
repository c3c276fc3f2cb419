"""People of the organisation and their API tokens, over the routes below /api/v1."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fused._duration import parse_lifetime
from fused._transport import call_json
from fused.errors import NotFoundError

USERS = "/api/v1/users"


def users() -> list[dict[str, Any]]:
    """Everybody of the organisation for an owner, oneself for a member: ``id``, ``email``, ``role``, ``enabled``."""
    return list(call_json("GET", USERS, "listing users"))


def add_user(email: str, username: str | None = None, role: str = "member") -> dict[str, Any]:
    """Makes a user (owners only). The record has his first ``token``, which is shown this once."""
    name = username or "".join(c if c.isalnum() or c in "._-" else "-" for c in email.partition("@")[0].lower())
    value = {"email": email, "username": name, "role": role}
    return dict(call_json("POST", USERS, f"adding {email!r}", value=value))


def change_user(email: str, **changes: Any) -> dict[str, Any]:
    """``role="owner"`` or ``"member"``; ``enabled=False`` ends his tokens, his functions stay. Owners only."""
    return dict(call_json("POST", f"{USERS}/{_id_of(email)}", f"changing {email!r}", value=changes))


def api_tokens(email: str | None = None) -> list[dict[str, Any]]:
    """API tokens of oneself, or of a user that one may manage; never their text."""
    return list(call_json("GET", _tokens(email), "listing API tokens"))


def create_api_token(name: str, expires_in: str | int | None = None, email: str | None = None) -> dict[str, Any]:
    """A token for a program or another computer; the record's ``token`` is shown this once.

    ``expires_in``: ``"30d"`` or seconds; default: never.
    """
    value: dict[str, Any] = {"name": name}
    if expires_in is not None:
        value["expires_in"] = parse_lifetime(expires_in, "expires_in")
    return dict(call_json("POST", _tokens(email), f"making the API token {name!r}", value=value))


def revoke_api_token(which: str, email: str | None = None) -> dict[str, Any]:
    """Ends a token by its id, or by its name where only one has it."""
    found = [token for token in api_tokens(email) if which in (token["id"], token["name"])]
    if not found:
        raise NotFoundError(f"there is no API token {which!r}; `fused token api list` shows them", status=404)
    if len(found) > 1:
        raise ValueError(
            f"{len(found)} API tokens are called {which!r}: revoke by id, which `fused token api list` shows"
        )
    return dict(call_json("DELETE", f"{_tokens(email)}/{found[0]['id']}", f"revoking {which!r}"))


def _tokens(email: str | None) -> str:
    return f"{USERS}/{'self' if email is None else _id_of(email)}/tokens"


def _id_of(email: str) -> str:
    known = users()
    for user in known:
        if email.lower() in (user["email"].lower(), user["username"], user["id"]):
            return quote(user["id"], safe="")
    raise NotFoundError(
        f"you may manage no user {email!r}; there are {', '.join(user['email'] for user in known)}", status=404
    )
