"""Calls on a server that has no batches (another version, the hosted one): a run for each, ``max_workers`` at a time.

Threads take the next call that waits, ask as ``fused.run`` does, and write what came into the pool's ``CallTable``.
"""

from __future__ import annotations

import collections
import json
import pickle
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fused._run.remote import RemoteRun
from fused._submit.call_table import CallTable
from fused._submit.outcome import LENGTH
from fused._submit.record import (
    CANCELLED,
    EMPTY,
    ERROR,
    FAILURE,
    PENDING,
    RAISED,
    RUNNING,
    SUCCESS,
    TIMEOUT,
    WIRE,
    Record,
    pack,
)
from fused._submit.retries import Retries
from fused.errors import UdfTimeoutError, may_pass

if TYPE_CHECKING:
    from fused._run.arguments import Call
    from fused._run.evaluation import UdfEvaluationResult
    from fused._submit.arguments import Arguments


@dataclass(frozen=True)
class Wishes:
    """How calls are run on a server: ``max_workers`` at a time; tried again ``max_retry`` times, those that failed by
    their own fault only with ``retries_failures``.
    """

    max_workers: int
    max_retry: int
    retries_failures: bool


class CallByCall:
    """An ``Engine`` (``job_pool.py``) over single runs."""

    def __init__(self, call: Call, arguments: Arguments, table: CallTable, wishes: Wishes) -> None:
        self._call, self._arguments, self._table = call, arguments, table
        self._wishes = wishes
        self._waiting: collections.deque[tuple[int, int]] = collections.deque()
        self._retries = Retries(wishes.max_retry)
        self._threads: list[threading.Thread] = []
        self._at_work = 0
        self._cancelled = False
        self._ended = False

    def start(self, calls: list[tuple[int, int]]) -> None:
        """Begins with these ranges of pending calls."""
        self._waiting.extend(calls)
        self._hire(sum(count for _, count in calls))

    def more(self, calls: list[tuple[int, int]]) -> bool:
        """Takes other ranges; False when it has ended or was cancelled."""
        with self._table.changed:
            if self._ended or self._cancelled:
                return False
            self._waiting.extend(calls)
            self._hire(sum(count for _, count in calls))
            self._table.changed.notify_all()
            return True

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """These calls, or all, are cancelled now; what a run that goes on still answers is not looked at. The server
        ends it when nobody asks for it any more.
        """
        with self._table.changed:
            if calls is None:
                self._cancelled = True
                calls = self._table.where(RUNNING)
                self._table.cancel_pending()
            for index in calls:
                if self._table.status[index] == PENDING:
                    self._table.cancel_pending(index)
                elif self._table.status[index] == RUNNING:
                    empty = pack(Record(EMPTY, b"", b"", b""))
                    self._table.finish(index, CANCELLED, time.time(), 0.0, empty)
            self._table.changed.notify_all()

    def join(self, seconds: float | None = None) -> bool:
        """Until no thread of it lives; whether that is so."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # -- threads ------------------------------------------------------------------------------------------------

    def _hire(self, calls: int) -> None:
        with self._table.changed:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for _ in range(min(calls, self._wishes.max_workers - self._at_work)):
                self._at_work += 1
                thread = threading.Thread(target=self._work, name=f"fused.submit {self._call.label}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        try:
            while (index := self._next()) is not None:
                self._run(index)
        except BaseException as failure:  # the pool's own trouble: its disk is full
            with self._table.changed:
                self._cancelled = True
                self._leave(failure)

    def _leave(self, failure: BaseException | None) -> None:
        """This thread does nothing more. With the table's lock, together with what made it so."""
        self._at_work -= 1
        if not self._at_work or failure is not None:
            self._ended = True
            self._table.end(failure)

    def _next(self) -> int | None:
        """The next call, which runs from now on; None when nothing is left that this thread could do."""
        table = self._table
        with table.changed:
            while not self._cancelled:
                now = time.monotonic()
                self._waiting.extend((call, 1) for call in self._retries.due(now))
                while self._waiting:
                    first, count = self._waiting.popleft()
                    if count > 1:
                        self._waiting.appendleft((first + 1, count - 1))
                    if table.status[first] == PENDING:  # not cancelled meanwhile
                        table.begin(first, 1)
                        return first
                pause = self._retries.seconds_left(now)
                if pause is None:
                    break
                table.changed.wait(pause)
            self._leave(None)
            return None

    def _run(self, index: int) -> None:
        started, clock = time.time(), time.perf_counter()
        error: BaseException | None = None
        result: UdfEvaluationResult | None = None
        try:
            self._call.on_timeout = "error"  # a call of a pool has a result or an error
            result = RemoteRun(self._call, self._arguments.call(index)).ask()
            error = result.exception
        except Exception as raised:
            error = raised
        seconds = time.perf_counter() - clock
        status = SUCCESS if error is None else TIMEOUT if isinstance(error, UdfTimeoutError) else ERROR
        record = _record(result, error)
        with self._table.changed:
            if self._table.status[index] != RUNNING:
                return  # cancelled
            self._table.finish(index, status, started, seconds, record)
            again = status == TIMEOUT or (error is not None and (self._wishes.retries_failures or may_pass(error)))
            if again and not self._cancelled and self._retries.put_off(index):
                self._table.move(index, PENDING)
            self._table.changed.notify_all()


def _record(result: UdfEvaluationResult | None, error: BaseException | None) -> bytes:
    out = b"" if result is None else result.stdout.encode("utf-8", "replace")
    err = b"" if result is None else result.stderr.encode("utf-8", "replace")
    if error is None:
        assert result is not None
        kind = result.original_headers.get("content-type", "").partition(";")[0].strip().lower()
        return pack(Record(WIRE, out, err, kind.encode() + b"\0" + (result.original_content or b"")))
    return failure_record(error, out, err)


def failure_record(error: BaseException, out: bytes = b"", err: bytes = b"") -> bytes:
    """What a call left that failed here, with its exception where that can be packed."""
    told = {
        "class": getattr(error, "child_exception_class", None) or type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception_only(error)),
        "line": getattr(error, "lineno", None),
        "error_type": "timeout_error" if isinstance(error, UdfTimeoutError) else "runtime_error",
    }
    text = json.dumps(told).encode()
    try:
        whole = pickle.dumps(error.with_traceback(None), pickle.HIGHEST_PROTOCOL)
        pickle.loads(whole)
    except Exception:
        return pack(Record(FAILURE, out, err, text))
    return pack(Record(RAISED, out, err, LENGTH.pack(len(text)) + text + whole))
