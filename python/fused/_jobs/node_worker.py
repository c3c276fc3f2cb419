"""On a node: one sandboxed worker, forked by the node's keeper, as the server has them on its own machine
(ARCHITECTURE.md, "Processes")."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from select import POLLIN, poll
from typing import Any

from fused._version import __version__
from fused._worker.connection import Closed, Connection, to_json
from fused._worker.frames import Kind

from .node_keeper import FORK_SECONDS, IDLE_VARIABLE, MESSAGE_BYTES_MAX, NODE_VARIABLES, receive

try:
    from fused import _native
except ImportError:  # elsewhere than where it was built, its libraries are those that pyarrow has loaded
    import pyarrow  # noqa: F401

    from fused import _native

GONE_SECONDS = 10
KEEPER_TRIES = 5


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


def connect(path: Path) -> socket.socket | None:
    """To a keeper that listens; None where there is none."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        control.connect(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path may have 107 bytes
    except (FileNotFoundError, ConnectionRefusedError):
        control.close()
        return None
    finally:
        os.close(folder)
    return control


def start_keeper(settings: dict[str, Any], folder: Path) -> None:
    """It listens when this returns. NodeError where it could not be started."""
    kept = {name: os.environ[name] for name in (*NODE_VARIABLES, IDLE_VARIABLE) if name in os.environ}
    started = subprocess.run(
        [sys.executable, "-s", "-m", "fused._jobs.node_keeper"],
        cwd=folder,
        env=kept,  # Ray's processes have the driver's token in theirs
        input=json.dumps(settings).encode(),
        start_new_session=True,
    )
    if started.returncode != 0:
        raise NodeError(
            f"the keeper of this node's workers did not start in {folder} (status {started.returncode}); the node's "
            "log of Ray says why"
        )


def keeper_name(environment: list[str], sandbox: dict[str, Any]) -> str:
    """Another where anything is different that its workers have of it."""
    spaces = [os.stat(f"/proc/self/ns/{name}").st_ino for name in ("mnt", "net", "pid")]
    own = [os.environ.get(name) for name in NODE_VARIABLES]
    told = json.dumps([sys.executable, __version__, environment, sandbox, own, spaces], sort_keys=True)
    return f"keeper-{hashlib.sha256(told.encode()).hexdigest()[:16]}.sock"


def ask_for_worker(environment: list[str], sandbox: dict[str, Any]) -> tuple[socket.socket, int, list[int]]:
    """Of the keeper with these settings, which is started where there is none: the connection that holds the worker,
    its nonce, and its frame socket, stdout and stderr.
    """
    folder = node_folder()
    name = keeper_name(environment, sandbox)
    for _ in range(KEEPER_TRIES):
        with (folder / "keeper.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            control = connect(folder / name)
            if control is None:
                start_keeper({"name": name, "environment": environment, "sandbox": sandbox}, folder)
                continue
        try:
            message, descriptors, _flags, _address = socket.recv_fds(control, MESSAGE_BYTES_MAX, 3)
        except ConnectionResetError:
            message = b""
        if not message:  # it was about to leave
            control.close()
            continue
        told = json.loads(message)
        if len(descriptors) != 3:
            control.close()
            raise NodeError(f"no worker could be forked on this node: {told.get('message')}")
        return control, int(told["nonce"]), descriptors
    raise NodeError(f"the keeper of this node's workers, started {KEEPER_TRIES} times, gave none; see Ray's log")


class NodeWorker:
    """One worker process from its fork to the end of all that it has started."""

    def __init__(self, settings: dict[str, Any], limits: dict[str, int], order: dict[str, Any]) -> None:
        folder = node_folder()
        self.scratch = tempfile.mkdtemp(dir=folder / "scratch", prefix=f"{os.getpid()}-")
        self._sandbox = {
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
            self._sandbox["job"] = str(shared)
        self._memory_max = limits["memory_bytes"]
        self.pid = 0
        self._own_pids = False
        self._ended: dict[str, Any] | None = None
        try:
            self._control, nonce, (frames, out, err) = ask_for_worker(settings["environment"], settings["sandbox"])
        except BaseException:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise
        self.streams = {1: out, 2: err}
        self.connection = Connection(socket.socket(fileno=frames), nonce)

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        """What the keeper tells next, None where it tells nothing within the time."""
        waiting = poll()
        waiting.register(self._control, POLLIN)
        if not waiting.poll(max(0.0, seconds) * 1e3):
            return None
        return receive(self._control) or {"op": "exited", "status": signal.SIGKILL}  # its workers end with it

    def wait_until_ready(self) -> None:
        if self.pid == 0:
            told = self._hear(FORK_SECONDS) or {"message": f"it was not ready within {FORK_SECONDS} s"}
            if told.get("op") != "forked":
                self._ended = told
                raise NodeError(f"no worker could be forked on this node: {told.get('message', 'its keeper ended')}")
            self.pid = told["pid"]
        self.connection.send(Kind.ENTER, to_json({"sandbox": self._sandbox}))
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
        if told := self.exited(0):
            return told  # its pid may be another's by now
        if self.pid > 1:
            if self._own_pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            else:
                _native.end_group(self.pid)
        else:
            self._control.shutdown(socket.SHUT_WR)  # the keeper ends it as soon as it has been forked
        return self.exited(GONE_SECONDS)

    def exited(self, seconds: float) -> dict[str, Any] | None:
        """How it ended, as soon as that is known."""
        deadline = time.monotonic() + seconds
        while self._ended is None and (told := self._hear(deadline - time.monotonic())):
            if told["op"] == "forked":
                self.pid = told["pid"]
            else:
                self._ended = told
        return self._ended

    def close(self) -> None:
        """The keeper kills what is left."""
        self._control.close()
        self.connection.socket.close()
        for stream in self.streams.values():
            with contextlib.suppress(OSError):
                os.close(stream)
        shutil.rmtree(self.scratch, ignore_errors=True)
