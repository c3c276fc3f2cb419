"""What runs on the nodes of a cluster, and the driver there, as far as they do without a cluster."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fused._jobs import ray_driver
from fused._jobs.node import Attempt
from fused._jobs.node_client import Refused
from fused._jobs.node_keeper import remove_left


def test_scratch_of_processes_that_are_gone_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"{gone.pid}-abc", f"{os.getpid()}-abc", "of-somebody-else"):
        (tmp_path / name / "deep").mkdir(parents=True)
    remove_left(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([f"{os.getpid()}-abc", "of-somebody-else"])


class Broken:
    """A Ray whose every call fails."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError("the cluster is gone")

        return fail


@pytest.fixture
def driver() -> ray_driver.Driver:
    made = ray_driver.Driver.__new__(ray_driver.Driver)  # without a cluster to join
    made._ray, made._held, made._changed = Broken(), {"a": "reference"}, threading.Condition()
    return made


def test_a_driver_that_cannot_watch_its_tasks_ends(
    driver: ray_driver.Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(Left, match="1"):
        driver._watch()
    assert "cannot be watched: RuntimeError: the cluster is gone" in capsys.readouterr().out


def test_a_cancel_that_fails_is_said(driver: ray_driver.Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver._end("a")
    assert "attempt a could not be cancelled: RuntimeError" in capsys.readouterr().out


class Server:
    """Takes what a node sends; refuses the pieces that it is told to."""

    def __init__(self, *refuse: int) -> None:
        self.refuse = list(refuse)
        self.came: list[tuple[str, bytes]] = []
        self.lease_seconds = 30.0

    def post(self, path: str, body: bytes, **_: Any) -> bytes:
        piece = int(path.rpartition("piece=")[2])
        if piece in self.refuse:
            raise Refused("HTTP 400: it was not understood")
        self.came.append((path.partition("?")[2], body))
        return b"{}"


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ((), [b"one", b"two"]),
        ((1,), [b"\n[3 bytes of output did not reach the server: HTTP 400: it was not understood]\ntwo"]),
        ((2,), [b"one", b"\n[3 bytes of output did not reach the server: HTTP 400: it was not understood]\n"]),
        ((1, 2, 3), []),
    ],
)
def test_output_that_the_server_refuses_is_said(refused: tuple[int, ...], expected: list[bytes]) -> None:
    server: Any = Server(*refused)
    attempt = Attempt(server, {"attempt": "a", "limits": {}}, {})
    read, write = os.pipe()
    pump = threading.Thread(target=attempt._pump, args=(1, read), daemon=True)
    pump.start()
    os.write(write, b"one")
    deadline = time.monotonic() + 120
    while fcntl.ioctl(read, termios.FIONREAD, b"    ") != b"\0\0\0\0":
        assert time.monotonic() < deadline
    os.write(write, b"two")
    os.close(write)
    pump.join(30)
    os.close(read)
    assert [body for _, body in server.came] == expected
    assert all(query.startswith("start=0&stream=1&piece=") for query, _ in server.came)
