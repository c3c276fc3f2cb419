"""A group of calls of one function, in one go: what one frame orders and a memory file answers.

With the frame come five descriptors (``Places``): memory files for stdout, stderr, records and progress, and an eventfd
with a token for each call. A call is claimed by taking a token, its record is written when it has ended
(``_submit/record.py``). So the server sees what has ended without asking, can take back what has not begun, knows what
a call that ends this process printed, and which call it was. Slot, limits, trace check and scratch are the group's.
"""

from __future__ import annotations

import contextvars
import json
import mmap
import os
import time
from typing import Any, NamedTuple

from fused._submit.call_loop import each_call
from fused._submit.record import ERROR, FAILURE, SUCCESS, WIRE

from . import channel, context_state, uses
from .channel import Channel
from .connection import from_json
from .formats.values import dumps
from .headers import forget_lines
from .own_limits import OwnLimits
from .runner import Runner, _call_in_context, _Run

# Values whose format depends on their type and on what was asked for, not on what they hold: where one was sent as
# JSON, the next is too, without looking at every format again.
BY_TYPE_ALONE = frozenset({int, float, bool, list})
QUICK_BYTES_MAX = 64 << 10
_ERROR_TYPES = {
    "not_serialisable": "serialization_error",
    "no_format": "serialization_error",
    "result_too_large": "serialization_error",
}


class Places(NamedTuple):
    """Descriptors that come with a group and are closed at its end."""

    stdout: int
    stderr: int
    records: int
    progress: int
    tokens: int


def run_group(runner: Runner, order: dict[str, Any], body: Any, descriptors: list[int]) -> dict[str, Any]:
    """Runs the group; the header of its GROUP_RESULT. What a call does stays in its record.

    ``order``: as that of a run, with ``calls``; its ``typed`` is given to every call. ``body``: ``{"columns": {name:
    values}}`` or ``{"rows": [{…}]}``. ``ended`` of the result is the number of records; ``error`` is set where the
    function could not be made ready: then there are none.
    """
    places = Places(*descriptors)
    streams = runner._streams
    streams.flush()
    pipes = os.dup(1), os.dup(2)
    started = time.perf_counter()
    try:
        os.dup2(places.stdout, 1)
        os.dup2(places.stderr, 2)
        streams.begin()
        runner.memory.begin()
        group = _Group(runner, order, from_json(bytes(body)) if len(body) else {}, places)
        header = group.go()
        header["execution_ms"] = (time.perf_counter() - started) * 1e3
        header["peak_memory_bytes"] = runner.memory.peak()
        return header
    finally:
        streams.flush()
        for number, pipe in zip((1, 2), pipes, strict=True):
            os.dup2(pipe, number)
            os.close(pipe)
        for place in places:
            os.close(place)


class _Group:
    def __init__(self, runner: Runner, order: dict[str, Any], arguments: dict[str, Any], places: Places) -> None:
        self._runner, self._order, self._places = runner, order, places
        self._rows = arguments.get("rows")
        self._columns = list((arguments.get("columns") or {}).items())
        self._shared: dict[str, Any] = order.get("typed") or {}
        self._context = context_state.RunContext(order)
        self._run = _Run(runner, order, self._context)
        self._progress = mmap.mmap(places.progress, mmap.PAGESIZE)
        self._as_json: set[type] = set()

    def go(self) -> dict[str, Any]:
        runner = self._runner
        this_channel = Channel(runner._connection, runner._channel_changed)
        context_state.set_current(self._context)
        channel.set_current(this_channel)
        try:
            try:
                self._prepare()
            except BaseException as error:
                return {"ended": 0, "error": self._run._failed(error)[0]}
            try:
                return {"ended": self._calls(), "error": None}
            finally:
                runner._after_code()
        finally:
            this_channel.end()
            channel.set_current(None)
            context_state.set_current(None)
            function = self._run.function
            if function is not None and function.headers:
                runner.finder.end()
                forget_lines(function.files - {function.source.filename})
            runner.last = function
            self._progress.close()

    def _prepare(self) -> None:
        runner, run = self._runner, self._run
        function = run.function = runner.find(self._order["udf"])
        if function.headers:
            runner.finder.begin(function.headers)
        if function.call is None:
            if function.new_imports:
                runner._before_code(function.new_imports)
                function.new_imports = ()
            contextvars.Context().run(function.prepare)
        self._context.udf = function.entry
        if function.asks_limits:
            run.limits = OwnLimits(function.entry, runner._connection)
        self._beneath = {**(function.stated or {}), **(self._order["udf"].get("parameters") or {})}

    def _calls(self) -> int:
        if self._run.limits is None:
            return self._each()
        with self._run.limits:
            return self._each()

    def _each(self) -> int:
        calls = range(self._order["calls"])
        return each_call(self._one, calls, self._places, self._progress, self._runner._streams)

    def _one(self, number: int) -> tuple[int, bytes, bytes]:
        run = self._run
        function = run.function
        assert function is not None and function.binder is not None
        run.execution_ns = 1  # the time of a call stands in its record
        try:
            if self._rows is not None:
                own = self._rows[number]
            else:
                own = {name: values[number] for name, values in self._columns}
            if self._shared:
                own = {**self._shared, **own}
            positional, named = function.binder.bind((), own, self._beneath, None)
            value = _call_in_context(function, positional, named)
            kind = type(value)
            if kind in self._as_json:
                quick = dumps(value)
                if len(quick) <= QUICK_BYTES_MAX:
                    return SUCCESS, WIRE, b"application/json\0" + quick
            header, body = run._encode(value)
            if header.get("response_headers") or header.get("status", 200) != 200:
                uses.not_stored("it returned a Response of its own")
            if kind in BY_TYPE_ALONE and header.get("content_type") == "application/json":
                self._as_json.add(kind)
        except BaseException as error:
            header, body = run._failed(error)
        if header["outcome"] == "ok":
            return SUCCESS, WIRE, b"".join((header["content_type"].encode(), b"\0", body))
        told = {**header["error"], "error_type": _ERROR_TYPES.get(header["outcome"], "runtime_error")}
        return ERROR, FAILURE, json.dumps({**told, "outcome": header["outcome"]}).encode()
