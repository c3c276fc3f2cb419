"""Hundreds of clients that are slow on purpose, in every way a client can be: others are served as ever, memory stays
bounded, and the slow ones are put out by the limits of time.

500 of them; 5,000 with FUSED_TEST_LONG=1.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell

LONG = os.environ.get("FUSED_TEST_LONG") == "1"
CLIENTS = 5_000 if LONG else 500
ADDRESSES = 8  # of the slow ones: a proxy's worth of visitors each
NORMAL_SECONDS_MAX = 5.0  # generous: the machine may be busy with other things
MEBIBYTE = 1 << 20


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Crowd:
    """The slow ones: a third sends a header byte by byte, a third a body, a third reads nothing of what it asks for."""

    def __init__(self, server: Server) -> None:
        address = urlsplit(server.base_url)
        self.host, self.port = address.hostname or "", address.port or 0
        self.authorization = f"Authorization: Bearer {server.token}\r\n".encode()
        self.open = 0
        self.put_out = 0
        self.stop = asyncio.Event()

    async def one(self, number: int) -> None:
        source = (f"127.0.0.{2 + number % ADDRESSES}", 0)
        reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=source, limit=4096)
        self.open += 1
        try:
            await (self.header, self.body, self.no_reader)[number % 3](reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.put_out += not self.stop.is_set()
            self.open -= 1
            writer.close()

    async def drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endless: bytes) -> None:
        ended = asyncio.ensure_future(reader.read(1))
        at = 0
        while not ended.done() and not self.stop.is_set():
            writer.write(endless[at : at + 1] or b"x")
            at += 1
            await asyncio.wait({ended}, timeout=0.5)
        ended.cancel()

    async def header(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.drip(reader, writer, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")

    async def body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"POST /server/v1/udf/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            + self.authorization
            + b"\r\n"
        )
        await self.drip(reader, writer, b"")

    async def no_reader(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n" * 120)
        while not self.stop.is_set():
            await asyncio.sleep(1)
            if writer.transport.is_closing():
                return
            # What it never reads is what the server cannot send; that it was put out shows when it writes.
            writer.write(b"\r\n")
            await asyncio.wait_for(writer.drain(), 0.2) if writer.transport.get_write_buffer_size() == 0 else None


# A client like others, in a process of its own: what is measured is the server, not the crowd's own event loop.
NORMAL = """
import http.client, sys, time
host, port, token = sys.argv[1:]
while True:
    begin = time.perf_counter()
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", "/server/v1/user/self", headers={"Authorization": "Bearer " + token})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    print(reply.status, time.perf_counter() - begin, flush=True)
    time.sleep(0.1)
"""


class NormalClient:
    def __init__(self, server: Server) -> None:
        address = urlsplit(server.base_url)
        command = [sys.executable, "-c", NORMAL, str(address.hostname), str(address.port), server.token]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def seconds(self) -> list[float]:
        """Ends it; how long each of its requests took, with its connection."""
        self.process.terminate()
        rows = [line.split() for line in self.process.communicate(timeout=60)[0].splitlines()]
        assert all(status == "200" for status, _ in rows), rows
        return sorted(float(took) for _, took in rows)


async def be_slow(server: Server) -> None:
    crowd, normal = Crowd(server), NormalClient(server)
    before = resident_bytes(server.pid)
    slow = []
    for number in range(CLIENTS):
        slow.append(asyncio.create_task(crowd.one(number)))
        if number % 100 == 99:
            await asyncio.sleep(0.02)
    grown = 0
    begin = time.monotonic()
    most = 0
    # Headers end after 10 s and bodies after 20 s; who does not read, after 30 s.
    goal = CLIENTS if LONG else CLIENTS * 2 // 3 - 10
    while crowd.put_out < goal and time.monotonic() - begin < 90:
        grown = max(grown, resident_bytes(server.pid) - before)
        most = max(most, crowd.open)
        await asyncio.sleep(0.1)
    took = time.monotonic() - begin
    times = normal.seconds()
    crowd.stop.set()
    await asyncio.gather(*slow, return_exceptions=True)
    tell(
        f"{most} slow clients at once, {crowd.put_out} put out within {took:.0f} s; a normal one waited "
        f"{times[len(times) // 2] * 1e3:.0f} ms, at worst {times[-1] * 1e3:.0f} ms ({len(times)} asked); "
        f"the server grew by {grown / MEBIBYTE:.0f} MiB"
    )
    assert most > CLIENTS * 0.9
    assert crowd.put_out >= goal, "the limits of time put them out"
    assert times[len(times) * 9 // 10] < NORMAL_SECONDS_MAX
    assert grown < 40 * MEBIBYTE + CLIENTS * 96 * 1024


def test_slow_clients_harm_nobody(tmp_path: Path) -> None:
    need_server()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CLIENTS + 500:
        pytest.skip(f"not tested: this machine gives {hard} descriptors, {CLIENTS + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CLIENTS + 500), hard))
    server = start_server(tmp_path / "data", "--log-level", "error", workers=1)
    try:
        asyncio.run(be_slow(server))
    finally:
        stop_server(server)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
