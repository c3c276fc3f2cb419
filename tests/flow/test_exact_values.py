"""Values reach the function as they were sent, whichever way; what cannot be kept is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.flow.calls import headers_of, run

ECHO = "def udf(v: float = 0.0, n: int = 0):\n    return [repr(v), n]\n"


def test_numbers_in_json_are_read_as_python_reads_them(server: Server) -> None:
    numbers = [98.89257998401081, 5e-324, 1.7976931348623157e308, -0.1]
    numbers += [random.Random(7).uniform(-180, 180) for _ in range(30)]
    for number in numbers:
        assert run(server, ECHO, {"v": number}).json()[0] == repr(number)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63)])
def test_whole_numbers_of_64_bits_are_kept(server: Server, number: int) -> None:
    assert run(server, ECHO, {"n": number}).json()[1] == number


def test_larger_ones_are_refused_and_travel_as_text(server: Server) -> None:
    refused = run(server, ECHO, {"n": 2**64 + 1})
    assert refused.status_code == 400 and "does not fit into 64 bits; send it as text" in refused.json()["message"]
    assert run(server, ECHO, {"n": str(2**64 + 1)}).json()[1] == 2**64 + 1


def post(server: Server, path: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(server.base_url + path, json=body, headers=headers_of(server), timeout=120)


def test_deep_metadata_of_a_share_token_comes_back_and_the_token_can_be_revoked(server: Server) -> None:
    body = '{"name": "deep", "code": "def udf():\\n    return 1\\n", "parameters": {}, "headers": []}'
    saved = post(server, "/server/v1/udf/new", {"slug": "deep", "udf_body": body, "udf_type": "auto"})
    metadata: Any = 1
    for _ in range(50):
        metadata = {"in": metadata}
    made = post(server, "/server/v1/udf-access-token/new", {"udf_id": saved.json()["id"], "metadata_json": metadata})
    assert made.status_code == 200 and made.json()["metadata_json"] == metadata
    address = f"{server.base_url}/server/v1/udf-access-token/by-token/{made.json()['token']}"
    assert requests.delete(address, headers=headers_of(server), timeout=120).status_code == 200


@pytest.mark.parametrize("expires_at", [1_800_000_000_000, -(2**63), -1])
def test_an_end_that_no_token_has_is_refused(server: Server, expires_at: int) -> None:
    me = requests.get(server.base_url + "/server/v1/user/self", headers=headers_of(server), timeout=120).json()["id"]
    refused = post(server, f"/api/v1/users/{me}/tokens", {"name": "t", "expires_at": expires_at})
    assert refused.status_code == 400 and "up to the year 9999" in refused.json()["message"]


def test_an_organisation_whose_owner_is_refused_is_not_made(server: Server) -> None:
    owner = {"email": "who@example.org", "username": "Bad Name"}
    refused = post(server, "/api/v1/organisations", {"name": "tried", **owner})
    assert refused.status_code == 400
    again = post(server, "/api/v1/organisations", {"name": "tried", **owner, "username": "who"})
    assert again.status_code in (200, 201), again.text
