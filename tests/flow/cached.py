"""Helpers of the tests of the result cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import ROUTE, body_of, headers_of

DAYS = ("--cache-max-age", "90d")


def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps results as the product does by default; other tests run without."""
    need_server()
    running = start_server(tmp_path_factory.mktemp("cached") / "data", *DAYS)
    yield running
    stop_server(running)


def counting(name: str, rest: str = "return n", arguments: str = "n: int = 1") -> str:
    """A function that leaves a mark for each time that it is executed."""
    mark = f"with open('/mount/{name}', 'a') as f: f.write('x')"
    return f"def udf({arguments}):\n    import os, time\n    {mark}\n    {rest}\n"


def times(server: Server, name: str) -> int:
    path = server.data / "mount" / name
    return len(path.read_text()) if path.exists() else 0


def state(reply: requests.Response) -> tuple[str, str]:
    return reply.headers.get("x-fused-cache", ""), reply.headers.get("x-fused-cache-why", "")


def save(server: Server, slug: str, code: str, function_id: str | None = None) -> dict[str, Any]:
    body = {"slug": slug, "udf_body": json.dumps({"name": slug, "code": code}), "udf_type": "auto"}
    path = f"by-id/{function_id}" if function_id else "new"
    reply = requests.post(f"{server.api}/udf/{path}", json=body, headers=headers_of(server), timeout=120)
    assert reply.ok, reply.text
    return dict(reply.json())


def get(server: Server, path: str, method: str = "GET", **headers: str) -> requests.Response:
    return requests.request(
        method, server.base_url + path, headers={**headers_of(server), **headers}, timeout=60, allow_redirects=False
    )


def post(server: Server, code: str, parameters: dict[str, Any] | None = None, query: str = "") -> requests.Response:
    return requests.post(
        f"{server.api}{ROUTE}?{query}", json=body_of(code, parameters), headers=headers_of(server), timeout=60
    )
