"""A group of calls in a real worker: a record for each, streams cut by call, what has not begun can be taken back."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from worker_harness import TestWorker

from fused._submit.record import ENDED, ERROR, FAILURE, SUCCESS, WIRE, Record, unpack
from fused._worker.connection import to_json
from fused._worker.frames import HEAD, Kind

CODE = """import os
def udf(n: int, tag: str = ""):
    if tag == "loud":
        print("call", n)
        os.system(f"echo child {n}")
    if tag == "bad":
        raise ValueError(n)
    if tag == "exit":
        print("last words", flush=True)
        os._exit(3)
    return object() if tag == "odd" else n * 2
"""


class Group:
    """The server's side of one group."""

    def __init__(self, worker: TestWorker, calls: int, arguments: dict[str, Any], tokens: int | None = None) -> None:
        self._worker = worker
        self.stdout, self.stderr, self.records, progress = map(os.memfd_create, ("out", "err", "records", "progress"))
        os.ftruncate(progress, mmap.PAGESIZE)
        for place in (self.stdout, self.stderr, self.records):
            fcntl.fcntl(place, fcntl.F_SETFL, fcntl.fcntl(place, fcntl.F_GETFL) | os.O_APPEND)
        given = calls if tokens is None else tokens
        self.tokens = os.eventfd(given, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._places = [self.stdout, self.stderr, self.records, progress, self.tokens]
        header, body = to_json({**worker.order(CODE), "calls": calls}), json.dumps(arguments).encode()
        head = HEAD.pack(b"FUSD", 1, Kind.RUN_GROUP, 0, len(header), len(body), worker.nonce)
        socket.send_fds(worker.connection.socket, [head + header + body], self._places)

    def ended(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The headers of GROUP_RESULT and IDLE."""
        kind, header, _ = self._worker.connection.read()
        assert kind is Kind.GROUP_RESULT
        kind, idle, _ = self._worker.connection.read()
        assert kind is Kind.IDLE
        return header, idle

    def written(self) -> list[tuple[int, Record]]:
        """Status and record of each call that has ended."""
        data, found, at = os.pread(self.records, 1 << 24, 0), [], 0
        while at < len(data):
            length, status, started, seconds = ENDED.unpack_from(data, at)
            assert started > 0 and seconds >= 0
            at += ENDED.size
            found.append((status, unpack(data[at : at + length])))
            at += length
        return found

    def close(self) -> None:
        for place in self._places:
            os.close(place)


@pytest.fixture
def groups(worker: TestWorker) -> Iterator[Any]:
    made: list[Group] = []

    def make(calls: int, arguments: dict[str, Any], tokens: int | None = None) -> Group:
        made.append(Group(worker, calls, arguments, tokens))
        return made[-1]

    yield make
    for group in made:
        group.close()


def test_each_call_has_its_record_and_the_worker_is_clean_afterwards(groups: Any) -> None:
    for _ in range(2):  # the text is sent once
        group = groups(5, {"columns": {"n": [1, 2, 3, 4, "x"], "tag": ["", "loud", "bad", "odd", ""]}})
        header, idle = group.ended()
        assert header["ended"] == 5 and header["error"] is None and idle["replace"] is None
        records = group.written()
        assert [status for status, _ in records] == [SUCCESS, SUCCESS, ERROR, ERROR, ERROR]
        assert records[0][1] == Record(WIRE, b"", b"", b"application/json\x002")
        assert records[1][1].stdout == b"call 2\nchild 2\n" and records[2][1].stdout == b""
        told = [json.loads(record.body) for status, record in records if status == ERROR]
        assert [each["class"] for each in told] == ["ValueError", "NotSerialisable", "ValueError"]
        assert told[0]["line"] == 7 and told[1]["error_type"] == "serialization_error"
        assert "cannot be read as" in told[2]["message"] and records[2][1].kind == FAILURE


def test_rows_may_lack_what_has_a_default(groups: Any) -> None:
    group = groups(2, {"rows": [{"n": 1}, {"n": 2, "tag": "x"}]})
    group.ended()
    assert [record.body for _, record in group.written()] == [b"application/json\x002", b"application/json\x004"]


def test_a_call_without_a_token_does_not_begin(groups: Any) -> None:
    group = groups(5, {"columns": {"n": [1, 2, 3, 4, 5]}}, tokens=2)
    assert group.ended()[0]["ended"] == 2 and len(group.written()) == 2


def test_output_and_records_stay_when_a_call_ends_the_worker(worker: TestWorker, groups: Any) -> None:
    group = groups(4, {"columns": {"n": [1, 2, 3, 4], "tag": ["", "loud", "exit", ""]}})
    assert worker.ended()["status"] == 3 << 8
    assert [status for status, _ in group.written()] == [SUCCESS, SUCCESS]
    assert os.pread(group.stdout, 1 << 16, 0).endswith(b"last words\n")
    os.eventfd_read(group.tokens)  # that of call 3, which never began
    with pytest.raises(BlockingIOError):
        os.eventfd_read(group.tokens)
