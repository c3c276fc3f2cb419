"""On a node: keeps one zygote for all of Ray's processes there, which Ray ends a second after their last task.

``python -m fused._jobs.node_keeper`` is started by the first task that finds none (``node_worker``), with its settings
on standard input, where nobody else reads them: they hold what functions find in their environment. It listens at
``keeper-….sock`` in the node's folder, goes on by itself, and leaves when nobody has needed it for IDLE_SECONDS. One
connection (SOCK_SEQPACKET) is one worker: the keeper sends its frame socket and pipes, how its fork went and how it
ended; when the other end closes, it kills whatever is left of the worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fused._worker.setup import libc

FORK_SECONDS = 120  # a zygote that has just begun still loads what it forks from
IDLE_SECONDS = 60.0
IDLE_VARIABLE = "FUSED_NODE_IDLE_SECONDS"  # another number
MESSAGE_BYTES_MAX = 64 << 10
# The server's own are of no use here; a node has its own.
NODE_VARIABLES = ("PATH", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CONTROL_TO_3 = (
    "import os, sys; n = int(sys.argv[1]); os.dup2(n, 3); "
    "os.execv(sys.executable, [sys.executable, '-s', '-m', 'fused._worker.zygote'])"
)

PR_SET_DUMPABLE = 4

Told = Callable[[dict[str, Any]], None]


def receive(control: socket.socket) -> dict[str, Any] | None:
    """The next message, None at the end."""
    try:
        data = control.recv(MESSAGE_BYTES_MAX)
    except OSError:
        return None
    message: dict[str, Any] | None = json.loads(data) if data else None
    return message


class Zygote:
    """The preloaded Python that workers are forked from. It ends when this process does, and workers end with it."""

    def __init__(self, environment: list[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        variables = dict(line.split("=", 1) for line in environment if "=" in line)
        variables = {name: value for name, value in variables.items() if name not in NODE_VARIABLES}
        variables |= {name: os.environ[name] for name in NODE_VARIABLES if name in os.environ}
        variables["FUSED_WORKERS"] = str(os.cpu_count() or 1)  # a task has one core
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-c", _CONTROL_TO_3, str(theirs.fileno())],
            env=variables,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._control = ours
        self._lock = threading.Lock()
        self._told: dict[int, Told] = {}  # by worker: who hears of it
        self._next = 1
        self.is_over = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := receive(self._control):
            with self._lock:
                ended = message["op"] in ("exited", "fork_failed")
                told = self._told.pop(message["worker"], None) if ended else self._told.get(message.get("worker", 0))
            if told:
                told(message)
        with self._lock:
            self.is_over = True
            left = list(self._told.values())
        for told in left:
            told(
                {
                    "op": "exited",
                    "status": signal.SIGKILL,
                    "message": "the Python that workers are forked from has ended",
                }
            )
        self._process.wait()

    def fork(self, order: dict[str, Any], descriptors: list[int], told: Told) -> None:
        """``told`` hears, on another thread, ``forked`` or ``fork_failed``, and ``exited``. The descriptors stay the
        caller's.
        """
        with self._lock:
            number = self._next
            self._next += 1
            self._told[number] = told
        try:
            socket.send_fds(
                self._control, [json.dumps({"op": "fork", "worker": number, **order}).encode()], descriptors
            )
        except OSError as error:
            self.is_over = True
            raise ChildProcessError(f"the Python that workers are forked from has ended: {error}") from None


@dataclass
class Worker:
    """Forked, and waiting outside its sandbox for the frame that says which is its."""

    nonce: int
    descriptors: list[int]  # ours: frames, stdout, stderr
    changed: threading.Condition = field(default_factory=threading.Condition)
    messages: list[dict[str, Any]] = field(default_factory=list)
    hears: Told | None = None

    def told(self, message: dict[str, Any]) -> None:
        with self.changed:
            self.messages.append(message)
            if self.hears:
                self.hears(message)
            self.changed.notify_all()

    def hear(self, hears: Told) -> None:
        """From now on, and what was told before."""
        with self.changed:
            for message in self.messages:
                hears(message)
            self.hears = hears

    @property
    def pid(self) -> int:
        """As soon as it is known; 0 where none was forked."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self.messages), FORK_SECONDS)
            return int(self.messages[0].get("pid", 0)) if self.messages else 0

    @property
    def is_over(self) -> bool:
        return any(message["op"] != "forked" for message in self.messages)

    def end(self) -> None:
        """With all that it has started, and until it is gone."""
        pid = self.pid
        if pid > 1 and not self.is_over:
            from fused import _native

            _native.end_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with self.changed:
                self.changed.wait_for(lambda: self.is_over, FORK_SECONDS)
        self.close()

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


class Keeper:
    """Gives each connection a worker; the next one's is forked ahead."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self._settings = settings
        self._scratch = folder / "scratch"
        self._lock = threading.Lock()
        self._zygote = Zygote(settings["environment"])
        self._spare: Worker | None = None
        self.connections = 0

    def _fork(self) -> Worker:
        with self._lock:
            if self._zygote.is_over:
                self._zygote = Zygote(self._settings["environment"])
            zygote = self._zygote
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        worker = Worker(secrets.randbits(64), [ours.detach(), out_read, err_read])
        order = {"nonce": str(worker.nonce), "sandbox": self._settings["sandbox"], "late": True}
        try:
            zygote.fork(order, [theirs.fileno(), out_write, err_write], worker.told)
        except ChildProcessError:
            worker.close()
            raise
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        return worker

    def _take(self) -> Worker:
        with self._lock:
            worker, self._spare = self._spare, None
        if worker is not None and worker.is_over:
            worker.close()
            worker = None
        return worker or self._fork()

    def _keep_spare(self) -> None:
        """The next task finds a worker that has been forked."""
        worker = self._fork()
        with self._lock:
            if self._spare is None:
                self._spare, worker = worker, None  # type: ignore[assignment]
        if worker is not None:
            worker.end()

    def serve(self, connection: socket.socket) -> None:
        """On a thread of its own, until the other end closes."""
        with connection:
            try:
                worker = self._take()
            except ChildProcessError as error:
                with contextlib.suppress(OSError):
                    connection.send(json.dumps({"op": "fork_failed", "message": str(error)}).encode())
                return

            def hears(message: dict[str, Any]) -> None:
                with contextlib.suppress(OSError):
                    connection.send(json.dumps(message).encode())

            try:
                socket.send_fds(connection, [json.dumps({"nonce": str(worker.nonce)}).encode()], worker.descriptors)
                worker.close()  # the other end has them
                worker.hear(hears)
                if worker.pid:
                    with contextlib.suppress(ChildProcessError):  # the next task says why
                        self._keep_spare()
                while connection.recv(1):
                    pass
            except OSError:
                pass  # the other end is gone
            worker.end()
        remove_left(self._scratch)

    def leave(self) -> None:
        with self._lock:
            worker, self._spare = self._spare, None
        if worker is not None:
            worker.end()


def remove_left(scratch: Path) -> None:
    """Scratch folders of processes of Ray that were killed: their names begin with the process id."""
    for folder in scratch.iterdir():
        pid = folder.name.partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def listen(settings: dict[str, Any], folder: Path, listener: socket.socket, path: Path) -> None:
    """Serves until nobody has had a worker for IDLE_SECONDS."""
    remove_left(folder / "scratch")
    keeper = Keeper(settings, folder)
    lock = threading.Lock()

    def serve(connection: socket.socket) -> None:
        try:
            keeper.serve(connection)
        finally:
            with lock:
                keeper.connections -= 1

    listener.settimeout(float(os.environ.get(IDLE_VARIABLE) or IDLE_SECONDS))
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            with lock:
                if keeper.connections:
                    continue
            break
        connection.settimeout(None)
        with lock:
            keeper.connections += 1
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    path.unlink(missing_ok=True)  # whoever connected until now reads the end, and starts another
    listener.close()
    keeper.leave()


def main() -> None:
    """Listens, and goes on in a child whose parent is not Ray's process: Ray ends the children of its own."""
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # functions of the same user cannot look into this process
    settings = json.load(sys.stdin)
    folder = Path.cwd()
    path = Path(settings["name"])
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))  # relative: the whole path may be too long for a socket's
    listener.listen(256)
    if os.fork():
        os._exit(0)
    os.setsid()
    listen(settings, folder, listener, path)
    os._exit(0)


if __name__ == "__main__":
    main()
