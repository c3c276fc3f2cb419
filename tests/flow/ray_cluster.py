"""A real Ray cluster of two nodes on loopback, in a network namespace of its own: Ray takes another address of the
machine for 127.0.0.1 wherever there is one."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from tests.conftest import PYTHON
from tests.processes import children_of

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
PORT, DASHBOARD = 20_001, 20_002  # Ray's workers take 10002 … 19999
TOKEN = secrets.token_hex(32)
START_SECONDS = 60


def ray_python() -> str:
    """The interpreter of the nodes: FUSED_TEST_RAY_PYTHON, else this one; "" where it has no Ray."""
    named = os.environ.get("FUSED_TEST_RAY_PYTHON", "")
    if named:
        return named
    return sys.executable if importlib.util.find_spec("ray") else ""


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """For this thread and the processes that it starts. PermissionError where the machine does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(_CLONE_NEWNET) != 0:
        os.close(before)
        raise PermissionError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            name = struct.pack("16sh", b"lo", 0)
            flags = struct.unpack("16sh", fcntl.ioctl(asked, _SIOCGIFFLAGS, name))[1]
            fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))
        yield
    finally:
        failed = libc.setns(before, 0) != 0
        os.close(before)
        if failed:
            raise OSError(ctypes.get_errno(), "setns: this thread stays in the network of the test")


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: Ray gives its processes groups of their own."""
    for pid in [process.pid, *children_of(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class Cluster:
    """A head with one core and a node with two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = ray_python()
        self.address = f"http://127.0.0.1:{DASHBOARD}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # Short: Ray makes sockets below it.
        self.temporary = Path(f"/var/tmp/fr{os.getpid()}")

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FUSED_", "RAY_"))}
        path = f"{Path(self.python).parent}:{os.environ['PATH']}"
        return kept | {"PATH": path, "PYTHONPATH": str(PYTHON), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    def _start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"ray-{name}.log").open("wb")
        command = [str(Path(self.python).parent / "ray"), "start", "--block", "--disable-usage-stats", *arguments]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        self.processes[name] = subprocess.Popen(
            command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def start(self) -> None:
        self._start(
            "head", "--head", f"--port={PORT}", "--dashboard-host=127.0.0.1", f"--dashboard-port={DASHBOARD}",
            "--num-cpus=1", "--memory=2000000000", "--include-dashboard=true", f"--temp-dir={self.temporary}",
        )  # fmt: skip
        self._until(lambda: self.ask("/api/version"))
        self.add_node()

    def add_node(self) -> None:
        """Where there is none: a test that failed before it killed the node adds no second."""
        if "node" in self.processes:
            return
        self._start("node", f"--address=127.0.0.1:{PORT}", "--num-cpus=2", "--memory=4000000000")
        self._until(lambda: self.ask("/nodes?view=summary").count('"ALIVE"') >= 2)

    def _until(self, condition: object) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(URLError, OSError):
                if callable(condition) and condition():
                    return
            if time.monotonic() > deadline:
                logs = "\n".join(file.read_text()[-2_000:] for file in self.folder.glob("ray-*.log"))
                raise RuntimeError(f"the Ray cluster was not ready in {START_SECONDS} s:\n{logs}")
            time.sleep(0.2)

    def ask(self, path: str) -> str:
        request = Request(self.address + path, headers={"Authorization": f"Bearer {TOKEN}"})
        with build_opener(ProxyHandler({})).open(request, timeout=5) as reply:
            return str(reply.read(), "utf-8")

    def kill_node(self) -> None:
        """All of it at once, as when its machine is gone."""
        end_tree(self.processes.pop("node"))

    def stop(self) -> None:
        for process in self.processes.values():
            end_tree(process)
        shutil.rmtree(self.temporary, ignore_errors=True)
