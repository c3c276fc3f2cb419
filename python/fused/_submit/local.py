"""``engine="local"``: calls on processes of this machine, told of by the same ``CallTable`` as a server's.

One thread here gives groups of calls to workers and reads what they leave; a group is as many calls as have lately
taken ``GROUP_SECONDS``, at most a fair share of what waits. What a group has not begun is taken back when another
worker is free, so that no call waits behind a long one.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fused._submit.call_table import CallTable
from fused._submit.local_nursery import MESSAGE_BYTES_MAX, forget, start_nursery
from fused._submit.local_process import Process, end_of_process, give_memory_back, processor_seconds, read_whole
from fused._submit.local_worker import GROUP
from fused._submit.record import (
    CANCELLED,
    EMPTY,
    ENDED,
    ERROR,
    FAILED,
    FAILURE,
    PENDING,
    PROGRESS,
    TIMEOUT,
    Record,
    cut,
    pack,
)
from fused._submit.retries import Retries
from fused.errors import FusedError

if TYPE_CHECKING:
    from fused._submit.arguments import Arguments
    from fused.models.udf import Udf

GROUP_SECONDS = 0.05
TICK_SECONDS = 0.02
TAKE_BACK_SECONDS = 0.05  # a call that runs longer gives what waits behind it to others
GROW_SECONDS = 0.1
END_SECONDS = 0.3  # from the end of a worker's socket to the end of its process, if it is one that ends by itself
CALL_SECONDS_LEAST = 1e-5  # of an estimate: at most 5,000 calls a group
READ_BYTES = 1 << 20
STILLBORN_MAX = 3

_CUT_OFF = "it closed descriptors that are not its own, and its process, which could not be reached any more, was ended"


class LocalRun:
    """One start of calls: until all of them have ended for good, or ``cancel``."""

    def __init__(
        self,
        udf: Udf,
        arguments: Arguments,
        table: CallTable,
        *,
        max_workers: int,
        grows: bool,
        max_retry: int,
        retries_failures: bool,
        wall_seconds: float | None,
    ) -> None:
        self._udf, self._arguments, self._table = udf, arguments, table
        self._max_workers, self._grows = max_workers, grows
        self._retries_failures, self._wall_seconds = retries_failures, wall_seconds
        self._waiting: collections.deque[tuple[int, int]] = collections.deque()  # first, count
        self._waiting_calls = 0
        self._retries = Retries(max_retry)
        self._workers: dict[int, Process] = {}
        self._idle: list[Process] = []
        self._started = 0
        self._stillborn = 0  # workers that ended before they began a call, one after another
        self._grew = self._ticked = 0.0
        self._processor_seconds = 0.0
        self._call_seconds: float | None = None
        self._cancel: set[int] | None = set()  # None: everything
        self._more: list[tuple[int, int]] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._live, name=f"fused.submit {udf.name}", daemon=True)
        self._ended = False
        self._lock = threading.Lock()

    def start(self, calls: Iterable[tuple[int, int]]) -> None:
        """Begins with these ranges, ``(first, count)``, of pending calls."""
        for first, count in calls:
            self._waiting.append((first, count))
            self._waiting_calls += count
        self._control, self._nursery = start_nursery(self._udf, self._arguments)
        self._thread.start()

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """Ends these calls, or all: those that wait never begin, the processes of those that run are killed."""
        with self._lock:
            if self._ended:
                return
            if calls is None:
                self._cancel = None
            elif self._cancel is not None:
                self._cancel.update(calls)
            os.eventfd_write(self._wake, 1)

    def more(self, calls: list[tuple[int, int]]) -> bool:
        """Other ranges of pending calls; False when it has ended or was cancelled and takes none."""
        with self._lock:
            if self._ended or self._cancel is None:
                return False
            self._more += calls
            os.eventfd_write(self._wake, 1)
            return True

    def join(self, seconds: float | None = None) -> bool:
        """Until no process of it lives; whether that is so."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Does it still do anything."""
        return self._thread.is_alive()

    # -- its thread ---------------------------------------------------------------------------------------------

    def _live(self) -> None:
        failure: BaseException | None = None
        try:
            self._selector.register(self._control, selectors.EVENT_READ, None)
            self._selector.register(self._wake, selectors.EVENT_READ, None)
            cores = len(os.sched_getaffinity(0))
            for _ in range(min(self._max_workers, self._waiting_calls, cores if self._grows else self._max_workers)):
                self._add_worker()
            while self._turn():
                pass
        except BaseException as error:
            failure = error
        finally:
            with self._lock:
                self._ended = True
            self._leave()
            self._table.end(failure)

    def _turn(self) -> bool:
        while self._idle and (self._waiting or self._take_back()):
            self._give(self._idle.pop())
        if not self._waiting and not self._retries and len(self._idle) == len(self._workers) and self._is_over():
            return False
        for key, _ in self._selector.select(self._pause()):
            if key.fileobj is self._control:
                self._hear()
            elif key.data is not None:
                worker: Any = key.data
                if worker.number in self._workers:
                    self._group_ended(worker)
            elif key.fileobj == self._wake:
                os.eventfd_read(self._wake)
                self._take_more()
                self._obey_cancel()
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            self._tick(now)
        return True

    def _is_over(self) -> bool:
        """Nothing is left to do; from here on nothing more is taken."""
        with self._lock:
            self._ended = not self._more and not self._cancel
            return self._ended

    def _take_more(self) -> None:
        with self._lock:
            more, self._more = self._more, []
        for first, count in more:
            self._waiting.append((first, count))
            self._waiting_calls += count
        while len(self._workers) < min(self._max_workers, len(os.sched_getaffinity(0)), self._waiting_calls):
            self._add_worker()

    def _pause(self) -> float | None:
        if len(self._idle) < len(self._workers):
            return TICK_SECONDS
        return self._retries.seconds_left(time.monotonic())

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            self._control.send(b'{"op": "leave"}')
        forget(self._control)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._nursery, 0)
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._selector.close()
        os.close(self._wake)

    # -- workers ------------------------------------------------------------------------------------------------

    def _add_worker(self) -> None:
        worker = Process(self._started)
        self._started += 1
        socket.send_fds(self._control, [json.dumps({"op": "fork", "worker": worker.number}).encode()], worker.theirs)
        worker.sent()
        self._workers[worker.number] = worker
        self._idle.append(worker)
        self._selector.register(worker.socket, selectors.EVENT_READ, worker)

    def _grow(self, now: float) -> None:
        """More processes while all of them wait for something else than the processor."""
        if not self._waiting or self._idle or len(self._workers) >= self._max_workers:
            return
        if not self._grows:
            self._add_worker()
            return
        passed = now - self._grew
        if passed < GROW_SECONDS:
            return
        used = sum(processor_seconds(worker.pid) for worker in self._workers.values())
        spent, self._processor_seconds = used - self._processor_seconds, used
        first, self._grew = self._grew == 0.0, now
        if first or spent > passed * len(os.sched_getaffinity(0)) / 2:
            return
        for _ in range(min(len(self._workers), self._max_workers - len(self._workers), self._waiting_calls)):
            self._add_worker()

    def _hear(self) -> None:
        try:
            message = self._control.recv(MESSAGE_BYTES_MAX)
        except ConnectionResetError:
            message = b""
        if not message:
            raise FusedError(f"the process {self._nursery} that starts the workers of this pool was ended from outside")
        said = json.loads(message)
        worker = self._workers.get(said["worker"])
        if worker is None:
            return
        if said["op"] == "forked":
            worker.pid = said["pid"]
        elif said["op"] == "exited":
            self._lost(worker, _CUT_OFF if said["killed"] else end_of_process(said["status"]))
        elif said["op"] == "fork_failed":
            self._remove(worker)
            self._put_back(worker, worker.take_back())
            worker.close()
            if not self._workers:
                raise FusedError(f"no process for this pool could be started: {said['message']}")

    def _remove(self, worker: Process) -> None:
        del self._workers[worker.number]
        if worker in self._idle:
            self._idle.remove(worker)
        if not worker.is_lost:
            self._selector.unregister(worker.socket)

    def _order(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the nursery is gone; the next look at its socket says so
            self._control.send(json.dumps(order).encode())

    def _kill(self, worker: Process, status: int, message: str) -> None:
        """Ends the process for the call that it is in, which gets this status."""
        self._put_back(worker, worker.take_back())  # no other call begins there, to be ended instead
        self._collect(worker)
        if worker.is_doomed or worker.taken >= worker.count:
            return
        worker.is_doomed = True
        worker.doom = (status, message)
        self._order({"op": "kill", "worker": worker.number})

    def _lost(self, worker: Process, how: str) -> None:
        self._collect(worker)
        self._remove(worker)
        back = worker.take_back()
        begun = worker.count - back
        self._put_back(worker, back)
        if worker.taken < begun:
            call = worker.first + worker.taken
            status, message = worker.doom or (ERROR, how)
            self._lose_call(worker, call, status, message)
        self._stillborn = 0 if begun else self._stillborn + 1
        said = (worker.said + worker.end_of_stderr()).decode("utf-8", "replace").strip()
        worker.close()
        if self._stillborn >= STILLBORN_MAX:
            told = f":\n{said}" if said else ""
            raise FusedError(f"{self._stillborn} workers in a row ended before they began a call; {how}{told}")
        wanted = min(self._max_workers, self._waiting_calls + len(self._retries))
        if self._cancel is not None and len(self._workers) < wanted:
            self._add_worker()

    def _lose_call(self, worker: Process, call: int, status: int, message: str) -> None:
        began, out_at, err_at = PROGRESS.unpack_from(worker.progress)
        streams = [
            cut(place, at, max(at, os.fstat(place).st_size))
            for place, at in ((worker.stdout, out_at), (worker.stderr, err_at))
        ]
        seconds = max(0.0, time.monotonic() - began) if began else 0.0
        if status == CANCELLED:
            record = Record(EMPTY, streams[0], streams[1], b"")
        else:
            kind = "timeout_error" if status == TIMEOUT else "runtime_error"
            told = {"class": None, "message": message, "error_type": kind}
            record = Record(FAILURE, streams[0], streams[1], json.dumps(told).encode())
        with self._table.changed:
            self._table.finish(call, status, time.time() - seconds, seconds, pack(record))
            if status != CANCELLED:
                self._retry(call)
            self._table.changed.notify_all()

    # -- groups -------------------------------------------------------------------------------------------------

    def _give(self, worker: Process) -> None:
        first, count = self._waiting.popleft()
        most = 1 if self._call_seconds is None else max(1, int(GROUP_SECONDS / self._call_seconds))
        take = min(count, most, max(1, self._waiting_calls // (2 * len(self._workers))))
        if take < count:
            self._waiting.appendleft((first + take, count - take))
        self._waiting_calls -= take
        worker.first, worker.count, worker.taken, worker.read_at = first, take, 0, 0
        if not worker.group_began:
            worker.said = worker.end_of_stderr()
        worker.group_began = time.monotonic()
        PROGRESS.pack_into(worker.progress, 0, 0.0, 0, 0)
        with self._table.changed:
            self._table.begin(first, take)
        os.eventfd_write(worker.tokens, take)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it just ended: its end is told of
            for place in (worker.stdout, worker.stderr, worker.records):
                os.ftruncate(place, 0)
            worker.socket.sendall(GROUP.pack(first, take))

    def _take_back(self) -> bool:
        """Calls that wait behind a long one, for workers that have nothing to do; whether there were any."""
        now = time.monotonic()
        for worker in list(self._workers.values()):
            began = PROGRESS.unpack_from(worker.progress)[0]
            if worker.count and began and now - began > TAKE_BACK_SECONDS:
                self._put_back(worker, worker.take_back())
        return bool(self._waiting)

    def _put_back(self, worker: Process, count: int) -> None:
        """The last ``count`` calls of the worker's group had not begun."""
        if not count:
            return
        worker.count -= count
        first = worker.first + worker.count
        with self._table.changed:
            self._table.put_back(first, count)
            if self._cancel is None:
                self._table.cancel_pending()
                return
        self._waiting.appendleft((first, count))
        self._waiting_calls += count

    def _group_ended(self, worker: Process) -> None:
        try:
            said = worker.socket.recv(64)
        except ConnectionResetError:
            said = b""
        if not said:  # it ended, or its function closed what is not its own; the nursery tells of the end
            worker.is_lost = worker.is_doomed = True
            worker.lost_at = time.monotonic()
            self._selector.unregister(worker.socket)
            if worker in self._idle:
                self._idle.remove(worker)
            return
        self._collect(worker)
        if worker.taken:
            seconds = max((time.monotonic() - worker.group_began) / worker.taken, CALL_SECONDS_LEAST)
            before = self._call_seconds
            self._call_seconds = seconds if before is None else (before + seconds) / 2
        worker.count = worker.taken = 0
        if not worker.is_doomed:
            self._idle.append(worker)

    def _collect(self, worker: Process) -> None:
        """Reads the records that are whole by now."""
        ends: list[tuple[int, float, float, bytes]] = []
        while worker.taken + len(ends) < worker.count:
            data = os.pread(worker.records, READ_BYTES, worker.read_at)
            at, needed = 0, 0
            while len(data) - at >= ENDED.size and worker.taken + len(ends) < worker.count:
                length, status, started, seconds = ENDED.unpack_from(data, at)
                end = at + ENDED.size + length
                if end > len(data):
                    needed = ENDED.size + length
                    break
                ends.append((status, started, seconds, data[at + ENDED.size : end]))
                at = end
            worker.read_at += at
            if at:
                continue
            if needed <= len(data) or os.fstat(worker.records).st_size < worker.read_at + needed:
                break
            whole = read_whole(worker.records, worker.read_at, needed)
            length, status, started, seconds = ENDED.unpack_from(whole)
            ends.append((status, started, seconds, whole[ENDED.size :]))
            worker.read_at += needed
        if not ends:
            return
        first = worker.first + worker.taken
        worker.taken += len(ends)
        self._stillborn = 0
        with self._table.changed:
            self._table.finish_next(first, ends)
            for position, (status, *_) in enumerate(ends):
                if status == TIMEOUT or (status in FAILED and self._retries_failures):
                    self._retry(first + position)
            self._table.changed.notify_all()

    # -- time ---------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        for worker in list(self._workers.values()):
            if worker.is_lost and now - worker.lost_at > END_SECONDS:  # it lives on, and cannot be reached
                self._order({"op": "kill", "worker": worker.number})
            if not worker.count:
                continue
            self._collect(worker)
            began, out_at, err_at = PROGRESS.unpack_from(worker.progress)
            give_memory_back(worker.stdout, out_at)
            give_memory_back(worker.stderr, err_at)
            limit = self._wall_seconds
            if limit is not None and began and now - began > limit:
                self._kill(worker, TIMEOUT, f"it ran longer than its limit of {limit:g} s (wall_seconds) and was ended")
        for call in self._retries.due(now):
            self._waiting.append((call, 1))
            self._waiting_calls += 1
        self._grow(now)

    def _retry(self, call: int) -> None:
        """The call failed: it waits once more, unless it did so often enough. With the table's lock."""
        if self._cancel is not None and self._retries.put_off(call):
            self._table.move(call, PENDING)

    def _obey_cancel(self) -> None:
        if self._cancel is None:
            self._waiting.clear()
            self._retries.drop()
            self._waiting_calls = 0
            with self._table.changed:
                self._table.cancel_pending()
                self._table.changed.notify_all()
            for worker in list(self._workers.values()):
                if worker.count:
                    self._collect(worker)
                    self._kill(worker, CANCELLED, "")
            return
        with self._lock:
            calls, self._cancel = self._cancel, set()
        self._cancel_some(calls)

    def _cancel_some(self, calls: set[int]) -> None:
        for worker in list(self._workers.values()):
            if any(worker.first <= call < worker.first + worker.count for call in calls):
                self._put_back(worker, worker.take_back())
                self._collect(worker)
                if worker.taken < worker.count and worker.first + worker.taken in calls:
                    self._kill(worker, CANCELLED, "")
        self._retries.drop(calls)
        kept: collections.deque[tuple[int, int]] = collections.deque()
        for first, count in self._waiting:
            start = first
            for call in sorted(call for call in calls if first <= call < first + count):
                if call > start:
                    kept.append((start, call - start))
                start = call + 1
            if start < first + count:
                kept.append((start, first + count - start))
        self._waiting, self._waiting_calls = kept, sum(count for _, count in kept)
        with self._table.changed:
            for call in calls:
                if self._table.status[call] == PENDING:
                    self._table.cancel_pending(call)
            self._table.changed.notify_all()
