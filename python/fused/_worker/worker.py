"""The loop of a worker: RUN → RESULT (or RUN_GROUP → GROUP_RESULT) → clean up → IDLE, over the socket on descriptor 3.

Most runs leave nothing to clean up. While others wait, the look then comes first and both frames travel in one write.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import time
from typing import Any

from . import code_digest, setup, uses
from .connection import TOGETHER_BYTES_MAX, Closed, Connection, to_json
from .describe import describe
from .fingerprint import Fingerprint
from .frames import FrameError, Kind
from .growth import REST_SECONDS, Growth
from .runner import Runner
from .streams import Streams

DESCRIBE_SECONDS_MAX = 30


class Worker:
    """One worker process, from READY to its end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()
        self.runs = 0
        self.streams = Streams()
        self.fingerprint = Fingerprint(self.streams)
        self.runner = Runner(connection, self.streams, self.fingerprint)

    def wait_for_sandbox(self) -> dict[str, Any]:
        """Of a worker that was forked ahead: its sandbox, when there is a task for it. Until then it warms up."""
        self.fingerprint.take_names()
        self._rehearse()
        kind, header, _ = self.connection.read()
        if kind is not Kind.ENTER:
            raise FrameError(f"a frame of kind {kind.name} came before the sandbox")
        sandbox: dict[str, Any] = header["sandbox"]
        return sandbox

    def begin(self, report: dict[str, Any], scratch: str, *, is_warm: bool) -> None:
        """In the sandbox: what is now is clean."""
        self.report = report
        self.growth = Growth()
        self.fingerprint.begin(setup.own_folders(report, scratch))
        if is_warm:
            return
        self._rehearse()
        why = self.fingerprint.restore() or self.growth.check(0, None)
        if why:
            raise RuntimeError(f"the rehearsal left a trace: {why}")

    def _rehearse(self) -> None:
        """A run that nobody asked for: what a fork pays for at first use (some thousand page faults) is paid now."""
        self.runner.rehearse()
        self.runner.after()

    def serve(self) -> None:
        """Until the server says so or goes away."""
        self.connection.send(Kind.READY, to_json({"pid": self.pid, "python": platform.python_version(), **self.report}))
        while True:
            if self.growth.holds_memory and not self.connection.wait(REST_SECONDS):
                self.growth.give_back()
            kind, header, body = self.connection.read()
            if kind is Kind.RUN:
                self._run(header)
            elif kind is Kind.RUN_GROUP:
                self._run_group(header, body)
            elif kind is Kind.DESCRIBE:
                self._describe(header)
            elif kind is Kind.LEAVE:
                return
            elif kind is not Kind.CALL_REPLY:  # a late one belongs to a run that did not wait for it
                raise FrameError(f"a frame of kind {kind.name} came from the server")

    def _run(self, order: dict[str, Any]) -> None:
        uses.begin()
        if job_folder := self.report.get("job"):
            order.setdefault("context", {})["job_folder"] = job_folder
        header, body = self.runner.run(order)
        if os.getpid() != self.pid:
            os._exit(0)  # a child that the function forked and let return: it has no part in the protocol
        header["uses"] = uses.taken()
        self.runs += 1
        grown = self.runner.memory.grown
        if order.get("others_wait") and self._has_left_nothing(body, grown):
            clean = b'{"replace":null,"runs":%d}' % self.runs
            self.connection.send_together(Kind.RESULT, to_json(header), body, Kind.IDLE, clean)
            self.growth.check(grown, None)
            return
        self.connection.send(Kind.RESULT, to_json(header), body)
        del header, body
        self.runner.after()
        growth_max = (order.get("limits") or {}).get("worker_growth_bytes")
        replace = self.fingerprint.restore() or self.runner.must_leave or self.growth.check(grown, growth_max)
        self.connection.send(Kind.IDLE, to_json({"replace": replace, "runs": self.runs}))

    def _run_group(self, order: dict[str, Any], body: Any) -> None:
        from .group import run_group

        uses.begin()
        header = run_group(self.runner, order, body, self.connection.descriptors())
        del body
        header["uses"] = uses.taken()
        self.runs += 1
        grown = self.runner.memory.grown
        self.connection.send(Kind.GROUP_RESULT, to_json(header))
        self.runner.after()
        growth_max = (order.get("limits") or {}).get("worker_growth_bytes")
        replace = self.fingerprint.restore() or self.runner.must_leave or self.growth.check(grown, growth_max)
        self.connection.send(Kind.IDLE, to_json({"replace": replace, "runs": self.runs}))

    def _has_left_nothing(self, body: Any, grown: int) -> bool:
        """Can the worker say at once that it is clean, so that nobody waits for anything but a short look."""
        return (
            type(body) is bytes
            and len(body) <= TOGETHER_BYTES_MAX
            and not self.growth.is_due(grown)
            and self.runner.must_leave is None
            and self.runner.is_settled()
            and self.fingerprint.is_clean()
        )

    def _describe(self, order: dict[str, Any]) -> None:
        """In a child, where a text that is too much for Python's parser does no harm."""
        if order.get("digest"):
            self.connection.send(Kind.DESCRIBED, to_json(code_digest.describe(order["udf"])))
            return
        child = os.fork()
        if child == 0:
            signal.alarm(DESCRIBE_SECONDS_MAX)
            self.connection.send(Kind.DESCRIBED, to_json(describe(order["text"])))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        self.fingerprint.restore()
        if status != 0:
            message = f"reading the text did not end well (wait status {status})"
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
                message = f"reading the text took longer than {DESCRIBE_SECONDS_MAX} s"
            error = {"class": "InvalidCode", "message": message, "traceback": "", "line": None}
            self.connection.send(Kind.DESCRIBED, to_json({"error": error}))


def child_main(order: dict[str, Any], descriptors: list[int], threads: int, libraries: frozenset[int]) -> None:
    """A forked worker's whole life; does not return."""
    status = 1
    try:
        setup.default_signals()
        frames, out, err = descriptors
        setup.take_descriptors(frames, out, err, libraries)
        setup.collect_orphans()
        setup.open_peak_reset()
        setup.keep_freed_memory()
        sandbox, worker = order["sandbox"], None
        if order.get("late"):
            worker = _worker_on_socket(order)
            sandbox = worker.wait_for_sandbox()
        scratch = sandbox["scratch"]
        os.makedirs(scratch, mode=0o700, exist_ok=True)
        report = setup.enter_sandbox(sandbox)
        setup.set_environment(sandbox, scratch)
        if report.get("mount") in ("namespace", "link"):
            os.environ["FUSED_MOUNT"] = "/mount"
        setup.new_random_numbers()
        setup.set_threads(threads)
        setup.answer_where_you_are()
        is_warm = worker is not None
        worker = worker or _worker_on_socket(order)
        worker.begin(report, scratch, is_warm=is_warm)
        worker.serve()
        status = 0
    except Closed:
        status = 0
    except BaseException as error:
        _say(error)
    finally:
        os._exit(status)


def _worker_on_socket(order: dict[str, Any]) -> Worker:
    return Worker(Connection(socket.socket(fileno=setup.SOCKET), int(order["nonce"])))


def _say(error: BaseException) -> None:
    """Why a worker could not go on, to the server's log by way of its stderr pipe."""
    import traceback

    try:
        lines = "".join(traceback.format_exception(error))
        os.write(2, f"worker {os.getpid()} at {time.strftime('%H:%M:%S')}: {lines}".encode("utf-8", "backslashreplace"))
        sys.stderr.flush()
    except BaseException:
        return
