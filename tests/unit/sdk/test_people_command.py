"""``fused token api …`` and ``fused user …`` against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import PYTHON


def fused(server: Any, *arguments: str, token: str = "", code: int = 0) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FUSED_")},
        "PYTHONPATH": str(PYTHON),
        "FUSED_BASE_URL": server.base_url,
        "FUSED_AUTH_TOKEN": token or server.token,
    }
    done = subprocess.run(
        [sys.executable, "-m", "fused", *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def token_in(text: str) -> str:
    found = re.search(r"^token\s+(fut_\w+)$", text, re.M)
    assert found, text
    return found[1]


def test_an_api_token_is_shown_once_signs_in_and_is_revoked(server: Any) -> None:
    made = fused(server, "token", "api", "create", "laptop", "--expires", "30d")
    token = token_in(made)
    assert "expires  20" in made
    listed = fused(server, "token", "api", "list", token=token)
    assert "laptop" in listed and token not in listed
    assert "revoked laptop" in fused(server, "token", "api", "revoke", "laptop")
    assert "token" in fused(server, "token", "api", "list", token=token, code=1)
    assert "no API token 'laptop'" in fused(server, "token", "api", "revoke", "laptop", code=1)


def test_two_tokens_of_one_name_are_revoked_by_id(server: Any) -> None:
    for _ in range(2):
        fused(server, "token", "api", "create", "twin")
    assert "2 API tokens are called 'twin'" in fused(server, "token", "api", "revoke", "twin", code=1)
    ids = re.findall(r"^twin\s.*\s(\S+)$", fused(server, "token", "api", "list"), re.M)
    assert len(ids) == 2
    fused(server, "token", "api", "revoke", *ids)
    assert "twin" not in fused(server, "token", "api", "list")


def test_people_come_change_their_role_and_go(server: Any) -> None:
    email = "people-command@example.org"
    token = token_in(fused(server, "user", "add", email))
    assert re.search(rf"^{email}\s+member\s+people-command\s+yes$", fused(server, "user", "list"), re.M)
    assert "owners" in fused(server, "user", "add", "other@example.org", token=token, code=1)
    assert "you may manage no user 'owner@localhost'" in fused(
        server, "token", "api", "list", "--user", "owner@localhost", token=token, code=1
    )
    assert f"{email} is owner now" in fused(server, "user", "role", email, "owner")
    assert "owner@localhost" in fused(server, "user", "list", token=token), "the token has the new role"
    assert f"{email} is member now" in fused(server, "user", "role", email, "member")
    assert "last owner" in fused(server, "user", "role", "owner@localhost", "member", code=1)
    assert "last owner" in fused(server, "user", "rm", "owner@localhost", code=1)
    assert "shut out" in fused(server, "user", "rm", email)
    fused(server, "user", "list", token=token, code=1)
    assert "enabled" in fused(server, "user", "enable", email)
    fused(server, "user", "list", token=token, code=1)
    fresh = token_in(fused(server, "token", "api", "create", "first", "--user", email))
    assert email in fused(server, "user", "list", token=fresh)


@pytest.mark.parametrize(
    "words",
    ["token", "token create", "token list", "token rm", "token api", "token api create", "token api list",
     "token api revoke", "user", "user add", "user list", "user role", "user rm", "user enable"],
)  # fmt: skip
def test_each_help_has_an_example(server: Any, words: str) -> None:
    assert f"  fused {words}" in fused(server, *words.split(), "--help").partition("examples:")[2]
