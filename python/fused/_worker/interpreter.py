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

_DECIMAL = decimal.DefaultContext


class InterpreterState:
    """Taken down once; compared in a few microseconds."""

    def take(self) -> None:
        """What is now is clean."""
        self._flat = self._read()
        self._lists = [(found, list(found)) for found in self._watched_lists()]
        self._loggers = {name: self._logger(found) for name, found in self._all_loggers()}
        self._logger_count = len(logging.Logger.manager.loggerDict)
        self._handlers = [(handler, handler.level, handler.formatter) for handler in self._all_handlers()]

    @staticmethod
    def _watched_lists() -> tuple[list[Any], ...]:
        return (sys.path, sys.meta_path, sys.path_hooks, warnings.filters, gc.callbacks, logging.root.handlers)

    @staticmethod
    def _read() -> tuple[Any, ...]:
        return (
            sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_asyncgen_hooks(),
            sys.get_coroutine_origin_tracking_depth(), sys.get_int_max_str_digits(), gc.isenabled(), gc.get_threshold(),
            gc.get_debug(), threading.gettrace(), threading.getprofile(), threading.stack_size(), tracemalloc.is_tracing(),
            _DECIMAL.prec, _DECIMAL.rounding, _DECIMAL.Emin, _DECIMAL.Emax, _DECIMAL.capitals, _DECIMAL.clamp,
            logging.root.level, logging.root.disabled, logging.root.manager.disable, sys.path, sys.meta_path, sys.path_hooks,
            warnings.filters, sys.dont_write_bytecode,
        )  # fmt: skip

    @property
    def is_same(self) -> bool:
        """Nothing was changed."""
        if self._read() != self._flat or len(logging.Logger.manager.loggerDict) != self._logger_count:
            return False
        return all(found == copy for found, copy in self._lists) and self._same_loggers()

    def _same_loggers(self) -> bool:
        return all(self._logger(logger) == kept for (_, logger), kept in zip(self._all_loggers(), self._loggers.values(), strict=False))

    @staticmethod
    def _all_loggers() -> list[tuple[str, logging.Logger]]:
        known = logging.Logger.manager.loggerDict
        return [("", logging.root), *((name, found) for name, found in known.items() if isinstance(found, logging.Logger))]

    @staticmethod
    def _all_handlers() -> list[logging.Handler]:
        return list(logging.root.handlers)

    @staticmethod
    def _logger(logger: logging.Logger) -> tuple[Any, ...]:
        return (logger.level, logger.propagate, logger.disabled, tuple(logger.handlers), tuple(logger.filters))

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
        sys.path, sys.meta_path, sys.path_hooks, warnings.filters = flat[23:27]  # type: ignore[assignment]
        sys.dont_write_bytecode = flat[27]
        for found, copy in self._lists:
            found[:] = copy
        warnings._filters_mutated()  # type: ignore[attr-defined]
        self._restore_logging(flat)

    def _restore_logging(self, flat: tuple[Any, ...]) -> None:
        for name, logger in self._all_loggers():
            # One that is new keeps its name, for its module may hold it, but nothing that was set on it.
            level, propagate, disabled, handlers, filters = self._loggers.get(name, (logging.NOTSET, True, False, (), ()))
            if logger.level != level:
                logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
            logger.handlers[:], logger.filters[:] = handlers, filters
        logging.root.disabled = flat[21]
        logging.disable(flat[22])
        for handler, level, formatter in self._handlers:
            handler.level, handler.formatter = level, formatter
        self._loggers = {name: self._logger(found) for name, found in self._all_loggers()}
        self._logger_count = len(logging.Logger.manager.loggerDict)
