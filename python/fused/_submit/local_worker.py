"""A process of ``engine="local"``: takes groups of calls, runs them, leaves records in shared memory.

Records, output and the number of the call that runs lie in memory that the caller holds too: when this process is
killed nothing is lost but the call that it was in. A call is claimed by taking a token from an eventfd, so that the
caller can take back those that have not begun, at any moment and without asking.
"""

from __future__ import annotations

import functools
import json
import mmap
import os
import pickle
import socket
import struct
import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from fused._submit.call_loop import each_call
from fused._submit.record import ERROR, FAILURE, PICKLED, RAISED, SUCCESS, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fused._submit.arguments import Arguments
    from fused.models.udf import Udf

GROUP = struct.Struct("<qq")  # first index, calls
DONE = b"d"
_TRACEBACK_CHARACTERS_MAX = 64 << 10


class Places(NamedTuple):
    """The descriptors that worker and caller share."""

    orders: int
    stdout: int
    stderr: int
    records: int
    progress: int
    tokens: int


def work(udf: Udf, arguments: Arguments, places: Places) -> None:
    """The life of one worker: groups until the caller closes its socket."""
    from fused._inside import local_run
    from fused._parameters import plan
    from fused._submit.submit import running
    from fused._worker.streams import Streams

    os.dup2(places.stdout, 1)
    os.dup2(places.stderr, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    streams = Streams()
    progress = mmap.mmap(places.progress, mmap.PAGESIZE)
    orders = socket.socket(fileno=places.orders)
    running.set(udf)
    call: Callable[[int], Any] | None = None
    with udf.header_modules(), local_run():
        while True:
            message = orders.recv(GROUP.size)
            if len(message) < GROUP.size:
                return
            first, count = GROUP.unpack(message)
            if call is None:
                call = _caller(udf, arguments, plan)
            each_call(functools.partial(_run_one, call), range(first, first + count), places, progress, streams)
            orders.sendall(DONE)


def _caller(udf: Udf, arguments: Arguments, plan: Any) -> Callable[[int], Any]:
    """What runs call ``index``. Code that cannot be loaded is the failure of every call."""
    try:
        fn = udf.fn
        bind = plan(fn).bind
    except Exception as error:
        failure = error  # the name of an `except` clause ends with it

        def fail(index: int) -> Any:
            raise failure

        return fail
    beneath, of_call = udf.parameters, arguments.call

    def run(index: int) -> Any:
        positional, named = bind(typed=of_call(index), beneath=beneath)
        return fn(*positional, **named)

    return run


def _run_one(call: Callable[[int], Any], index: int) -> tuple[int, bytes, bytes]:
    try:
        value = call(index)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end the call, not the worker
        return _failed(error)
    try:
        return SUCCESS, PICKLED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        said = (
            f"the result is a {type(value).__module__}.{type(value).__qualname__}, which cannot leave the process that "
            f"made it ({type(error).__name__}: {error}); return a value that pickle takes, or run in this process: "
            "fused.run(udf, engine='local')"
        )
        failure = {"class": type(error).__name__, "message": said, "error_type": "serialization_error"}
        return ERROR, FAILURE, json.dumps(failure).encode()


def _failed(error: BaseException) -> tuple[int, bytes, bytes]:
    from fused._worker.failure import message_of, shorten
    from fused.errors import UdfTimeoutError

    frames = error.__traceback__
    own = (__file__, sys.modules["fused._parameters"].__file__)
    while frames is not None and frames.tb_frame.f_code.co_filename in own:
        frames = frames.tb_next
    line = None if frames is None else traceback.extract_tb(frames)[-1].lineno
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # a hostile __str__
        text = type(error).__name__
    told = json.dumps(
        {
            "class": type(error).__name__,
            "message": message_of(error),
            "traceback": shorten(text, _TRACEBACK_CHARACTERS_MAX),
            "line": line,
            "error_type": "runtime_error",
        }
    ).encode("utf-8", "replace")
    status = TIMEOUT if isinstance(error, UdfTimeoutError) else ERROR
    try:
        whole = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(whole)  # many exceptions can be packed and not unpacked
    except BaseException:
        return status, FAILURE, told
    return status, RAISED, struct.pack("<I", len(told)) + told + whole
