"""Plain HTTP calls of the flow tests: what a client sends, without the SDK in between."""

from __future__ import annotations

import json
import uuid
from typing import Any

import requests

from tests.conftest import Server

ROUTE = "/realtime/local/api/v1/run/udf"


def body_of(code: str, parameters: dict[str, Any] | None = None, fmt: str = "json", name: str = "f") -> dict[str, Any]:
    udf = {"name": name, "type": "geopandas_v2", "code": code, "headers": [], "parameters": parameters or {}}
    return {"step_config": json.dumps({"type": "udf", "udf": udf}), "format": fmt, "profile": False}


def headers_of(server: Server, run_id: str | None = None, **more: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {server.token}", **more}
    if run_id:
        headers["Fused-Run-Id"] = run_id
    return headers


def run(
    server: Server,
    code: str,
    parameters: dict[str, Any] | None = None,
    fmt: str = "json",
    timeout: float = 60,
    **headers: str,
) -> requests.Response:
    """The direct form: one request, one answer."""
    return requests.post(
        server.api + ROUTE, json=body_of(code, parameters, fmt), headers=headers_of(server, **headers), timeout=timeout
    )


def start(
    server: Server, code: str, run_id: str | None = None, parameters: dict[str, Any] | None = None
) -> tuple[str, requests.Response]:
    run_id = run_id or str(uuid.uuid4())
    reply = requests.post(
        server.api + ROUTE + "/start", json=body_of(code, parameters), headers=headers_of(server, run_id), timeout=120
    )
    return run_id, reply


def poll(server: Server, run_id: str) -> requests.Response:
    return requests.get(f"{server.api}{ROUTE}/get/{run_id}", headers=headers_of(server, run_id), timeout=120)


def metadata_of(reply: requests.Response) -> dict[str, Any]:
    return json.loads(reply.headers["x-fused-metadata"])
