"""A real zygote and real workers, driven over their sockets as the server drives them."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fused._worker.connection import Closed, Connection, to_json
from fused._worker.frames import Kind

PYTHON = Path(__file__).parents[3] / "python"
WAIT_SECONDS = 60
_hashes = itertools.count()


class Result:
    """What one run gave: header of RESULT, body, header of IDLE."""

    def __init__(self, header: dict[str, Any], body: bytes, idle: dict[str, Any]) -> None:
        self.header = header
        self.body = body
        self.replace = idle["replace"]
        self.outcome = header["outcome"]
        self.error = header["error"] or {}

    @property
    def value(self) -> Any:
        assert self.outcome == "ok", self.header
        return json.loads(self.body)


class TestWorker:
    """One forked worker."""

    __test__ = False

    def __init__(
        self, zygote: TestZygote, number: int, isolation: str = "none", late: dict[str, Any] | None = None
    ) -> None:
        self._zygote = zygote
        self._sent: set[str] = set()
        self.nonce = 2**63 + number
        self.scratch = zygote.folder / "scratch" / str(number)
        self.scratch.mkdir(parents=True)
        ours, theirs = socket.socketpair()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        message = {
            "op": "fork",
            "worker": number,
            "nonce": str(self.nonce),
            "sandbox": zygote.sandbox(self.scratch, isolation),
        }
        if late is not None:
            message["late"] = True
        socket.send_fds(zygote.control, [json.dumps(message).encode()], [theirs.fileno(), out, err])
        theirs.close()
        os.close(out)
        os.close(err)
        self.number = number
        self.pid = zygote.wait_for("forked", number)["pid"]
        ours.settimeout(WAIT_SECONDS)
        self.connection = Connection(ours, self.nonce)
        if late is not None:
            self.connection.send(Kind.ENTER, to_json({"sandbox": message["sandbox"] | late}))
        try:
            kind, self.ready, _ = self.connection.read()
        except Closed:
            raise AssertionError(f"no READY: {os.read(self.err, 65536).decode()}") from None
        assert kind is Kind.READY
        os.set_blocking(self.out, False)
        os.set_blocking(self.err, False)

    def order(self, code: str, **changes: Any) -> dict[str, Any]:
        """A run frame for `code`; the text itself is sent the first time only, as the server does."""
        hash_ = changes.pop("hash", code)
        udf = {"hash": hash_, "name": "udf", "entrypoint": "udf", "parameters": {}}
        if hash_ not in self._sent:
            self._sent.add(hash_)
            udf |= {"code": code, "headers": changes.pop("headers", [])}
        udf |= changes.pop("udf", {})
        changes.pop("headers", None)
        order = {
            "run_id": "5a3c8a52-6f0e-4b62-9b0b-3f1a5d1e4a11", "udf": udf, "query": [], "typed": {}, "tile": None,
            "formats": ["json"], "format_from": "query", "dtype_out": None, "async_client": False, "profile": False,
            "limits": {"wall_ms": 60_000, "result_bytes": 512 << 20, "memory_bytes": 4 << 30},
            "context": {"user_email": "visitor@example.org", "owner_email": "owner@localhost", "recursion": 1,
            "headers": {}}, "others_wait": True,
        }  # fmt: skip
        return order | changes

    def run(
        self,
        code: str,
        *,
        answer: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]] | None = None,
        **changes: Any,
    ) -> Result:
        """Runs and waits for IDLE; `answer` replies to the function's own requests."""
        self.connection.send(Kind.RUN, to_json(self.order(code, **changes)))
        while True:
            kind, header, body = self.connection.read()
            if kind is Kind.CALL and answer is not None:
                reply, content = answer(header, body)
                self.connection.send(Kind.CALL_REPLY, to_json({"call": header["call"], **reply}), content)
                continue
            break
        assert kind is Kind.RESULT
        kind, idle, _ = self.connection.read()
        assert kind is Kind.IDLE
        return Result(header, bytes(body), idle)

    def describe(self, text: str) -> dict[str, Any]:
        self.connection.send(Kind.DESCRIBE, to_json({"text": text}))
        kind, header, _ = self.connection.read()
        assert kind is Kind.DESCRIBED
        return header

    def printed(self) -> tuple[bytes, bytes]:
        """What came through the two pipes since the last call."""
        return _drain(self.out), _drain(self.err)

    def leave(self) -> dict[str, Any]:
        """Asks it to end; gives the zygote's word of it."""
        self.connection.send(Kind.LEAVE, b"{}")
        return self.ended()

    def ended(self) -> dict[str, Any]:
        return self._zygote.wait_for("exited", self.number)

    def close(self) -> None:
        self.connection.socket.close()
        os.close(self.out)
        os.close(self.err)


def _drain(descriptor: int) -> bytes:
    found = b""
    try:
        while part := os.read(descriptor, 65536):
            found += part
    except BlockingIOError:
        pass
    return found


class TestZygote:
    """`python -m fused._worker.zygote`, started as the server starts it."""

    __test__ = False

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        (folder / "mount").mkdir(parents=True, exist_ok=True)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(WAIT_SECONDS)
        number = theirs.fileno()
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); "
            "os.execv(sys.executable, [sys.executable, '-s', '-m', 'fused._worker.zygote'])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(number)],
            pass_fds=[number],
            env={"PYTHONPATH": str(PYTHON), "PATH": os.environ["PATH"], "FUSED_WORKERS": "2", **(environment or {})},
        )
        theirs.close()
        self._waiting: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self.ready = self.wait_for("ready")

    def sandbox(self, scratch: Path, isolation: str) -> dict[str, Any]:
        return {
            "isolation": isolation, "data": str(self.folder), "mount": str(self.folder / "mount"),
            "scratch": str(scratch),
            "python_paths": [sys.prefix, sys.base_prefix, str(PYTHON)], "network": True, "limits": {},
        }  # fmt: skip

    def wait_for(self, op: str, worker: int | None = None) -> dict[str, Any]:
        for message in self._waiting:
            if message["op"] == op and message.get("worker") == worker:
                self._waiting.remove(message)
                return message
        while True:
            data = self.control.recv(65536)
            assert data, f"the zygote ended while {op} was waited for"
            message = json.loads(data)
            if message["op"] == op and message.get("worker") == worker:
                return message
            self._waiting.append(message)

    def worker(self, isolation: str = "none", late: dict[str, Any] | None = None) -> TestWorker:
        """`late`: forked ahead, and then sent into its sandbox with these settings."""
        return TestWorker(self, next(self._numbers), isolation, late)

    def close(self) -> None:
        self.control.close()
        self.process.wait(WAIT_SECONDS)
