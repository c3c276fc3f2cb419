"""A share token of a function that is served from a folder."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.calls import headers_of

CODE = "import fused\n@fused.udf\ndef udf(n: int = 1):\n    return n * {factor}\n"


def share(server: Server, slug: str) -> str:
    body = {"udf_email": "owner@localhost", "udf_slug": slug}
    reply = requests.post(f"{server.api}/udf-access-token/new", json=body, headers=headers_of(server), timeout=120)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["token"])


def test_it_runs_outlives_a_restart_and_is_dead_without_the_file(tmp_path: Path) -> None:
    need_server()
    folder, other = tmp_path / "functions", tmp_path / "other"
    for place in (folder, other):
        place.mkdir()
        (place / "times.py").write_text(CODE.format(factor=2 if place == folder else 5))
    data = tmp_path / "data"
    server = start_server(data, str(folder), "--watch")
    try:
        token = share(server, "times")
        address = f"/server/v1/realtime-shared/{token}/run/file?n=4"
        assert requests.get(server.base_url + address, timeout=60).text == "8"
        (folder / "times.py").rename(folder / "times.txt")
        gone = until(server, address, 404)
        assert "its file is gone from the served folder" in gone.text
        (folder / "times.txt").rename(folder / "times.py")
        assert until(server, address, 200).text == "8"
    finally:
        stop_server(server)
    server = start_server(data, str(folder))
    try:
        assert requests.get(server.base_url + address, timeout=60).text == "8"
    finally:
        stop_server(server)
    server = start_server(data, str(other))
    try:
        assert requests.get(server.base_url + address, timeout=60).status_code == 404, "another file of that name"
        revoked = f"{server.api}/udf-access-token/by-token/{token}"
        assert requests.delete(revoked, headers=headers_of(server), timeout=120).status_code == 200
    finally:
        stop_server(server)


def until(server: Server, address: str, status: int) -> requests.Response:
    deadline = time.monotonic() + 120
    while (reply := requests.get(server.base_url + address, timeout=60)).status_code != status:
        assert time.monotonic() < deadline, reply.text
        time.sleep(0.05)
    return reply
