"""Large bodies on the real server: they cost disk while they last, not memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.conftest import SERVER, Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import headers_of
from tests.until import until

MEBIBYTE = 1 << 20
HASH = (
    "import hashlib\n@fused.udf\ndef udf(text: str = ''):\n"
    "    return [len(text), hashlib.sha256(text.encode()).hexdigest()]\n"
)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def save(server: Server, name: str, code: str) -> None:
    body = {"slug": name, "udf_body": json.dumps({"name": name, "code": code}), "udf_type": "auto"}
    assert requests.post(f"{server.api}/udf/new", json=body, headers=headers_of(server)).status_code == 200


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.base_url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def head(server: Server, target: str, length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n{framing}\r\n\r\n"
    ).encode()


def read_reply(connection: socket.socket) -> bytes:
    reply = b""
    while more := connection.recv(65536):
        reply += more
        before, _, body = reply.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in before.split(b"\r\n")[1:])
        if len(body) >= int(fields.get(b"content-length", b"0")) and body:
            return reply
    return reply


def test_memory_is_flat_while_sixteen_clients_send_sixty_mebibytes_each(server: Server) -> None:
    requests.get(f"{server.api}/user/self", headers=headers_of(server), timeout=120)
    before = resident_bytes(server.pid)
    sent = threading.Barrier(17)
    replies: list[bytes] = []

    def send() -> None:
        with connect(server) as connection:
            connection.sendall(head(server, "/server/v1/udf/new", 60 * MEBIBYTE))
            piece = b"x" * MEBIBYTE  # no JSON from its first byte on: the endpoint needs no memory for it
            for _ in range(59):
                connection.sendall(piece)
            sent.wait(timeout=120)
            connection.sendall(piece)
            replies.append(read_reply(connection))

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    sent.wait(timeout=120)
    grown = resident_bytes(server.pid) - before
    for thread in threads:
        thread.join(120)
    tell(f"{16 * 59} MiB are held for 16 clients; the server grew by {grown / MEBIBYTE:.1f} MiB")
    assert grown < 48 * MEBIBYTE, "16 clients, at most 1.5 MiB each, and what the allocator keeps"
    assert len(replies) == 16
    for reply in replies:
        assert reply.startswith(b"HTTP/1.1 400 "), reply[:300]
        assert b"JSON" in reply


@pytest.mark.parametrize("chunk", [None, 1_000_003, 4_099])
def test_a_large_parameter_arrives_as_it_was_sent(server: Server, chunk: int | None) -> None:
    name = f"upload_hash_{chunk or 'whole'}"
    save(server, name, HASH)
    text = "".join(chr(ord("a") + i % 23) for i in range(MEBIBYTE)) * 9
    body = json.dumps({"text": text}).encode()
    address = f"{server.base_url}/api/v1/run/{name}.json"
    data = body if chunk is None else (body[at : at + chunk] for at in range(0, len(body), chunk))
    reply = requests.post(address, data=data, headers=headers_of(server), timeout=120)
    assert reply.json() == [len(text), hashlib.sha256(text.encode()).hexdigest()]


def test_more_than_the_limit_is_413_before_the_rest_is_sent(server: Server) -> None:
    for length, start in (
        (100 * MEBIBYTE, b""),
        (None, b"6000000\r\nx"),
        (None, (b"100000\r\n" + b"x" * MEBIBYTE + b"\r\n") * 65),
    ):
        with connect(server) as connection:
            connection.sendall(head(server, "/server/v1/udf/new", length) + start)
            reply = read_reply(connection)
            assert reply.startswith(b"HTTP/1.1 413 "), reply[:300]
            assert b"67108864" in reply


def test_a_lost_connection_leaves_no_file(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(head(server, "/server/v1/udf/new", 40 * MEBIBYTE) + b"x" * (30 * MEBIBYTE))
        until(lambda: spooled_bytes(server) > 20 * MEBIBYTE)
        assert not [path for path in server.data.iterdir() if path.name.startswith(".writing")]
    until(lambda: spooled_bytes(server) == 0)


def spooled_bytes(server: Server) -> int:
    text = requests.get(f"{server.base_url}/metrics", headers=headers_of(server), timeout=120).text
    [line] = [line for line in text.splitlines() if line.startswith("fused_http_spooled_bytes ")]
    return int(float(line.split()[1]))


def test_a_full_disk_is_507_and_the_server_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_server()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("not tested: this machine lets us mount no small disk (unshare -rm)")
    prepared, data, program = tmp_path / "prepared", tmp_path / "data", tmp_path / "on_a_small_disk"
    stop_server(start_server(prepared, workers=1))
    data.mkdir()
    shutil.copy(prepared / "token", data / "token")  # for us: the server's own view is the disk mounted above it
    # The server in a mount namespace of its own, where its data folder is a disk of 24 MiB.
    program.write_text(
        "#!/bin/sh\nexec unshare -rm --propagation private sh -c "
        f'\'mount -t tmpfs -o size=24m small {data} && cp -a {prepared}/. {data}/ && exec {SERVER} "$@"\' sh "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("tests.conftest.SERVER", program)
    server = start_server(data, workers=1)
    try:
        with connect(server) as connection:
            connection.sendall(head(server, "/server/v1/udf/new", 60 * MEBIBYTE))
            with contextlib.suppress(OSError):  # it may have answered and closed before all is sent
                connection.sendall(b"x" * (59 * MEBIBYTE))
            reply = read_reply(connection)
        assert reply.startswith(b"HTTP/1.1 507 "), reply[:300]
        assert b"storage_full" in reply
        assert requests.get(f"{server.base_url}/health", timeout=120).status_code == 200
        until(lambda: spooled_bytes(server) == 0)
    finally:
        stop_server(server)
