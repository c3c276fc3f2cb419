"""The preloaded Python that workers are forked from: ``python -m fused._worker.zygote``, control socket on 3.

It runs no user code and sees no data. It has one thread whenever it forks. It ends when the control socket closes,
and its workers end with it. ``--dies-with-parent``: already while it imports, when the thread that started it has
gone (the server's main thread), so that a server that is killed again and again leaves nothing that still loads.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from fused._ended_children import ended_children

from . import setup

CONTROL = 3
MESSAGE_BYTES_MAX = 64 << 10
_PR_SET_PDEATHSIG = 1

# Threads that may live in the zygote, by the name the kernel shows, each with the reason why a fork without it is
# sound. None is needed today: Arrow's jemalloc would start `jemalloc_bg_thd`, which JE_ARROW_MALLOC_CONF keeps from
# starting.
ALLOWED_THREADS: dict[str, str] = {}

_SETTINGS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the other pools reserve address space that RLIMIT_DATA counts
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "GDAL_CACHEMAX": "64",
    "GDAL_NUM_THREADS": "1",
}


def threads_per_worker() -> int:
    """Cores for each worker, at least one. FUSED_WORKERS says how many workers there are."""
    cores = len(os.sched_getaffinity(0))
    workers = os.environ.get("FUSED_WORKERS", "")
    return max(1, cores // max(1, int(workers) if workers.isdigit() and workers != "0" else cores))


def forget_environment() -> None:
    """What the server did not mean for functions is dropped, also from the memory that ``/proc/self/environ`` shows."""
    found = {name: value for name, value in os.environ.items() if name not in setup.SHARED_KEYS}
    found |= {name: found[shared] for name in setup.SHARED_KEYS if (shared := f"FUSED_SHARED_{name}") in found}
    kept = {name: found[name] for name in setup.KEPT_VARIABLES if name in found}
    os.environ.clear()
    os.environ.update(kept)  # copies on the heap, so that the first ones are no longer in use
    with Path("/proc/self/stat").open() as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # env_start and env_end, the 50th and 51st with pid and name
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def set_environment() -> None:
    """Read by the libraries when they are loaded: one thread each here, a worker's share is set after the fork."""
    for name in setup.THREAD_VARIABLES:
        os.environ[name] = "1"
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def has_hung_up(control: int) -> bool:
    """Has the other end of the control socket been closed."""
    poll = select.poll()
    poll.register(control, 0)
    return bool(poll.poll(0))


class ThreadsInZygote(RuntimeError):
    """A library has started a thread: a fork could copy a lock that nobody would ever release."""


def check_threads() -> None:
    """ThreadsInZygote unless this is the only thread, but for those named in ALLOWED_THREADS."""
    if os.stat("/proc/self/task").st_nlink == 3:  # ".", ".." and one thread
        return
    own = os.getpid()
    names = []
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != own:
            with Path(f"/proc/self/task/{thread}/comm").open() as file:
                names.append(file.read().strip())
    strange = [name for name in names if name not in ALLOWED_THREADS]
    if strange:
        raise ThreadsInZygote(f"the zygote has threads that nobody expected: {', '.join(strange)}")


class Zygote:
    """Forks workers on order and says how they ended."""

    def __init__(self, control: socket.socket, threads: int) -> None:
        self._control = control
        self._threads = threads
        self._workers: dict[int, int] = {}
        self._libraries = setup.open_descriptors()

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except BrokenPipeError:
            sys.exit(0)  # the server has gone; nobody waits for this

    def serve(self) -> None:
        """Until the server closes the socket or says `leave`."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake_read:
                    self._drain(wake_read)
                    self._reap()
                elif not self._receive():
                    return

    @staticmethod
    def _drain(descriptor: int) -> None:
        try:
            while os.read(descriptor, 4_096):
                pass
        except BlockingIOError:
            return

    def _receive(self) -> bool:
        message, descriptors, _flags, _address = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 3)
        if not message:
            return False
        try:
            order = json.loads(message)
            if order["op"] == "leave":
                return False
            if order["op"] == "fork" and len(descriptors) == 3:
                self._fork(order, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, order: dict[str, Any], descriptors: list[int]) -> None:
        isolation = (order.get("sandbox") or {}).get("isolation", "auto")
        try:
            from fused import _native

            check_threads()
            pid = _native.fork_worker(isolation, (order.get("sandbox") or {}).get("without") or [])
        except (OSError, RuntimeError, ValueError) as error:
            self.send({"op": "fork_failed", "worker": order["worker"], "message": str(error)})
            return
        if pid == 0:
            from .worker import child_main

            child_main(order, descriptors, self._threads, self._libraries)
        self._workers[pid] = order["worker"]
        self.send({"op": "forked", "worker": order["worker"], "pid": pid})

    def _reap(self) -> None:
        from fused import _native

        for pid, status, max_rss_kb in ended_children():
            worker = self._workers.pop(pid, None)
            if worker is not None:
                exited = {"op": "exited", "worker": worker, "pid": pid, "status": _native.worker_status(pid, status)}
                self.send({**exited, "max_rss_bytes": max_rss_kb << 10})


def main() -> None:
    if "--dies-with-parent" in sys.argv:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if has_hung_up(CONTROL):
            os._exit(0)  # it had gone before it could be asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when to stop
    threads = threads_per_worker()
    forget_environment()
    set_environment()
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    from . import preload

    preloaded = preload.load()
    check_threads()
    zygote = Zygote(control, threads)
    gc.collect()
    gc.freeze()
    zygote.send({"op": "ready", "preloaded": preloaded, "python": platform.python_version()})
    try:
        zygote.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has gone
    os._exit(0)


if __name__ == "__main__":
    sys.modules.setdefault("fused._worker.zygote", sys.modules["__main__"])
    main()
