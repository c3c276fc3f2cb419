"""One run: order → function → parameters → value → bytes → result."""

from __future__ import annotations

import contextvars
import hashlib
import os
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from .. import _native, _parameters
from . import channel, code, context_state, failure, setup
from .channel import Channel
from .connection import Connection
from .fingerprint import Fingerprint
from .headers import HeaderFinder, forget_lines
from .own_limits import OwnLimits
from .profile import LineProfile
from .streams import Streams

RESULT_BYTES_MAX = 512 << 20  # where the server's order does not say
KEPT_FUNCTIONS_MAX = 256  # compiled; the texts of all are kept, for the server sends each only once
KEPT_TEXT_CHARACTERS_MAX = 64 << 20
_sha256 = hashlib.sha256
_REHEARSAL = """import pandas
def udf(n: int = 1):
    return pandas.DataFrame({"n": [n], "label": ["a"]})
"""


class Function:
    """A function this worker knows: its text, and the entry point once the body was executed."""

    __slots__ = (
        "_seen",
        "asks_limits",
        "binder",
        "call",
        "entry",
        "files",
        "headers",
        "key",
        "module",
        "new_imports",
        "source",
        "stated",
        "udf",
    )

    def __init__(self, udf: dict[str, Any], key: str) -> None:
        self.udf = udf
        self.key = key
        self.headers: list[dict[str, Any]] = udf.get("headers") or []
        self.files = HeaderFinder.check(self.headers) if self.headers else frozenset()
        self.source = code.load(udf["code"], udf.get("name") or "udf", key)
        self.files |= {self.source.filename}
        self.new_imports = self.source.imports
        self.module: types.ModuleType | None = None
        self.entry: Any = None
        self.call: Callable[..., Any] | None = None
        self.binder: _parameters.Binder | None = None
        self.stated: dict[str, Any] | None = None  # the decorator's default_parameters
        self.asks_limits = False
        self._seen: list[tuple[Any, dict[str, Any]]] = []

    @property
    def is_kept(self) -> bool:
        """May the executed body serve the next run as well."""
        return self.source.keep and not self.headers

    def prepare(self) -> None:
        """Executes the body and finds the entry point."""
        self.module = self.source.execute()
        self.entry = code.entry_point(self.module, self.udf.get("entrypoint"))
        self.call = code.raw_function(self.entry)
        is_udf = code.is_udf(self.entry)
        self.stated = self.entry.parameters if is_udf else None
        self.asks_limits = is_udf and bool(self.entry.limits or self.entry.on_timeout)
        if self.binder is None or not self.is_kept:
            self.binder = _parameters.plan(self.call)
        if self.is_kept:
            self._seen = [(part, dict(vars(part))) for part in self._parts()]

    def is_untouched(self) -> bool:
        """Do the same names hold the same objects: less than ``is_unchanged``, and never code of the function's own."""
        return self.call is not None and all(_holds_the_same(vars(part), seen) for part, seen in self._seen)

    def is_unchanged(self) -> bool:
        """Is the module what its body made of it: no global rebound, no class or function given an attribute."""
        if self.call is None:
            return False
        try:
            return all(vars(part) == seen for part, seen in self._seen)
        except Exception:  # values that cannot be compared, so not the same ones
            return False

    def _parts(self) -> list[Any]:
        assert self.module is not None
        own = [
            value
            for value in vars(self.module).values()
            if getattr(value, "__module__", None) == self.source.module_name
        ]
        functions = [code.raw_function(value) for value in own]
        return [self.module, *(part for part in functions if isinstance(part, type | types.FunctionType))]

    def drop(self) -> None:
        """The next run executes the body anew; nothing of this one is held until then."""
        self.module = self.entry = self.call = None
        self._seen = []
        self.source.module.__dict__.clear()


def _holds_the_same(names: Any, seen: dict[str, Any]) -> bool:
    if type(names) is dict:
        return not _native.differing_keys(names, seen)
    missing = object()  # a class shows its names through a proxy
    return len(names) == len(seen) and all(names.get(name, missing) is value for name, value in seen.items())


class Runner:
    """Runs orders one after the other and keeps what it has compiled."""

    def __init__(self, connection: Connection, streams: Streams, fingerprint: Fingerprint) -> None:
        from .encode import NoFormat, NotSerialisable, ResultTooLarge, encode

        self._connection = connection
        self._streams = streams
        self._before_code = fingerprint.accept_imports
        self._after_code = fingerprint.restore_early
        self._encode, self._not_serialisable, self._no_format = encode, NotSerialisable, NoFormat
        self._too_large = ResultTooLarge
        self._texts: dict[str, dict[str, Any]] = {}
        self._text_characters = 0
        self._functions: OrderedDict[str, Function] = OrderedDict()
        self._channel_changed = threading.Condition()
        self.memory = PeakMemory()
        self.finder = HeaderFinder()
        self.last: Function | None = None
        sys.meta_path.insert(0, self.finder)

    @property
    def must_leave(self) -> str | None:
        """Why this worker holds too much to go on, or None."""
        if self._text_characters > KEPT_TEXT_CHARACTERS_MAX:
            return f"it holds {self._text_characters >> 20} million characters of functions' texts"
        return None

    def run(self, order: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """The header and body of the RESULT for one order. Whatever the function does, this returns."""
        self._streams.begin()
        self.memory.begin()
        context = context_state.RunContext(order)
        this_channel = Channel(self._connection, self._channel_changed)
        context_state.set_current(context)
        channel.set_current(this_channel)
        run = _Run(self, order, context)
        try:
            header, body = run.go()
        finally:
            this_channel.end()
            channel.set_current(None)
            context_state.set_current(None)
            if run.function is not None and run.function.headers:
                self.finder.end()
                forget_lines(run.function.files - {run.function.source.filename})
        self._streams.flush()
        header["peak_memory_bytes"] = self.memory.peak()
        header["stream_order"] = self._streams.order()
        self.last = run.function
        return header, body

    def find(self, udf: dict[str, Any]) -> Function:
        """The function of an order, compiled; its text stands in the first order with its hash only."""
        hash_ = udf.get("hash") or ""
        if "code" in udf:
            if hash_ not in self._texts:
                self._text_characters += len(udf["code"])
            self._texts[hash_] = {"code": udf["code"], "headers": udf.get("headers") or []}
        key = f"{hash_}\n{udf.get('entrypoint') or ''}\n{udf.get('name') or ''}"
        function = self._functions.get(key)
        if function is not None:
            self._functions.move_to_end(key)
            return function
        known = self._texts.get(hash_)
        if known is None:
            raise code.InvalidCode("the server did not send the function's text")
        function = Function({**udf, **known}, key)
        self._functions[key] = function
        if len(self._functions) > KEPT_FUNCTIONS_MAX:
            self._forget(self._functions.popitem(last=False)[1])
        return function

    def rehearse(self) -> None:
        """Runs a small function of our own and forgets it."""
        header, _body = self.run(
            {"run_id": "", "udf": {"hash": "", "name": "rehearsal", "code": _REHEARSAL}, "formats": ["json"]}
        )
        if header["outcome"] != "ok":
            raise RuntimeError(f"the rehearsal failed: {header['error']}")
        self._functions.popitem()[1].source.forget()
        self._texts.clear()
        self._text_characters = 0

    @staticmethod
    def _forget(function: Function) -> None:
        function.drop()
        function.source.forget()

    def is_settled(self) -> bool:
        """Would ``after`` change nothing."""
        function = self.last
        return function is not None and function.is_kept and function.is_untouched()

    def after(self) -> None:
        """After the result: what the run may have changed in the function's own module is not kept."""
        function, self.last = self.last, None
        if function is not None and not (function.is_kept and function.is_unchanged()):
            function.drop()


class _Run:
    """The steps of one run; each failure becomes an outcome."""

    def __init__(self, runner: Runner, order: dict[str, Any], context: context_state.RunContext) -> None:
        self.runner = runner
        self.order = order
        self.context = context
        self.function: Function | None = None
        self.profile: LineProfile | None = None
        self.limits: OwnLimits | None = None
        self.execution_ns = 0
        self.encode_ns = 0

    def go(self) -> tuple[dict[str, Any], Any]:
        started = perf_counter_ns()
        try:
            try:
                value = self._execute()
            finally:
                self.runner._after_code()
            self.execution_ns = perf_counter_ns() - started
            return self._encode(value)
        except BaseException as error:
            if not self.execution_ns:
                self.execution_ns = perf_counter_ns() - started
            return self._failed(error)

    def _execute(self) -> Any:
        order = self.order
        udf = order["udf"]
        os.environ.update(self.context.values.get("environment") or {})  # a job's; its worker serves nobody else
        function = self.function = self.runner.find(udf)
        if function.headers:
            self.runner.finder.begin(function.headers)
        if function.call is None:
            if function.new_imports:
                self.runner._before_code(function.new_imports)
                function.new_imports = ()
            # A context of its own: decimal, numpy's errstate and the like end with the run.
            contextvars.Context().run(function.prepare)
        self.context.udf = function.entry
        if function.asks_limits:
            self.limits = OwnLimits(function.entry, self.runner._connection)
        assert function.binder is not None and function.call is not None
        tile = order.get("tile")
        beneath = udf.get("parameters")
        if function.stated:
            beneath = {**function.stated, **(beneath or {})}
        typed = order.get("typed")
        if "item" in order:
            typed = {**(typed or {}), **item_arguments(function.call, order["item"])}
        positional, named = function.binder.bind(
            order.get("query") or (),
            typed,
            beneath,
            tuple(tile) if tile else None,
        )
        call = self._profiled if order.get("profile") else _call_in_context
        if self.limits is None:
            return call(function, positional, named)
        with self.limits:
            return call(function, positional, named)

    def _profiled(self, function: Function, positional: list[Any], named: dict[str, Any]) -> Any:
        self.profile = LineProfile(function.source.filename, function.source.entry[2])
        with self.profile:
            return _call_in_context(function, positional, named)

    def _encode(self, value: Any) -> tuple[dict[str, Any], Any]:
        order, runner = self.order, self.runner
        tile = order.get("tile")
        limit = (order.get("limits") or {}).get("result_bytes") or RESULT_BYTES_MAX
        if self.limits is not None:
            limit = self.limits.result_bytes(limit)
        started = perf_counter_ns()
        encoded = runner._encode(
            value,
            order.get("formats") or [],
            tile=tuple(tile) if tile else None,
            dtype_out=order.get("dtype_out"),
            async_client=bool(order.get("async_client")),
            format_from=order.get("format_from") or "default",
            bytes_max=limit,
        )
        self.encode_ns = perf_counter_ns() - started
        body = encoded.body
        length = len(body) if type(body) is bytes else memoryview(body).nbytes
        if length > limit:
            message = f"the result has {length} bytes as {encoded.format}; at most {limit} are allowed"
            return self._header("result_too_large", error=_plain_error("ResultTooLarge", message)), b""
        header = self._header("ok")
        header.update(
            content_type=encoded.content_type, format=encoded.format, status=encoded.status, rows=encoded.rows,
            response_headers=encoded.headers, schema=encoded.schema, note=encoded.note,
            sha256=_sha256(body if type(body) is bytes else memoryview(body).cast("B")).hexdigest(),
        )  # fmt: skip
        return header, body

    def _header(self, outcome: str, error: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "outcome": outcome,
            "execution_ms": self.execution_ns // 100 / 1e4,
            "encode_ms": self.encode_ns // 100 / 1e4,
            "profile": self.profile.result() if self.profile is not None else None,
            "error": error,
        }

    def _failed(self, error: BaseException) -> tuple[dict[str, Any], Any]:
        runner = self.runner
        if isinstance(error, runner._no_format):
            header = self._header("no_format", _plain_error("NoFormat", failure.message_of(error)))
            header["possible_formats"] = list(error.possible)
            return header, b""
        if isinstance(error, runner._too_large):
            return self._header("result_too_large", _plain_error("ResultTooLarge", failure.message_of(error))), b""
        if isinstance(error, runner._not_serialisable):
            return self._header("not_serialisable", _plain_error("NotSerialisable", failure.message_of(error))), b""
        if isinstance(error, _parameters.InvalidParameter):
            return self._header("invalid_parameter", _plain_error("ValueError", failure.message_of(error))), b""
        if isinstance(error, code.InvalidCode):
            return self._header("invalid_code", self._code_error(error)), b""
        outcome = "user_error"
        if isinstance(error, MemoryError):
            outcome = "out_of_memory"
        elif (
            isinstance(error, ModuleNotFoundError | SyntaxError)
            and (self.function is None or self.function.call is None)
        ) or isinstance(error, ModuleNotFoundError):
            outcome = "invalid_code"
        filename = self.function.source.filename if self.function is not None else ""
        files = self.function.files if self.function is not None else frozenset()
        return self._header(outcome, failure.describe(error, filename, files)), b""

    @staticmethod
    def _code_error(error: code.InvalidCode) -> dict[str, Any]:
        cause = error.__cause__
        if isinstance(cause, SyntaxError):
            described = failure.describe(cause, cause.filename or "", frozenset({cause.filename or ""}))
            return {**described, "message": str(error), "line": error.line}
        return {**_plain_error("InvalidCode", str(error)), "line": error.line}


def item_arguments(function: Callable[..., Any], item: Any) -> dict[str, Any]:
    """One item of a job's input as arguments: by names where all its keys are parameters, else the first one's value.

    ``InvalidParameter`` where the function takes none.
    """
    import inspect

    parameters = inspect.signature(function).parameters.values()
    named = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if isinstance(item, dict) and (takes_any or item.keys() <= set(named)):
        return item
    if not named:
        raise _parameters.InvalidParameter("item", item, "an argument", "the function takes none")
    return {named[0]: item}


def _call_in_context(function: Function, positional: list[Any], named: dict[str, Any]) -> Any:
    assert function.call is not None
    return contextvars.Context().run(_call, function.call, positional, named)


def _call(function: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> Any:
    value = function(*positional, **named)
    if type(value) is types.CoroutineType:
        import asyncio

        return asyncio.run(value)
    return value


def _plain_error(name: str, message: str) -> dict[str, Any]:
    return {"class": name, "message": message, "traceback": f"{name}: {message}\n", "line": None}


class PeakMemory:
    """The most that this process held resident in a run: bytes, and by how many it grew. Costs three system calls."""

    def __init__(self) -> None:
        self._base = 0
        self.grown = 0

    def begin(self) -> None:
        if setup.peak_reset >= 0:
            try:
                os.write(setup.peak_reset, b"5")
            except OSError:
                setup.peak_reset = -1
        self._base = _native.peak_memory()

    def peak(self) -> int:
        highest: int = _native.peak_memory()
        self.grown = max(0, highest - self._base)
        return highest
