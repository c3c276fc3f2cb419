"""The process that forks the workers of ``engine="local"`` and ends what they leave.

It is forked once, from the thread that called ``submit``: it holds the function with everything it sees, and all
arguments, and has no other threads, so that forking from it later is safe. Children of workers that lost their parents
become its own; when it leaves, nothing of the pool lives on. It leaves when its caller says so, or is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from fused._ended_children import ended_children
from fused._submit.local_worker import Places, work

if TYPE_CHECKING:
    from fused._submit.arguments import Arguments
    from fused.models.udf import Udf

TICK_MS = 500  # how often it looks whether its caller lives, and reaps what others left
MESSAGE_BYTES_MAX = 4_096
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)
_open_to_nurseries: set[socket.socket] = set()  # the callers' ends: a nursery must not hold those of other pools


def start_nursery(udf: Udf, arguments: Arguments) -> tuple[socket.socket, int]:
    """Forks a nursery; its control socket and process id. ``OSError`` when the system gives no more processes."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    caller = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: other threads; it uses nothing that they hold
        try:
            pid = os.fork()
        except OSError:
            here.close()
            there.close()
            raise
    if pid == 0:
        status = 1
        try:
            here.close()
            for other in _open_to_nurseries:
                other.close()
            _Nursery(udf, arguments, there, caller).live()
            status = 0
        finally:
            os._exit(status)
    there.close()
    _open_to_nurseries.add(here)
    return here, pid


def forget(control: socket.socket) -> None:
    """Closes the caller's end."""
    _open_to_nurseries.discard(control)
    control.close()


class _Nursery:
    def __init__(self, udf: Udf, arguments: Arguments, control: socket.socket, caller: int) -> None:
        self._udf, self._arguments, self._control, self._caller = udf, arguments, control, caller
        self._workers: dict[int, tuple[int, int]] = {}  # pid → number, pidfd
        self._killed: set[int] = set()

    def live(self) -> None:
        os.setsid()  # Ctrl-C in a terminal is for the caller
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        gc.freeze()
        try:
            while self._turn():
                pass
        finally:
            self._end_everything()

    def _turn(self) -> bool:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        for _, pidfd in self._workers.values():
            poll.register(pidfd, select.POLLIN)
        ready = {place for place, _ in poll.poll(TICK_MS)}
        self._reap()
        if self._control.fileno() in ready and not self._obey():
            return False
        return os.getppid() == self._caller

    def _obey(self) -> bool:
        message, places, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, len(Places._fields))
        if not message:
            return False
        order = json.loads(message)
        if order["op"] == "fork":
            self._fork(order["worker"], Places(*places))
        elif order["op"] == "kill":
            for pid, (number, _) in list(self._workers.items()):
                if number == order["worker"]:
                    self._killed.add(number)
                    kill_tree(pid)
        else:
            return False
        return True

    def _fork(self, number: int, places: Places) -> None:
        nursery = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"op": "fork_failed", "worker": number, "message": str(error)})
            for place in places:
                os.close(place)
            return
        if pid == 0:
            status = 1
            try:
                os.setsid()
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # where the nursery itself is killed
                if os.getppid() != nursery:
                    os._exit(1)
                self._control.close()
                for _, pidfd in self._workers.values():
                    os.close(pidfd)
                work(self._udf, self._arguments, places)
                status = 0
            except BaseException:
                traceback.print_exc()  # seen where the call's stderr is
            finally:
                os._exit(status)
        for place in places:
            os.close(place)
        self._workers[pid] = (number, os.pidfd_open(pid))
        self._say({"op": "forked", "worker": number, "pid": pid})

    def _reap(self) -> None:
        for pid, status, max_rss_kb in ended_children():
            known = self._workers.pop(pid, None)
            if known is not None:
                os.close(known[1])
                ended = {"op": "exited", "worker": known[0], "status": status, "killed": known[0] in self._killed}
                self._say({**ended, "max_rss_kb": max_rss_kb})

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the caller is gone: the next turn sees it
            self._control.send(json.dumps(message).encode())

    def _end_everything(self) -> None:
        # What a dying process leaves behind becomes a child of ours: again, until there is nobody.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            own = children_of(os.getpid())
            for pid in own:
                kill_tree(pid)
            self._reap()
            if not own:
                return
            time.sleep(0.002)


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process; empty where it is gone."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
            # The name of the program stands in parentheses and may hold anything; the parent is the second word after.
            if int(stat.read().rpartition(b")")[2].split()[1]) == pid:
                found.append(int(name))
    return found


def kill_tree(pid: int) -> None:
    """Ends a process and all that came of it and still hangs on it, whatever signals they ignore."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)  # it forks no more while we look
    for child in children_of(pid):
        kill_tree(child)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def descriptors_left() -> int:
    """How many more files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, soft - len(os.listdir("/proc/self/fd")))
