"""On a node: the zygote of this process, and one sandboxed worker forked from it, as the server has them on its own
machine (ARCHITECTURE.md, "Processes")."""

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
import tempfile
import threading
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  (its libraries are those that fused._native is linked against)

from fused import _native
from fused._worker.connection import Closed, Connection, to_json
from fused._worker.frames import Kind

FORK_SECONDS = 120  # a zygote that has just begun still loads what it forks from
GONE_SECONDS = 10
MESSAGE_BYTES_MAX = 64 << 10
# Of the server's own machine; a node has its own.
_NOT_OURS = ("PATH", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CONTROL_TO_3 = (
    "import os, sys; n = int(sys.argv[1]); os.dup2(n, 3); "
    "os.execv(sys.executable, [sys.executable, '-s', '-m', 'fused._worker.zygote'])"
)


class NodeError(RuntimeError):
    """This node could not run it; the function is not to blame."""


def node_folder() -> Path:
    """What this node keeps for tasks while they run; FUSED_NODE_DATA names another place."""
    named = os.environ.get("FUSED_NODE_DATA")
    folder = Path(named) if named else Path("/var/tmp") / f"fused-node-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise NodeError(f"{folder} is another user's; set FUSED_NODE_DATA to a folder of this one")
    for name in ("mount", "scratch"):
        (folder / name).mkdir(exist_ok=True)
    return folder


def python_paths() -> list[str]:
    """Folders that a function's Python must read: environment, base, packages."""
    wanted = [sys.prefix, sys.base_prefix, *(path for path in sys.path if path)]
    return list(dict.fromkeys(os.path.abspath(path) for path in wanted if os.path.isdir(path) and path != "/"))


class NodeZygote:
    """The preloaded Python that workers are forked from. It ends when this process does, and workers end with it."""

    def __init__(self, environment: list[str]) -> None:
        self.environment = environment
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        variables = dict(line.split("=", 1) for line in environment if "=" in line)
        variables = {name: value for name, value in variables.items() if name not in _NOT_OURS}
        variables |= {name: os.environ[name] for name in _NOT_OURS if name in os.environ}
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
        self._changed = threading.Condition()
        self._told: dict[int, dict[str, Any]] = {}  # by worker: the last that was said of it
        self._pids: dict[int, int] = {}
        self._next = 1
        self.is_over = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := self._receive():
            with self._changed:
                if message["op"] == "forked":
                    self._pids[message["worker"]] = message["pid"]
                elif message["op"] in ("exited", "fork_failed"):
                    self._told[message["worker"]] = message
                self._changed.notify_all()
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def _receive(self) -> dict[str, Any] | None:
        try:
            data = self._control.recv(MESSAGE_BYTES_MAX)
        except OSError:
            return None
        message: dict[str, Any] | None = json.loads(data) if data else None
        return message

    def fork(self, nonce: int, sandbox: dict[str, Any], descriptors: list[int]) -> int:
        """The worker's number. The descriptors stay the caller's."""
        with self._changed:
            number = self._next
            self._next += 1
        order = {"op": "fork", "worker": number, "nonce": str(nonce), "sandbox": sandbox}
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
        except OSError as error:
            self.is_over = True
            raise NodeError(f"the Python that workers are forked from has ended on this node: {error}") from None
        return number

    def pid(self, worker: int) -> int:
        with self._changed:
            known = self._changed.wait_for(
                lambda: worker in self._pids or worker in self._told or self.is_over, FORK_SECONDS
            )
            if worker in self._pids:
                return self._pids[worker]
            told = self._told.get(worker)
        why = told["message"] if told else "it ended" if known else f"it was not ready within {FORK_SECONDS} s"
        raise NodeError(f"no worker could be forked on this node: {why}")

    def exited(self, worker: int, seconds: float) -> dict[str, Any] | None:
        """How it ended, as soon as that is known."""
        with self._changed:
            self._changed.wait_for(lambda: worker in self._told or self.is_over, seconds)
            return self._told.get(worker)

    def forget(self, worker: int) -> None:
        with self._changed:
            self._told.pop(worker, None)
            self._pids.pop(worker, None)


def remove_left(scratch: Path) -> None:
    """Scratch folders of processes of Ray that were killed: their names begin with the process id."""
    for folder in scratch.iterdir():
        pid = folder.name.partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


_zygote: NodeZygote | None = None


def zygote_of(environment: list[str]) -> NodeZygote:
    """That of this process; another where it has ended, or the server's settings have changed."""
    global _zygote
    if _zygote is None or _zygote.is_over or _zygote.environment != environment:
        remove_left(node_folder() / "scratch")
        _zygote = NodeZygote(environment)
    return _zygote


class NodeWorker:
    """One worker process from its fork to the end of all that it has started."""

    def __init__(self, settings: dict[str, Any], limits: dict[str, int], order: dict[str, Any]) -> None:
        folder = node_folder()
        self.scratch = tempfile.mkdtemp(dir=folder / "scratch", prefix=f"{os.getpid()}-")
        self._zygote = zygote_of(settings["environment"])
        sandbox = {
            **settings["sandbox"],
            "data": str(folder),
            "mount": settings.get("mount") or str(folder / "mount"),
            "scratch": self.scratch,
            "python_paths": python_paths(),
            "limits": limits,
        }
        job_id = (order.get("context") or {}).get("job_id")
        if settings.get("mount") and job_id:  # elsewhere its tasks share nothing: each has its scratch folder
            shared = Path(settings["mount"]) / "fused-system" / "job-data" / job_id
            shared.mkdir(parents=True, exist_ok=True)
            sandbox["job"] = str(shared)
        nonce = secrets.randbits(64)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self.streams = {1: out_read, 2: err_read}
        self.connection = Connection(ours, nonce)
        self.pid = 0
        self._number = 0
        self._memory_max = limits["memory_bytes"]
        self._own_pids = False
        try:
            self._number = self._zygote.fork(nonce, sandbox, [theirs.fileno(), out_write, err_write])
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
            if not self._number:
                self.close()

    def wait_until_ready(self) -> None:
        self.pid = self._zygote.pid(self._number)
        try:
            kind, header, _ = self.connection.read()
        except Closed:
            raise NodeError(
                "the worker of the task ended before it could run it; the node's log of Ray says why"
            ) from None
        if kind is not Kind.READY:
            raise NodeError(f"the worker began with a frame of kind {kind.name}")
        self._own_pids = header.get("pid_namespace") is True
        self._watch = _native.group_watch(self.pid, self.scratch, self._memory_max)

    def send_order(self, order: dict[str, Any]) -> None:
        self.connection.send(Kind.RUN, to_json(order))

    def usage(self) -> dict[str, int]:
        told: dict[str, int] = self._watch.sample()
        return told

    def cpu_seconds(self) -> float:
        """Of the worker and what it has waited for, its init process's child where it has one."""
        try:
            pid = self.pid
            if self._own_pids:
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return 0.0

    def is_stopped(self) -> bool:
        """By somebody's SIGSTOP: it gives no sign of life."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            pid = int(children[0]) if self._own_pids and children else self.pid
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
        except (OSError, IndexError, ValueError):
            return False

    def kill(self) -> dict[str, Any] | None:
        """Ends it with everything it has started: how it ended, None where that did not come to pass."""
        if told := self._zygote.exited(self._number, 0):
            return told  # its pid may be another's by now
        if self.pid == 0:
            with contextlib.suppress(NodeError):
                self.pid = self._zygote.pid(self._number)
        if self.pid > 1:
            if self._own_pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            else:
                _native.end_group(self.pid)
        return self._zygote.exited(self._number, GONE_SECONDS)

    def exited(self, seconds: float) -> dict[str, Any] | None:
        return self._zygote.exited(self._number, seconds)

    def close(self) -> None:
        self.connection.socket.close()
        for stream in self.streams.values():
            with contextlib.suppress(OSError):
                os.close(stream)
        self._zygote.forget(self._number)
        shutil.rmtree(self.scratch, ignore_errors=True)
