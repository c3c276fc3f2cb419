"""What every Python test may use: the checkout's ``fused``, and one real server a session.

``server`` starts ``python/fused/bin/fused-server`` on a free port with a data folder of its own and gives its address
and the owner's token. Tests that need it are skipped, with the reason, where it is not built.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.counts import show

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "python"
SERVER = PYTHON / "fused" / "bin" / "fused-server"
READY_SECONDS = 120

if str(PYTHON) not in sys.path:
    sys.path.insert(0, str(PYTHON))


@dataclass
class Server:
    """A running server: ``base_url`` as ``http://127.0.0.1:PORT``, ``token`` the owner's, ``data`` its folder."""

    base_url: str
    token: str
    data: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"{self.base_url}/server/v1"

    @property
    def pid(self) -> int:
        return self.process.pid

    def environment(self) -> dict[str, str]:
        """The environment of a client of this server."""
        return {
            **os.environ,
            "PYTHONPATH": str(PYTHON),
            "FUSED_BASE_URL": self.base_url,
            "FUSED_AUTH_TOKEN": self.token,
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(data: Path, *arguments: str, workers: int = 2, environment: dict[str, str] | None = None) -> Server:
    """Starts a server and waits until ``/health`` answers; its output goes to ``data/../server.log`` and ``lines``."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(SERVER), "--host", "127.0.0.1", "--port", str(port), "--data", str(data), "--workers", str(workers)]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("FUSED_")}
    settings |= {"FUSED_PYTHON": sys.executable, "PYTHONPATH": str(PYTHON)}
    # Tests run a function twice to see it run twice; those of the result cache say --cache-max-age themselves.
    settings |= {"FUSED_CACHE_MAX_AGE": "0s", **(environment or {})}
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=settings,
    )
    server = Server(url, "", data, process)
    threading.Thread(target=_keep_lines, args=(server,), daemon=True).start()
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n" + "".join(server.lines))
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
                if reply.status == 200:
                    break
        except (URLError, OSError):
            pass
        if time.monotonic() > deadline:
            stop_server(server)
            raise RuntimeError(f"the server was not ready in {READY_SECONDS} s:\n" + "".join(server.lines))
        time.sleep(0.02)
    server.token = (data / "token").read_text().strip()
    return server


def _keep_lines(server: Server) -> None:
    assert server.process.stdout is not None
    for line in server.process.stdout:
        server.lines.append(line)


def stop_server(server: Server) -> int:
    """SIGTERM, and after half a minute SIGKILL; gives the exit code."""
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(35)
        except subprocess.TimeoutExpired:
            server.process.kill()
    return server.process.wait()


def need_server() -> None:
    """Skips the test where the server is not built."""
    if not os.access(SERVER, os.X_OK):
        pytest.skip(f"not tested: {SERVER.relative_to(ROOT)} is not built (`make build`)")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the whole session. Tests may save functions; each should use names of its own."""
    need_server()
    running = start_server(tmp_path_factory.mktemp("server") / "data")
    yield running
    stop_server(running)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    show(terminalreporter)
