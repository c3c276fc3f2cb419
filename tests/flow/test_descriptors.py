"""A server that has run out of descriptors waits without burning the processor, and serves again when it has some."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import headers_of, run

FREE = 20


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shortages(server: Server) -> int:
    return sum("accept failed" in line for line in server.lines)


def test_it_serves_again_after_descriptors_ran_out(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", workers=1)
    try:
        assert run(server, "@fused.udf\ndef udf():\n    return 1").text == "1"
        try:
            open_now = descriptors(server.pid)
        except PermissionError:  # nobody but root sees them; what a server has open at rest
            open_now = 60
        hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_now + FREE, hard))
        address = urlsplit(server.base_url)
        with contextlib.ExitStack() as open_ones:
            connections = [
                open_ones.enter_context(socket.create_connection((address.hostname, address.port), timeout=120))
                for _ in range(200)
            ]
            deadline = time.monotonic() + 120
            while not shortages(server):
                assert time.monotonic() < deadline, "".join(server.lines[-5:])
                time.sleep(0.05)
            before = cpu_seconds(server.pid)
            time.sleep(2)
            used = cpu_seconds(server.pid) - before
            tell(f"{used:.2f} s of processor time in 2 s without a descriptor, {shortages(server)} lines on the log")
            assert used < 1, "it tries again and again"
            assert shortages(server) < 5
            # Who has a connection is served meanwhile.
            connections[0].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connections[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        assert requests.get(f"{server.base_url}/health", timeout=120).status_code == 200
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert run(server, "@fused.udf\ndef udf():\n    return 2").text == "2"
        text = requests.get(f"{server.base_url}/metrics", headers=headers_of(server), timeout=120).text
        [line] = [line for line in text.splitlines() if line.startswith("fused_http_accept_shortages_total ")]
        assert float(line.split()[1]) >= 1
    finally:
        stop_server(server)
