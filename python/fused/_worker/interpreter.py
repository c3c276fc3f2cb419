"""Settings and hooks of the interpreter and the standard library that are no names in a module."""

from __future__ import annotations

import decimal
import gc
import logging
import sys
import threading
import tracemalloc
import warnings
from typing import Any

from fused import _native

_DECIMAL = decimal.DefaultContext
_CALLS = [
    sys.gettrace, sys.getprofile, sys.getrecursionlimit, sys.getswitchinterval, sys.get_asyncgen_hooks,
    sys.get_coroutine_origin_tracking_depth, sys.get_int_max_str_digits, gc.isenabled, gc.get_threshold, gc.get_debug,
    threading.gettrace, threading.getprofile, threading.stack_size, tracemalloc.is_tracing,
]  # fmt: skip
_ATTRIBUTES = [
    *((_DECIMAL, name) for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")),
    (logging.root, "level"), (logging.root, "disabled"), (logging.Logger.manager, "disable"),
    (sys, "path"), (sys, "meta_path"), (sys, "path_hooks"), (warnings, "filters"), (sys, "dont_write_bytecode"),
]  # fmt: skip


class InterpreterState:
    """Taken down once; compared in two microseconds."""

    def __init__(self) -> None:
        self._values = _native.WatchedValues()

    def take(self) -> None:
        """What is now is clean."""
        self._flat = [call() for call in _CALLS] + [getattr(owner, name) for owner, name in _ATTRIBUTES]
        self._take_logging()
        self._lists = [(found, list(found)) for found in self._watched_lists()]
        self._values.take(_CALLS, _ATTRIBUTES, [found for found, _ in self._lists])

    def _take_logging(self) -> None:
        self._loggers = {name: (vars(found), dict(vars(found))) for name, found in _all_loggers()}
        self._attached = [(logger.handlers, list(logger.handlers)) for _, logger in _all_loggers() if logger.handlers]
        self._handlers = [(handler, dict(vars(handler))) for _, kept in self._attached for handler in kept]
        self._logger_count = len(logging.Logger.manager.loggerDict)
        self._handler_count = len(_HANDLERS)

    @staticmethod
    def _watched_lists() -> tuple[Any, ...]:
        return (
            sys.path,
            sys.meta_path,
            sys.path_hooks,
            warnings.filters,
            gc.callbacks,
            logging.root.handlers,
            logging.root.filters,
        )

    def loggers(self) -> list[dict[str, Any]]:
        """The attributes of every logger there is, to be watched for changes."""
        return [found for found, _ in self._loggers.values()]

    @property
    def is_same(self) -> bool:
        """Nothing was changed; the attributes of loggers are watched elsewhere."""
        return (
            len(_KNOWN_LOGGERS) == self._logger_count
            and len(_HANDLERS) == self._handler_count
            and self._values.are_same()
        )

    def restore(self) -> None:
        """Puts everything back."""
        flat = self._flat
        sys.settrace(flat[0])
        sys.setprofile(flat[1])
        sys.setrecursionlimit(flat[2])
        sys.setswitchinterval(flat[3])
        sys.set_asyncgen_hooks(*flat[4])
        sys.set_coroutine_origin_tracking_depth(flat[5])
        sys.set_int_max_str_digits(flat[6])
        gc.enable() if flat[7] else gc.disable()
        gc.set_threshold(*flat[8])
        gc.set_debug(flat[9])
        threading.settrace(flat[10])
        threading.setprofile(flat[11])
        threading.stack_size(flat[12])
        if not flat[13] and tracemalloc.is_tracing():
            tracemalloc.stop()
        for name, value in zip(("prec", "rounding", "Emin", "Emax", "capitals", "clamp"), flat[14:20], strict=True):
            setattr(_DECIMAL, name, value)
        sys.path, sys.meta_path, sys.path_hooks, warnings.filters = flat[23:27]
        sys.dont_write_bytecode = flat[27]
        for found, copy in self._lists:
            found[:] = copy
        warnings._filters_mutated()  # type: ignore[attr-defined]
        self._restore_logging(flat)

    def _restore_logging(self, flat: list[Any]) -> None:
        for name, logger in _all_loggers():
            if name in self._loggers:
                found, copy = self._loggers[name]
                found.clear()
                found.update(copy)
            else:  # it keeps its name, for a module may hold it, but nothing that was set on it
                logger.setLevel(logging.NOTSET)
                logger.propagate, logger.disabled = True, False
                logger.filters.clear()
            logger.handlers.clear()
        for handlers, kept in self._attached:
            handlers[:] = kept
        for handler, attributes in self._handlers:
            vars(handler).clear()
            vars(handler).update(attributes)
        logging.disable(flat[22])
        logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]
        gc.collect()  # handlers that nobody holds any more leave the list of all
        self._take_logging()


_KNOWN_LOGGERS = logging.Logger.manager.loggerDict
_HANDLERS: list[Any] = logging._handlerList  # type: ignore[attr-defined]


def _all_loggers() -> list[tuple[str, logging.Logger]]:
    loggers = [(name, found) for name, found in _KNOWN_LOGGERS.items() if isinstance(found, logging.Logger)]
    return [("", logging.root), *loggers]
