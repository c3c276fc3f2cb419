"""What one call does: look, else wait for whoever computes it, else compute and keep.

The steps are a generator that says what to wait for; ``run`` and ``run_async`` are the two who wait. In a process the
callers of one entry wait for each other's ``Flight``; one of them competes with other processes for the file's lock.
The kernel wakes all who wait for it when its holder lets go or dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import traceback
import types
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fused._cache import entry, objects, place, store, values
from fused._cache.entry import clocks
from fused._cache.errors import CacheResultError, say_once
from fused._cache.secret import Keys

PAUSE_S_MIN = 0.001  # where the lock is free for an instant, or no thread can be had to wait for it
PAUSE_S_MAX = 0.010

_computing: ContextVar[tuple[str, ...]] = ContextVar("fused_cache_computing", default=())
_flights: dict[str, Future[Any]] = {}
_flights_lock = threading.Lock()


@dataclass(slots=True)
class Call:
    """One call of a cached function."""

    fn: types.FunctionType
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    folder: Path
    name: str
    key: bytes
    keys: Keys
    max_age_s: int
    lock_timeout_s: float
    storage: str
    max_size: int | None
    newer_than_ns: int | None
    say: Callable[[str], None] | None
    note: dict[str, Any]
    asked_ns: int = 0
    folder_text: str = ""
    path: str = ""
    must_leave: bool = field(default=False)

    def find(self) -> store.Found | None:
        return store.find(self.folder_text, self.name, self.key, self.keys, self.max_age_s, self.newer_than_ns)


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForLock:
    """Until its holder lets go, or for so long."""

    wait: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class WaitFor:
    flight: Future[Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Compute:
    """The answer is ``(value, None)`` or ``(None, exception)``."""


class _Again(Exception):
    """The flight ended without a result: its caller was cancelled or ran out of time."""


_TIMED_OUT = object()
Steps = Generator[Pause | WaitForLock | WaitFor | Compute, Any, Any]


def steps(call: Call) -> Steps:
    """From a miss to the value. ``TimeoutError`` when another call holds the entry for too long."""
    call.asked_ns = clocks.boot_ns()
    if call.path in _computing.get():
        raise RecursionError(
            f"{call.fn.__qualname__} calls itself with the same arguments while it computes their value"
        )
    deadline = time.monotonic() + call.lock_timeout_s
    while True:
        with _flights_lock:
            flight = _flights.get(call.path)
            leads = flight is None
            if flight is None:
                flight = _flights[call.path] = Future()
        if leads:
            return (yield from _lead(call, flight, deadline))
        ended = yield WaitFor(flight, max(0.0, deadline - time.monotonic()))
        if ended is _TIMED_OUT:
            raise _timed_out(call, "another thread of this process")
        if isinstance(ended, _Again):
            continue
        if isinstance(ended, BaseException):
            raise ended
        found = call.find()
        if found is not None:
            _say(call, "hit: it was computed meanwhile")
            return found.value
        if isinstance(ended, values.Body):  # computed, but nowhere to keep it
            return values.decode(ended.kind, ended.note, memoryview(bytearray(b"".join(map(bytes, ended.parts)))))
        # The value can neither be kept nor copied: every caller has to make its own.
        return (yield from _computed(call))


def _lead(call: Call, flight: Future[Any], deadline: float) -> Steps:
    """The one caller of this process that looks after this entry."""
    result: Any = _Again()
    lock: Any = None
    try:
        lock, found = yield from _take_lock(call, deadline)
        if found is not None:
            result = None
            return found.value
        began = time.perf_counter_ns()
        try:
            value = yield from _computed(call)
        except Exception as error:
            result = error
            if lock is not None:
                text = "".join(traceback.format_exception(error))
                store.put_failure(call.folder, call.name, call.key, call.keys, error, text)
            raise
        result = _keep(call, value, time.perf_counter_ns() - began, lock)
        return value
    finally:
        if lock is not None:
            lock.release()
        with _flights_lock:
            if _flights.get(call.path) is flight:
                del _flights[call.path]
        flight.set_result(result)


def _take_lock(call: Call, deadline: float) -> Generator[Any, None, tuple[Any, store.Found | None]]:
    """``(lock, None)`` when it is ours to compute, ``(…, found)`` when it appeared; no lock where there can be none."""
    try:
        place.make(call.folder, call.storage)
    except OSError as error:
        place.not_kept(call.folder, error)
        return None, None
    lock = entry.lock_of(call.folder_text, call.name, call.keys.name_tag)
    pause = PAUSE_S_MIN
    waited = False
    try:
        while True:
            found = _look(call) if waited else None  # before the lock, which all who were woken want
            ours = False
            if found is None:
                try:
                    ours = _try(lock, call)
                except OSError as error:
                    place.not_kept(call.folder, error)
                    lock.release()
                    return None, None
                if ours:
                    found = _look(call) if waited else call.find()
            if found is not None:
                lock.release()
                _say(call, "hit: it was computed meanwhile")
                return None, found
            if ours and call.storage == "object" and call.newer_than_ns is None and objects.fetch(call):
                found = call.find()
                if found is not None:
                    lock.release()
                    _say(call, "hit: it was in the object store")
                    return None, found
            if ours:
                return lock, None
            left = deadline - time.monotonic()
            if left <= 0:
                raise _timed_out(call, "another process")
            waited = True
            began = time.monotonic()
            yield from _wait(lock, left)
            if time.monotonic() - began < PAUSE_S_MIN:  # free for an instant: others look as well
                yield Pause(min(pause, left))
                pause = min(pause * 1.5, PAUSE_S_MAX)
    except BaseException:
        lock.release()
        raise


def _look(call: Call) -> store.Found | None:
    """Of one who has waited: what was computed meanwhile. What it has failed with is raised."""
    found = call.find()
    if found is not None:
        return found
    failed = store.find_failure(call.folder_text, call.name, call.key, call.keys, call.asked_ns)
    if failed is not None:
        raise _failure(call, *failed)
    return None


def _wait(lock: Any, seconds: float) -> Generator[Any, None, None]:
    """Until nobody has the lock; at once where no thread can be had to wait for it."""
    lock.release()
    try:
        wait = lock.begin_wait()
    except OSError:
        return
    yield WaitForLock(wait, seconds)


def _try(lock: Any, call: Call) -> bool:
    try:
        return bool(lock.try_acquire())
    except FileNotFoundError:  # the folder was removed since it was made
        place.gone(call.folder)
        place.make(call.folder, call.storage)
        return bool(lock.try_acquire())


def _computed(call: Call) -> Steps:
    value, error = yield Compute()
    if error is not None:
        raise error
    return value


def _keep(call: Call, value: Any, computing_ns: int, lock: Any) -> values.Body | None:
    """Stores it; gives the body for waiting threads where it could not be stored."""
    try:
        body = values.encode(value)
    except values.NotStorable as error:
        say_once(
            f"value {call.fn.__module__}.{call.fn.__qualname__}",
            f"@fused.cache: what {call.fn.__qualname__} returned is not kept: {error}",
        )
        return None
    try:
        place.make(call.folder, call.storage)
        for attempt in (1, 2):
            try:
                store.put(call.folder, call.name, call.key, call.keys, body, call.note, call.max_age_s, computing_ns)
                break
            except FileNotFoundError:
                if attempt == 2:
                    raise
                place.gone(call.folder)
                place.make(call.folder, call.storage)
            except OSError as error:
                if attempt == 2 or error.errno not in (errno.ENOSPC, errno.EDQUOT) or not _make_room(call, body):
                    raise
        if lock is not None and (call.storage == "object" or call.max_size is not None):
            lock.share()  # the entry is there: who waits need not wait for what follows
        if call.storage == "object":
            objects.send(call)
        if call.max_size is not None:
            store.shrink(call.folder, call.max_size)
        store.sweep(call.folder)
        return None
    except OSError as error:
        place.not_kept(call.folder, error)
        return body


def _make_room(call: Call, body: values.Body) -> bool:
    """The disk is full: what expired goes. Was there anything?"""
    removed = 0
    for item in store.scan(call.folder):
        if item.is_expired():
            with contextlib.suppress(OSError):
                os.unlink(item.path)
                removed += 1
    return removed > 0


def _failure(call: Call, error: Any, known: dict[str, Any]) -> BaseException:
    if isinstance(error, BaseException):
        error.add_note(
            f"(another process computed {call.fn.__qualname__}(…) and failed so)\n{known.get('traceback', '')}"
        )
        return error
    return CacheResultError(
        f"another process computed {call.fn.__qualname__}(…) and failed with {known.get('class')}: "
        f"{known.get('message')}\n{known.get('traceback', '')}"
    )


def _timed_out(call: Call, who: str) -> TimeoutError:
    return TimeoutError(
        f"{call.fn.__qualname__}: {who} has been computing this value for more than {call.lock_timeout_s:g} s; "
        "concurrent_lock_timeout= allows for more"
    )


def _say(call: Call, text: str) -> None:
    if call.say is not None:
        call.say(text)


# --- the two who wait -----------------------------------------------------------------------------------------------


def run(call: Call) -> Any:
    """For plain functions."""
    walk = steps(call)
    answer: Any = None
    try:
        step = next(walk)
        while True:
            if isinstance(step, Compute):
                answer = _compute(call)
            elif isinstance(step, WaitForLock):
                values.warm_up()
                step.wait.wait(step.seconds)
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            else:
                try:
                    answer = step.flight.result(step.seconds)
                except FutureTimeout:
                    answer = _TIMED_OUT
            step = walk.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        walk.close()


def _compute(call: Call) -> tuple[Any, BaseException | None]:
    token = _computing.set((*_computing.get(), call.path))
    try:
        return call.fn(*call.args, **call.kwargs), None
    except Exception as error:
        return None, error
    finally:
        _computing.reset(token)


async def run_async(call: Call) -> Any:
    """For coroutine functions: nothing blocks the event loop but reading and writing the file."""
    import asyncio

    walk = steps(call)
    answer: Any = None
    try:
        step = next(walk)
        while True:
            if isinstance(step, Compute):
                token = _computing.set((*_computing.get(), call.path))
                try:
                    answer = await call.fn(*call.args, **call.kwargs), None
                except Exception as error:
                    answer = None, error
                finally:
                    _computing.reset(token)
            elif isinstance(step, WaitForLock):
                await _let_go(step)
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            else:
                answer = await _ended(step)
            step = walk.send(answer)
    except StopIteration as end:
        return end.value
    finally:
        walk.close()


async def _let_go(step: WaitForLock) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    descriptor = step.wait.fileno()
    loop.add_reader(descriptor, woken.set)
    try:
        await asyncio.wait_for(woken.wait(), step.seconds)
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)


async def _ended(step: WaitFor) -> Any:
    import asyncio

    waiting = asyncio.wrap_future(step.flight)
    try:
        return await asyncio.wait_for(asyncio.shield(waiting), step.seconds)
    except TimeoutError:
        return _TIMED_OUT


def _in_child() -> None:
    """A forked child has none of the threads that its copy of the flights speaks of."""
    global _flights_lock
    _flights.clear()
    _flights_lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
