"""Plain HTTP calls of the tests of jobs."""

from __future__ import annotations

from typing import Any

import requests

from tests.conftest import Server
from tests.flow.calls import headers_of
from tests.until import until as until

ENDED = ("done", "failed", "canceled")


def udf_step(code: str, items: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    udf = {"name": "f", "type": "geopandas_v2", "code": code, "headers": [], "parameters": {}, "entrypoint": "udf"}
    udf["parameters"] = more.pop("parameters", {})
    return {"type": "udf", "udf": udf, "input": items, **more}


def submit(
    server: Server, *steps: dict[str, Any], query: dict[str, Any] | None = None, **body: Any
) -> requests.Response:
    config = {"name": body.pop("name", "a_job"), "steps": list(steps), "metadata": None}
    return requests.post(
        server.api + "/run", params=query, json={"config": config, **body}, headers=headers_of(server), timeout=120
    )


def submitted(server: Server, *steps: dict[str, Any], **more: Any) -> str:
    reply = submit(server, *steps, **more)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["job_id"])


def get(server: Server, path: str, **query: Any) -> Any:
    reply = requests.get(server.base_url + path, params=query, headers=headers_of(server), timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()


def post(server: Server, path: str, body: Any = None) -> requests.Response:
    return requests.post(server.base_url + path, json=body, headers=headers_of(server), timeout=120)


def status(server: Server, job: str) -> dict[str, Any]:
    return dict(get(server, f"/server/v1/run/by-id/{job}"))


def wait(server: Server, job: str, seconds: float = 60) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        now = status(server, job)
        return now if now["status"] in ENDED else None

    return dict(until(ended, seconds))


def results(server: Server, job: str) -> dict[str, requests.Response]:
    """Every file by its name, fetched without a token."""
    listed = get(server, f"/server/v1/run/by-id/{job}/results")
    return {each["name"]: requests.get(each["url"], timeout=120) for each in listed}


def values(server: Server, job: str) -> list[Any]:
    """What the tasks returned as JSON, in their order."""
    files = results(server, job)
    names = sorted((name for name in files if not name.endswith(".metadata")), key=lambda name: int(name.split(".")[0]))
    return [files[name].json() for name in names]


def log(server: Server, job: str, **query: Any) -> list[dict[str, Any]]:
    return list(get(server, f"/server/v1/logs/{job}", **query))


def printed(server: Server, job: str) -> list[str]:
    return [line["message"] for line in log(server, job) if line["stream"] != "job"]
