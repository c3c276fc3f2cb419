"""One attempt of a job's task on a node of a cluster: a Ray task calls ``run_attempt`` (docs/decisions/0011).

What the worker sends goes on to the server; what the server wants is heard at each beat. A node that reaches no server
for a lease kills its worker: by then the server has given the attempt to another.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

from fused._worker.connection import Closed, to_json
from fused._worker.frames import FrameError, Kind
from fused._worker.setup import WHERE_ARE_YOU, libc

from .node_client import Late, Lost, Refused, ServerClient, pack, unpack
from .node_keeper import PR_SET_DUMPABLE
from .node_worker import NodeError, NodeWorker

LOOK_SECONDS = 0.1
BEAT_SECONDS_MAX = 5.0
DRAIN_SECONDS = 10.0
READ_BYTES = 256 << 10
WHERE_SECONDS = 0.15
LAST_LINES_MAX = 16 << 10
CALLS_AT_ONCE_MAX = 1_024


class Ended(Exception):
    """The attempt is to end now: ``how`` as the server names it, "" where it does not want to hear of it."""

    def __init__(self, how: str, message: str = "") -> None:
        super().__init__(message)
        self.how = how
        self.message = message


class Attempt:
    """One start of one attempt."""

    def __init__(self, client: ServerClient, given: dict[str, Any], settings: dict[str, Any]) -> None:
        self._client = client
        self._given = given
        self._settings = settings
        self._limits: dict[str, int] = dict(given["limits"])
        self._path = f"/api/v1/attempts/{given['attempt']}"
        self._start = 0
        self._worker: NodeWorker | None = None
        self._verdict: Ended | None = None  # of another thread
        self._over = threading.Event()
        self._last_lines: bytearray | None = None  # what comes on stderr once the worker is asked where it is
        self._memory = 0
        self._peak = 0
        self._calls = 0

    # ---- to the server

    def _at(self, what: str, **query: int) -> str:
        pairs = {"start": self._start, **query}
        return f"{self._path}/{what}?" + "&".join(f"{name}={value}" for name, value in pairs.items())

    def _decide(self, verdict: Ended) -> None:
        self._verdict = self._verdict or verdict

    def _beat(self) -> None:
        pause = min(BEAT_SECONDS_MAX, self._client.lease_seconds / 6)
        while not self._over.wait(pause):
            worker = self._worker
            usage: dict[str, Any] = {"memory_bytes": 0, "cpu_seconds": 0.0}
            if worker is not None and worker.pid:
                if worker.is_stopped():
                    continue  # no sign of life
                usage = {"memory_bytes": self._memory, "cpu_seconds": worker.cpu_seconds()}
            try:
                if self._client.ask(self._at("beat"), usage, timeout=pause * 2)["cancelled"]:
                    self._decide(Ended("cancelled", "its job ended, or it was given up"))
            except Late as late:
                self._decide(Ended("", str(late)))
            except Lost as lost:
                self._decide(Ended("", str(lost)))
            except Refused:
                continue

    def _pump(self, stream: int, descriptor: int) -> None:
        """What the function prints, in pieces as large as the network makes them. Each has a number: one that is sent
        again because its answer was lost is taken once.
        """
        piece, missing, why = 0, 0, ""
        while True:
            try:
                data = os.read(descriptor, READ_BYTES)
            except OSError:
                return
            if not data and not missing:
                return
            if stream == 2 and self._last_lines is not None:
                self._last_lines += data[: LAST_LINES_MAX - len(self._last_lines)]
                if not data:
                    return
                continue
            said = f"\n[{missing} bytes of output did not reach the server: {why}]\n".encode() if missing else b""
            piece += 1
            try:
                self._client.post(self._at("output", stream=stream, piece=piece), said + data)
                missing = 0
            except (Late, Lost) as error:
                self._decide(Ended("", str(error)))
                return
            except Refused as error:
                missing, why = missing + len(data), str(error)
            if not data:
                return

    def _answer(self, worker: NodeWorker, header: dict[str, Any], body: bytes) -> None:
        """Of what the function asks of the server."""
        try:
            wall = self._limits["wall_ms"] / 1e3
            data = self._client.post(self._at("call"), pack(header, body), timeout=wall + 60, once=True)
            reply, answer = unpack(data)
        except (Late, Lost, Refused) as error:
            reply = {"call": header["call"], "status": 503, "headers": {"content-type": "application/json"}}
            answer = b'{"error_type":"unavailable","message":"the server could not be reached from this node","detail":'
            answer += b'"","request_id":""}'
            if isinstance(error, Late):
                self._decide(Ended("", str(error)))
        self._calls -= 1
        try:
            worker.connection.send(Kind.CALL_REPLY, to_json(reply), answer)
        except OSError:
            return

    # ---- the run

    def run(self) -> str:
        """Begins it, runs it, tells how it ended; the word for Ray's own list of tasks."""
        try:
            begun = self._client.ask(f"{self._path}/begin", {"node": socket.gethostname(), "pid": os.getpid()})
        except Late as late:
            return f"late: {late}"
        self._start = begun["start"]
        threading.Thread(target=self._beat, daemon=True).start()
        header: dict[str, Any] = {"end": "cancelled", "message": "its node was told to end it"}
        body: bytes = b""
        pumps: list[threading.Thread] = []
        try:
            try:
                worker = self._worker = NodeWorker(self._settings, self._limits, self._given["order"])
                for stream, descriptor in worker.streams.items():
                    pump = threading.Thread(target=self._pump, args=(stream, descriptor), daemon=True)
                    pump.start()
                    pumps.append(pump)
                worker.wait_until_ready()
                worker.send_order(self._given["order"])
                header, body = self._listen(worker)
            except Ended as ended:
                if not ended.how:
                    return f"late: {ended.message}"
                header = self._ask_where(ended)
            except (Late, Lost) as error:
                return f"late: {error}"
            except (NodeError, FrameError, Closed, Refused, OSError) as error:
                header = {"end": "crashed", "message": f"{type(error).__name__}: {error}".removeprefix("NodeError: ")}
            except KeyboardInterrupt:  # ray.cancel
                pass
            return self._finish(header, body, pumps)
        except KeyboardInterrupt:
            return self._finish(header, body, pumps)
        finally:
            self._over.set()
            if self._worker is not None:
                self._worker.kill()
                self._worker.close()

    def _finish(self, header: dict[str, Any], body: bytes, pumps: list[threading.Thread]) -> str:
        """Told when nothing of it is alive and its last lines are with the server."""
        worker = self._worker
        if worker is not None:
            if worker.kill() is None and worker.pid:
                return "its processes did not end"  # the server waits for a lease, as for a node that is gone
            for pump in pumps:
                pump.join(DRAIN_SECONDS)
        header["peak_memory_bytes"] = max(self._peak, int(header.get("peak_memory_bytes") or 0))
        if self._last_lines:
            header["last_lines"] = self._last_lines.decode("utf-8", "replace")
        try:
            self._client.post(self._at("end"), pack(header, body), timeout=120)
        except (Late, Lost) as error:
            return f"late: {error}"
        return str(header["end"])

    def _listen(self, worker: NodeWorker) -> tuple[dict[str, Any], bytes]:
        began = time.monotonic()
        next_look = 0.0
        while True:
            now = time.monotonic()
            if self._verdict:
                raise self._verdict
            if now - began > self._limits["wall_ms"] / 1e3:
                raise Ended("timeout", f"the function ran longer than its limit of {self._limits['wall_ms'] / 1e3:g} s")
            if now >= next_look:
                self._judge(worker)
                # Looking costs more where there is more to look at.
                next_look = time.monotonic() + max(LOOK_SECONDS, 10 * (time.monotonic() - now))
            if not worker.connection.wait(LOOK_SECONDS):
                continue
            try:
                kind, header, body = worker.connection.read()
            except Closed:
                return self._died(worker), b""
            if kind is Kind.RESULT:
                return {"end": "reported", "header": header}, bytes(body)
            if kind is Kind.LIMITS:
                self._limits = self._client.ask(self._at("limits"), header)
            elif kind is Kind.CALL:
                self._calls += 1
                if self._calls > CALLS_AT_ONCE_MAX:
                    raise Ended(
                        "limit_exceeded",
                        f"the function had more than {CALLS_AT_ONCE_MAX} unanswered requests to the server at once",
                    )
                threading.Thread(target=self._answer, args=(worker, header, bytes(body)), daemon=True).start()
            elif kind is not Kind.IDLE:
                raise FrameError(f"the worker sent a frame of kind {kind.name} that nobody expected")

    def _judge(self, worker: NodeWorker) -> None:
        usage = worker.usage()
        self._memory = usage["memory_bytes"]
        self._peak = max(self._peak, self._memory)
        for name, limit, end, words in (
            ("memory_bytes", "memory_bytes", "out_of_memory", "the function used {} bytes of memory"),
            ("threads", "processes", "limit_exceeded", "the function had {} processes and threads"),
            ("written_bytes", "disk_written_bytes", "limit_exceeded", "the function wrote {} bytes to disk"),
            ("scratch_bytes", "disk_written_bytes", "limit_exceeded", "the function held {} bytes of scratch"),
            ("scratch_files", "files_made", "limit_exceeded", "the function has {} files in scratch"),
        ):
            if usage[name] > self._limits[limit]:
                raise Ended(end, f"{words.format(usage[name])}, over the limit of {self._limits[limit]}")

    def _ask_where(self, ended: Ended) -> dict[str, Any]:
        """Its fault handler writes the lines of every thread to stderr, before it is killed for a limit."""
        worker = self._worker
        if worker is not None and worker.pid > 1 and ended.how != "cancelled":
            self._last_lines = bytearray()
            try:
                os.kill(worker.pid, WHERE_ARE_YOU)
                time.sleep(WHERE_SECONDS)
            except OSError:
                pass
        return {"end": ended.how, "message": ended.message}

    def _died(self, worker: NodeWorker) -> dict[str, Any]:
        """How the worker ended that has closed its socket without a result."""
        told = worker.exited(1.0) or {}
        status = int(told.get("status", 0))
        found: dict[str, Any] = {"peak_memory_bytes": int(told.get("max_rss_bytes", 0))}
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            message = f"the function's process was ended by signal {number} ({signal.strsignal(number)})"
            if number == signal.SIGKILL:
                message += "; the system may have run out of memory"
            return {**found, "end": "crashed", "signal": number, "message": message}
        code = os.WEXITSTATUS(status)
        message = f"the function's process ended with exit code {code} before it gave a result"
        return {**found, "end": "no_result", "exit_code": code, "message": message}


def run_attempt(given: dict[str, Any], settings: dict[str, Any], url: str, token: str) -> str:
    """Runs what the server gave the driver. Raises where this node could not run it."""
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # functions of the same user cannot read the token out of this process
    client = ServerClient(url, token, settings["lease_ms"] / 1e3)
    return Attempt(client, given, settings).run()
