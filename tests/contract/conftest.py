"""The contract: ``api/openapi.yaml``, and people of every kind to ask a real server as."""

from __future__ import annotations

import http.client
import json
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from tests.conftest import ROOT, SERVER, Server, need_server

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Row:
    """A row of the server's route list, or an operation of the description."""

    method: str
    pattern: str
    access: str
    operation: str

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def described_rows(document: dict[str, Any]) -> set[Row]:
    return {
        Row(method.upper(), path, item[method]["x-access"], item[method]["operationId"])
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item
    }


def server_rows() -> list[Row]:
    need_server()
    out = subprocess.run([str(SERVER), "--print-routes"], capture_output=True, text=True, check=True).stdout
    return [Row(*line.split()) for line in out.splitlines()]


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "api" / "openapi.yaml").read_text())
    return loaded


@pytest.fixture(scope="session")
def error_schema(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["components"]["schemas"]["Error"]
    return schema


def ask(
    server: Server,
    method: str,
    target: str,
    token: str = "",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own; the target goes out as it is."""
    parts = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection.request(method, target, body=body, headers=sent)
        reply = connection.getresponse()
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


def check_error(answer: Answer, schema: dict[str, Any]) -> dict[str, Any]:
    """The one shape of an error, with its exact content type and the request's id in body and header."""
    assert answer.headers.get("content-type") == "application/json", answer
    shape: dict[str, Any] = answer.json()
    jsonschema.validate(shape, schema)
    assert shape["message"], answer
    assert shape["request_id"] == answer.headers["x-request-id"], answer
    return shape


@dataclass
class People:
    """Tokens of everybody who may ask, and what the owner has that others might reach for."""

    owner: str
    member: str
    stranger: str  # owner of another organisation
    share: str
    function_id: str
    function_slug: str
    owner_id: str
    job_id: str


@pytest.fixture(scope="session")
def people(server: Server) -> People:
    def post(path: str, content: dict[str, Any]) -> Any:
        answer = ask(
            server, "POST", path, server.token, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        assert answer.status == 200, answer
        return answer.json()

    member = post("/api/v1/users", {"email": "member@contract.test", "username": "contract-member", "role": "member"})
    others = post(
        "/api/v1/organisations",
        {"name": "contract-others", "email": "stranger@contract.test", "username": "contract-stranger"},
    )
    udf = {
        "name": "contract_matrix",
        "type": "geopandas_v2",
        "code": "@fused.udf\ndef udf(n: int = 1):\n    return n\n",
        "headers": [],
        "entrypoint": "udf",
        "parameters": {},
    }
    saved = post("/server/v1/udf/new", {"slug": "contract_matrix", "udf_body": json.dumps(udf), "udf_type": "auto"})
    shared = post("/server/v1/udf-access-token/new", {"udf_id": saved["id"], "client_id": None})
    job = post("/server/v1/run", {"config": {"name": "matrix", "steps": [{"type": "udf", "udf": udf}]}})
    return People(
        server.token,
        member["token"],
        others["owner"]["token"],
        shared["token"],
        saved["id"],
        saved["slug"],
        saved["owning_user_id"],
        job["job_id"],
    )
