"""Load that does not wait for answers: requests come at random times (Poisson) at a given rate, as those of many people
do, and each is timed from the moment at which it was due.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS_MAX = 4_000


@dataclass
class Answers:
    """Milliseconds from when a request was due to the end of its answer, by status."""

    rate: float
    seconds: float
    by_status: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0  # connections that broke, and requests for which there was no connection

    def count(self, status: int) -> int:
        return len(self.by_status.get(status, ()))

    def quantile(self, status: int, share: float) -> float:
        times = sorted(self.by_status.get(status, ()))
        return times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self.load = load
        self.received = bytearray()
        self.need = -1  # bytes of the answer at hand; -1: its head is not whole
        self.status = 0
        self.due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, due: float) -> None:
        self.due = due
        assert self.transport is not None
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.need < 0:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.received[:end]).lower()
            self.status = int(head[9:12])
            at = head.find(b"content-length: ")
            length = head[at + 16 : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None]
            self.need = end + 4 + int(length)
        if len(self.received) >= self.need:
            self.received.clear()
            self.need = -1
            self.load.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.broke(self)


class _Load:
    def __init__(self, url: str, headers: dict[str, str], rate: float, seconds: float, warm_up: float) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}\r\n".encode()
        self.answers = Answers(rate, seconds)
        self.warm_up = warm_up
        self.measured_from = 0.0
        self.idle: list[_Connection] = []
        self.waiting = 0
        self.connections = 0
        self.over = False

    def answered(self, connection: _Connection) -> None:
        self.waiting -= 1
        self.idle.append(connection)
        if connection.due >= self.measured_from:
            took = (time.perf_counter() - connection.due) * 1e3
            self.answers.by_status.setdefault(connection.status, []).append(took)
        connection.due = 0.0

    def broke(self, connection: _Connection) -> None:
        self.connections -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        elif connection.due and not self.over:
            self.waiting -= 1
            self.answers.lost += 1

    async def ask(self, due: float) -> None:
        if self.idle:
            self.waiting += 1
            self.idle.pop().ask(due)
        elif self.connections >= CONNECTIONS_MAX:
            self.answers.lost += 1
        else:
            self.connections += 1
            self.waiting += 1
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(lambda: _Connection(self), self.host, self.port)
            made.ask(due)

    async def go(self) -> Answers:
        numbers = random.Random(1)
        begin = time.perf_counter()
        self.measured_from = begin + self.warm_up
        end = self.measured_from + self.answers.seconds
        due = begin
        opening: set[asyncio.Task[None]] = set()
        while (due := due + numbers.expovariate(self.answers.rate)) < end:
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            if self.idle:
                self.waiting += 1
                self.idle.pop().ask(due)
                continue
            task = asyncio.ensure_future(self.ask(due))
            opening.add(task)
            task.add_done_callback(opening.discard)
        patience = time.perf_counter() + 60
        while self.waiting > 0 and time.perf_counter() < patience:
            await asyncio.sleep(0.01)
        self.over = True
        for connection in list(self.idle):
            if connection.transport is not None:
                connection.transport.close()
        return self.answers


def open_loop(url: str, headers: dict[str, str], rate: float, seconds: float, warm_up: float) -> Answers:
    """GET ``url`` at ``rate`` requests a second; what was due in the first ``warm_up`` seconds is not counted."""
    return asyncio.run(_Load(url, headers, rate, seconds, warm_up).go())
