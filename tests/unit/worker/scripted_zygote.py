#!/usr/bin/env python3
"""A zygote whose workers do what each run's "script" says: the other end of core/worker/pool_test.cpp.

It shares no code with fused._worker: the tests of the server's side hold whatever our own worker does. The sandbox of
the fork order may have ``births`` (worker number → script played before the first frame; default: ready),
``fork_failed`` (numbers of workers that are not forked), ``mute`` (exits are not told) and ``ends_at`` (the zygote ends
when it has forked that worker, before it says so).

A script is a list of steps: ["send", FRAME…] in one write, ["bytes", HEX], ["call", N] sends N (1) requests and
waits for their replies, ["calls", N] waits for none, ["print", STREAM, TEXT], ["print_sandbox"] (of one
forked ahead), ["leave_child", SECONDS] that holds the
socket open, ["exit", CODE], ["signal", NUMBER], ["hang"] until the socket closes. FRAME is {"kind": …, "header": {…},
"body": TEXT, "nonce": …} or one of the words ready, result, idle.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

HEAD = struct.Struct("<4sBBHIIQ")
RUN, DESCRIBE, CALL_REPLY, ENTER, READY, RESULT, DESCRIBED, CALL, IDLE = 1, 2, 3, 6, 16, 17, 18, 19, 20
WHERE_ARE_YOU = 34 + 7
WORDS: dict[str, dict[str, Any]] = {
    "ready": {"kind": READY, "header": {"isolation": ["none"]}},
    "result": {"kind": RESULT, "header": {"outcome": "ok"}, "body": "value"},
    "idle": {"kind": IDLE, "header": {"replace": None}},
}


class Worker:
    """Plays scripts on one socket."""

    def __init__(self, connection: socket.socket, nonce: int) -> None:
        self.connection = connection
        self.nonce = nonce
        self.sandbox: dict[str, Any] = {}  # of one that was forked ahead

    def read(self) -> tuple[int, dict[str, Any]]:
        """Kind and header of the next frame; ends this process when the server has closed."""
        head = self.exactly(HEAD.size)
        _magic, _version, kind, _flags, header_length, body_length, _nonce = HEAD.unpack(head)
        header = json.loads(self.exactly(header_length) or b"{}")
        self.exactly(body_length)
        return kind, header

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    def frame(self, frame: str | dict[str, Any]) -> bytes:
        said = WORDS[frame] if isinstance(frame, str) else frame
        header, body = json.dumps(said.get("header", {})).encode(), said.get("body", "").encode()
        nonce = int(said.get("nonce", self.nonce))
        return HEAD.pack(b"FUSD", 1, said["kind"], 0, len(header), len(body), nonce) + header + body

    def play(self, script: list[list[Any]]) -> None:
        for verb, *words in script:
            if verb == "send":
                self.connection.sendall(b"".join(self.frame(word) for word in words))
            elif verb == "bytes":
                self.connection.sendall(bytes.fromhex(words[0]))
            elif verb in ("call", "calls"):
                count = words[0] if words else 1
                for number in range(count):
                    header = {"call": number, "method": "GET", "target": "/", "headers": {}}
                    self.connection.sendall(self.frame({"kind": CALL, "header": header}))
                for _ in range(count if verb == "call" else 0):
                    assert self.read()[0] == CALL_REPLY
            elif verb == "print_sandbox":
                os.write(1, json.dumps(self.sandbox["sandbox"]).encode())
            elif verb == "print":
                os.write(words[0], words[1].encode())
            elif verb == "leave_child":
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(words[0])
                    os._exit(0)
            elif verb == "exit":
                os._exit(words[0])
            elif verb == "signal":
                os.kill(os.getpid(), words[0])
            elif verb == "hang":
                while True:
                    self.read()
            else:
                raise ValueError(verb)

    def serve(self, birth: list[list[Any]], *, late: bool) -> None:
        if late:
            kind, self.sandbox = self.read()
            assert kind == ENTER
        self.play(birth)
        while True:
            kind, header = self.read()
            if kind == RUN:
                self.play(header["script"])
            elif kind == DESCRIBE:
                self.play(header.get("script") or [["send", {"kind": DESCRIBED, "header": {"udfs": []}}]])
            else:
                os._exit(0)


def become_worker(order: dict[str, Any], descriptors: list[int]) -> None:
    signal.signal(WHERE_ARE_YOU, lambda *_: os.write(2, b"in line 7\n"))
    os.dup2(descriptors[1], 1)
    os.dup2(descriptors[2], 2)
    connection = socket.socket(fileno=descriptors[0])
    os.close(descriptors[1])
    os.close(descriptors[2])
    births = order["sandbox"].get("births", {})
    birth = births.get(str(order["worker"]), [["send", "ready"]])
    Worker(connection, int(order["nonce"])).serve(birth, late=bool(order.get("late")))


class Zygote:
    """Forks on order and tells who ended."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, tuple[int, int, bool]] = {}  # pidfd → worker, pid, told

    def tell(self, op: str, **said: Any) -> None:
        self.control.send(json.dumps({"op": op, **said}).encode())

    def fork(self, order: dict[str, Any], descriptors: list[int]) -> None:
        number, sandbox = order["worker"], order["sandbox"]
        if number in sandbox.get("fork_failed", []):
            self.tell("fork_failed", worker=number, message="no processes left")
            return
        pid = os.fork()
        if pid == 0:
            self.control.close()
            for child in self.children:
                os.close(child)
            try:
                become_worker(order, descriptors)
            finally:
                os._exit(90)  # this program's own error
        if sandbox.get("ends_at") == number:
            os._exit(0)
        self.children[os.pidfd_open(pid)] = (number, pid, not sandbox.get("mute", False))
        self.tell("forked", worker=number, pid=pid)

    def serve(self) -> None:
        self.tell("ready", preloaded=[], python="3")
        while True:
            readable, _, _ = select.select([self.control, *self.children], [], [])
            for descriptor in readable:
                if isinstance(descriptor, int):
                    self.reap(descriptor)
                    continue
                message, descriptors, _flags, _address = socket.recv_fds(self.control, 64 << 10, 3)
                if not message:
                    return
                order = json.loads(message)
                if order["op"] != "fork":
                    return
                self.fork(order, descriptors)
                for passed in descriptors:
                    os.close(passed)

    def reap(self, child: int) -> None:
        number, pid, told = self.children.pop(child)
        os.close(child)
        _, status, usage = os.wait4(pid, 0)
        if told:
            self.tell("exited", worker=number, pid=pid, status=status, max_rss_bytes=usage.ru_maxrss << 10)


if __name__ == "__main__":
    try:
        Zygote(socket.socket(fileno=3)).serve()
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
