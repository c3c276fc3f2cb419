"""Calls as a batch on the server (docs/decisions/0009-batches.md): pieces go there, chunks of what has ended come back.

One thread sends and asks. What a lost connection makes unclear is asked again: a piece has a number, a chunk a cursor.
A server that was started anew does not know the batch any more; then the pool fails with what has ended by then, and
``retry()`` runs what has no result: nothing is run twice unasked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import struct
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fused import _transport
from fused._options import options
from fused._run.parameters import encode_parameters
from fused._submit.call_by_call import CallByCall, Wishes, failure_record
from fused._submit.call_table import CallTable
from fused._submit.record import CANCELLED, EMPTY, ERROR, Record, pack
from fused.errors import FusedError, ServerError, TransportError, may_pass
from fused.models.step import UdfJobStepConfig

if TYPE_CHECKING:
    from fused._run.arguments import Call
    from fused._submit.arguments import Arguments

ROUTE = "/api/v1/batches"
FIRST_PIECE_CALLS, PIECE_CALLS = 512, 20_000
PIECE_BYTES = 1 << 20
WAIT_SECONDS = 1.0  # that the server holds a question for results
AGAIN_SECONDS = 0.1  # the same, while it has not answered to a cancel
HEAD = struct.Struct("<4sIQ")
MAGIC = b"FBR1"
NO_BATCHES = (404, 405)  # of a server that has none

Ranges = list[tuple[int, int]]


class BatchRun:
    """An ``Engine`` (``job_pool.py``) over one batch."""

    def __init__(self, call: Call, arguments: Arguments, table: CallTable, wishes: Wishes) -> None:
        self._call, self._arguments, self._table = call, arguments, table
        self._wishes = wishes
        self._lock = threading.Lock()
        self._unsent: Ranges = []
        self._left = 0  # calls without an end
        self._cancel_all = False
        self._cancel_calls: set[int] = set()
        self._cancel_told = True  # has the server answered to the last cancel
        self._ended = False
        self._by_call: CallByCall | None = None
        self._path = ""
        self._pieces = 0
        self._piece_calls = FIRST_PIECE_CALLS
        self._cursor = 0
        self._room = 0
        self._waiting_there = 0
        self._running: Ranges = []
        self._thread = threading.Thread(target=self._live, name=f"fused.submit {call.label}", daemon=True)

    def start(self, calls: Ranges) -> None:
        """Begins with these ranges of pending calls."""
        self._unsent = list(calls)
        self._left = sum(count for _, count in calls)
        self._thread.start()

    def more(self, calls: Ranges) -> bool:
        """Takes other ranges; False when it has ended or was cancelled."""
        with self._lock:
            if self._by_call is not None:
                return self._by_call.more(calls)
            if self._ended or self._cancel_all:
                return False
            self._cancel_calls.difference_update(_indexes(calls))
            self._unsent += calls
            self._left += sum(count for _, count in calls)
            return True

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """Ends these calls, or all: on the server those that run are killed."""
        with self._lock:
            if self._ended:
                return
            if self._by_call is not None:
                self._by_call.cancel(calls)
                return
            if calls is None:
                self._cancel_all = True
            else:
                self._cancel_calls.update(calls)
            self._cancel_told = False
            asked = {} if self._cancel_all else {"calls": sorted(self._cancel_calls)}
            path = self._path
        if path:
            with contextlib.suppress(FusedError):  # its thread asks again, behind the piece that it is sending
                self._ask_to_cancel(asked)

    def join(self, seconds: float | None = None) -> bool:
        """Until its thread has ended; whether that is so."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # -- its thread ---------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            if not self._open():
                return
            while not self._is_over():
                self._obey_cancel()
                sent = self._send()
                if self._left:
                    self._take(0.0 if sent else WAIT_SECONDS if self._cancel_told else AGAIN_SECONDS)
            self._post("/close", {"after": self._cursor}, b"", "closing a batch of calls")
            self._table.end()
        except BaseException as failure:
            with self._lock:
                self._ended = True
            self._table.end(self._explained(failure))

    def _is_over(self) -> bool:
        with self._lock:
            self._ended = self._left <= 0 and not self._unsent
            return self._ended

    def _explained(self, failure: BaseException) -> BaseException:
        lost = isinstance(failure, TransportError) or (isinstance(failure, ServerError) and failure.status == 404)
        if not lost or not self._path:
            return failure
        return type(failure)(
            f"the batch of {self._call.label!r} is lost on its server with {self._left:,} calls that had not ended: "
            f"{failure}. What has ended is kept; pool.retry() runs the rest, where a call that was running may have "
            "had its effects already",
            **({"status": 404} if isinstance(failure, ServerError) else {}),
        )

    def _open(self) -> bool:
        """Opens the batch; where the server has none, runs call by call to the end and gives False."""
        udf = self._call.udf
        assert udf is not None
        shared = encode_parameters(self._arguments.shared)
        defaults = (
            options.default_dtype_out_raster,
            options.default_dtype_out_vector,
            options.default_dtype_out_simple,
        )
        order = {
            "step_config": UdfJobStepConfig(udf=udf.set_parameters(shared)).model_dump_json(),
            "format": self._call.formats or ",".join(defaults),
            "profile": False,
            **dataclasses.asdict(self._wishes),
        }
        query = {"cache_max_age": self._call.cache_max_age}
        if self._call.cache_reset:
            query["cache_reset"] = "true"  # type: ignore[assignment]
        body = json.dumps(order, ensure_ascii=False).encode()
        reply = _transport.request("POST", ROUTE, query, {"Content-Type": "application/json"}, body, repeatable=True)
        if reply.status in NO_BATCHES:
            return self._call_by_call()
        told = _transport.raise_for_status(reply, f"fused.submit({self._call.label!r})").json()
        self._room = int(told["room_bytes"])
        with self._lock:
            self._path = ROUTE + _transport.path_of(str(told["batch_id"]))
        return True

    def _call_by_call(self) -> bool:
        with self._lock:
            engine = self._by_call = CallByCall(self._call, self._arguments, self._table, self._wishes)
            engine.start(self._unsent)
            if self._cancel_all:
                engine.cancel()
            elif self._cancel_calls:
                engine.cancel(self._cancel_calls)
        engine.join()
        return False

    # -- calls --------------------------------------------------------------------------------------------------

    def _send(self) -> bool:
        """Sends the next piece, where there is one and the server has room; whether more could be sent at once."""
        with self._lock:
            ranges = _first_of(self._unsent, self._piece_calls)
        if not ranges:
            return False
        encoded, chosen, failed = self._encode(ranges)
        needs = len(encoded) + 8 * sum(count for _, count in chosen) * max(1, len(self._arguments.columns))
        if chosen and needs > self._room and self._waiting_there:
            return False
        if chosen:
            body = b'{"piece":%d,"calls":%s,%s' % (self._pieces, json.dumps(chosen).encode(), encoded)
            reply = self._ask("POST", "/calls", {}, body)
            if reply.status == 429:
                self._waiting_there = max(1, self._waiting_there)
                self._room = 0
                return False
            if reply.status == 409 and self._cancel_all:
                return True
            self._note(_transport.raise_for_status(reply, "sending calls of a batch").json())
            self._pieces += 1
        with self._lock:
            _drop_first(self._unsent, sum(count for _, count in chosen) + len(failed))
        for index, error in failed:
            self._finish_here(index, ERROR, failure_record(error))
        self._piece_calls = min(PIECE_CALLS, self._piece_calls * 4)
        return bool(self._unsent)

    def _encode(self, ranges: Ranges) -> tuple[bytes, Ranges, list[tuple[int, Exception]]]:
        """As much of these calls as one piece holds: its text, the calls in it, and those that cannot travel."""
        while True:
            parts: dict[str, list[Any]] = {name: [] for name in self._arguments.columns}
            try:
                for first, count in ranges:
                    columns = self._arguments.encoded_columns(first, count)
                    if columns is None:
                        break
                    for name, values in columns.items():
                        parts[name] += values
                else:
                    text = b'"columns":%s}' % json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
                    if len(text) <= PIECE_BYTES or _count(ranges) == 1:
                        return text, ranges, []
                    ranges = _first_of(ranges, max(1, _count(ranges) * PIECE_BYTES // (2 * len(text))))
                    self._piece_calls = _count(ranges)
                    continue
            except TypeError:
                pass
            return self._encode_rows(ranges)

    def _encode_rows(self, ranges: Ranges) -> tuple[bytes, Ranges, list[tuple[int, Exception]]]:
        rows: list[str] = []
        chosen: Ranges = []
        size = 0
        for index in _indexes(ranges):
            try:
                row = json.dumps(self._arguments.encoded_row(index), ensure_ascii=False, separators=(",", ":"))
            except TypeError as error:
                # What cannot travel is the failure of that call; the others go, and it is told when they have gone.
                if rows:
                    break
                return b"", [], [(index, error)]
            rows.append(row)
            size += len(row)
            if chosen and chosen[-1][0] + chosen[-1][1] == index:
                chosen[-1] = (chosen[-1][0], chosen[-1][1] + 1)
            else:
                chosen.append((index, 1))
            if size > PIECE_BYTES:
                break
        return b'"rows":[%s]}' % ",".join(rows).encode(), chosen, []

    def _finish_here(self, index: int, status: int, record: bytes) -> None:
        with self._table.changed:
            self._table.finish(index, status, float("nan"), float("nan"), record)
            self._table.changed.notify_all()
        with self._lock:
            self._left -= 1

    def _obey_cancel(self) -> None:
        """Drops what was cancelled before it was sent, and tells the server of the rest until it has answered."""
        with self._lock:
            if self._cancel_told:
                return
            self._cancel_told = True
            chosen = None if self._cancel_all else set(self._cancel_calls)
        self._drop_unsent(chosen)
        try:
            self._ask_to_cancel({} if chosen is None else {"calls": sorted(chosen)})
        except FusedError as error:
            if not may_pass(error):
                raise
            with self._lock:
                self._cancel_told = False
            return
        with self._lock:
            self._cancel_calls -= chosen or set()

    def _drop_unsent(self, chosen: set[int] | None) -> None:
        """Calls that were cancelled before they were sent."""
        with self._lock:
            dropped = [index for index in _indexes(self._unsent) if chosen is None or index in chosen]
            if not dropped:
                return
            gone = set(dropped)
            self._unsent = list(_as_ranges(index for index in _indexes(self._unsent) if index not in gone))
            self._left -= len(dropped)
        empty = pack(Record(EMPTY, b"", b"", b""))
        with self._table.changed:
            for index in dropped:
                self._table.finish(index, CANCELLED, float("nan"), float("nan"), empty)
            self._table.changed.notify_all()

    def _ask_to_cancel(self, asked: dict[str, Any]) -> None:
        self._post("/cancel", {}, json.dumps(asked).encode(), "cancelling calls of a batch")

    # -- results ------------------------------------------------------------------------------------------------

    def _take(self, seconds: float) -> None:
        query = {"after": self._cursor, "wait_ms": int(seconds * 1e3)}
        reply = self._ask("GET", "/results", query, b"")
        _transport.raise_for_status(reply, f"asking for results of {self._call.label!r}")
        state = json.loads(reply.headers.get("x-fused-batch", "{}"))
        ended = self._apply(reply.body, state.get("running") or []) if reply.body else 0
        if not reply.body:
            with self._table.changed:
                self._show_running(state.get("running") or [])
        self._cursor = int(state["cursor"])
        self._note(state)
        with self._lock:
            self._left -= ended

    def _apply(self, body: bytes, running: Ranges) -> int:
        magic, count, length = HEAD.unpack_from(body)
        at = HEAD.size
        columns = []
        for kind in ("<f8", "<f8", "<u4", "<u4", "<u2", "u1"):
            column = np.frombuffer(body, kind, count, at)
            columns.append(column)
            at += column.nbytes
        if magic != MAGIC or len(body) != at + length:
            raise FusedError(f"the server sent {len(body)} bytes that are no results of a batch")
        started, seconds, index, lengths, attempts, status = columns
        with self._table.changed:
            self._show_running([])
            self._table.finish_many(index, status, started, seconds, attempts, lengths, memoryview(body)[at:])
            self._show_running(running)
            self._table.changed.notify_all()
        return int(count)

    def _show_running(self, running: Ranges) -> None:
        for before, after in ((self._running, False), (running, True)):
            for first, count in before:
                self._table.show_running(first, count, after)
        self._running = running

    # -- requests -----------------------------------------------------------------------------------------------

    def _note(self, state: dict[str, Any]) -> None:
        self._room, self._waiting_there = int(state["room_bytes"]), int(state["waiting"])

    def _ask(self, method: str, path: str, query: dict[str, Any], body: bytes) -> _transport.Response:
        headers = {"Accept-Encoding": "identity"}
        if body:
            headers["Content-Type"] = "application/json"
        return _transport.request(method, self._path + path, query, headers, body, repeatable=True)

    def _post(self, path: str, query: dict[str, Any], body: bytes, what: str) -> None:
        _transport.raise_for_status(self._ask("POST", path, query, body), what)


def _count(ranges: Ranges) -> int:
    return sum(count for _, count in ranges)


def _indexes(ranges: Ranges) -> Iterator[int]:
    return (index for first, count in ranges for index in range(first, first + count))


def _first_of(ranges: Ranges, calls: int) -> Ranges:
    """The first ``calls`` calls."""
    found: Ranges = []
    for first, count in ranges:
        take = min(count, calls)
        if not take:
            break
        found.append((first, take))
        calls -= take
    return found


def _drop_first(ranges: Ranges, calls: int) -> None:
    gone = 0
    while calls and gone < len(ranges):
        first, count = ranges[gone]
        take = min(count, calls)
        calls -= take
        if take == count:
            gone += 1
        else:
            ranges[gone] = (first + take, count - take)
    del ranges[:gone]


def _as_ranges(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = count = 0
    for index in indexes:
        if count and first + count == index:
            count += 1
            continue
        if count:
            yield first, count
        first, count = index, 1
    if count:
        yield first, count
