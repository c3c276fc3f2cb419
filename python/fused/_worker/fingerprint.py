"""Whether a run left a trace in its process: what can be put back is, for anything else the worker is replaced.

Compared after every run,
in some twenty microseconds when nothing was changed: process (``core/native/fingerprint.hpp``),
interpreter settings (``interpreter.py``), names in modules and classes (``names.py``), children, threads and
descriptors (``processes.py``), random numbers, streams, scratch. The audit hooks of ``sys.addaudithook`` cannot be
seen nor removed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import ctypes
import importlib
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

from fused import _native

from . import processes, setup
from .interpreter import InterpreterState
from .names import prepared
from .streams import Streams

WORKING_DIRECTORY, UMASK, ENVIRONMENT, LOCALE, LIMITS, SCHEDULING, SIGNALS, TIMERS = (1 << bit for bit in range(8))
THREADS, DESCRIPTORS, SCRATCH, CHILDREN, RANDOM, IDENTITY, ROUNDING, CONFINEMENT = (1 << bit for bit in range(8, 16))

_REASONS = {
    WORKING_DIRECTORY: "its working directory cannot be had back",
    UMASK: "its umask cannot be put back",
    ENVIRONMENT: "its environment cannot be put back",
    LOCALE: "its locale cannot be put back",
    LIMITS: "it lowered a resource limit for good",
    SCHEDULING: "it changed its priority or processors for good",
    SIGNALS: "its signal handlers cannot be put back",
    TIMERS: "a timer cannot be stopped",
    IDENTITY: "it changed its user, group or session",
    ROUNDING: "its rounding of floating point numbers cannot be put back",
    SCRATCH: "its scratch folder was removed",
    CONFINEMENT: "it confined itself further",
}  # fmt: skip
_PUT_BACK_NATIVELY = (
    WORKING_DIRECTORY | UMASK | ENVIRONMENT | LOCALE | LIMITS | SCHEDULING | SIGNALS | TIMERS | ROUNDING | SCRATCH
)

_REAL_TIME = tuple(range(int(signal.SIGRTMIN), int(signal.SIGRTMAX) + 1))
_getsignal = _signal.getsignal  # without the enumeration that signal.getsignal wraps around it


class Fingerprint:
    """The clean state of one worker."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._names = prepared()
        self._interpreter = InterpreterState()
        self._random = _RandomState()
        self._found = 0  # parts that is_clean() saw changed; check() looks at some things in turn
        self.restore_early = self._names.restore_early

    def take_names(self) -> None:
        """Ahead of ``begin``, which then has little left to do."""
        self._names.take()

    def begin(self, folders: list[str]) -> None:
        """What is now is clean. Called once, in the sandbox, with the worker's own folders."""
        flags = os.O_RDONLY | os.O_CLOEXEC
        files = [
            _open(path, flags) for path in ("/proc/self/stat", "/proc/self/status", "/proc/self/task", "/proc/self/fd")
        ]
        self._descriptor_folder = files[3]
        self._mount_points = max(0, _native.empty_own_folders())
        own = [os.open(path, flags | os.O_DIRECTORY) for path in folders]
        self._process = _native.ProcessState(*files, own)
        self._random.watch(self._process.watch_memory)
        self._check: Callable[[], int] = self._process.check
        self._names.take()
        self._take()

    def _take(self) -> None:
        self._interpreter.take()
        self._names.watch_loggers(self._interpreter.loggers())
        self._python_threads = processes.python_threads()
        self._descriptors = processes.open_descriptors(self._descriptor_folder)
        self._signals = _python_signals()
        self._real_time = list(map(_getsignal, _REAL_TIME))
        self._process.take()

    def accept_imports(self, names: tuple[str, ...]) -> None:
        """Imports what a text will import, before anything of the text runs, so that what the imports do may stay.

        Only modules of the environment: what lies elsewhere is imported by the text itself, and anew for every run.
        """
        missing = [name for name in names if name not in sys.modules]
        if not missing:
            return
        imported = False
        for name in missing:
            try:
                spec = importlib.util.find_spec(name.partition(".")[0])
                if spec is None or not spec.origin or not self._names.is_trusted_path(spec.origin):
                    continue
                importlib.import_module(name)
                imported = True
            except BaseException as error:
                # The text's own import will say it, with the line; a signal or limit ends the run there as well.
                if isinstance(error, MemoryError):
                    raise
        if imported:
            self._names.take()
            self._take()

    def is_clean(self) -> bool:
        """Has a run left nothing that ``restore`` would have to put back. Changes nothing and never takes long."""
        self._found |= self._check()
        return (
            not self._found
            and not self._names.changed()
            and self._interpreter.is_same
            and list(map(_getsignal, _REAL_TIME)) == self._real_time
            and self._streams.are_open
        )

    def restore(self) -> str | None:
        """After a run: None when the process is clean again, else why the worker must be replaced."""
        wrong: list[str] = []
        parts = self._check() | self._found
        self._found = 0
        if list(map(_getsignal, _REAL_TIME)) != self._real_time:
            parts |= SIGNALS
        if parts:
            wrong += self._restore_process(parts)
        if not self._interpreter.is_same:
            self._interpreter.restore()
            if not self._interpreter.is_same:
                wrong.append("settings of the interpreter cannot be put back")
        wrong += self._names.restore()
        if self._streams.repair():
            self._names.accept(sys)
        return "; ".join(wrong) or None

    def _restore_process(self, parts: int) -> list[str]:
        wrong: list[str] = []
        if parts & CHILDREN:
            wrong.append(processes.end_children() or "")
        if parts & THREADS:
            wrong.append(processes.end_threads(self._python_threads) or "")
        if parts & DESCRIPTORS:
            wrong.append(processes.judge_descriptors(self._descriptors, self._descriptor_folder, self._names) or "")
        if parts & SIGNALS:
            _restore_python_signals(self._signals)
        if parts & (SCRATCH | WORKING_DIRECTORY):
            wrong.append(self._empty_folders() or "")
        if parts & RANDOM:
            self._random.renew()
        left = self._process.restore(parts & _PUT_BACK_NATIVELY) | parts & (IDENTITY | CONFINEMENT)
        wrong += [text for part, text in _REASONS.items() if left & part]
        wrong = [text for text in wrong if text]
        if not wrong and parts & (THREADS | DESCRIPTORS | RANDOM | SIGNALS | ENVIRONMENT):
            self._descriptors = processes.open_descriptors(self._descriptor_folder)
            self._process.take()
        return wrong

    def _empty_folders(self) -> str | None:
        left = _native.empty_own_folders() - self._mount_points
        return f"{left} entries of its scratch folders cannot be removed" if left > 0 else None


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags)
    except OSError:
        return -1


def _python_signals() -> dict[int, Any]:
    """What Python remembers of each signal; the C library's side is put back after it."""
    return {number: _getsignal(number) for number in range(1, signal.NSIG)}


def _restore_python_signals(kept: dict[int, Any]) -> None:
    for number, handler in _python_signals().items():
        if handler is not kept[number] and kept[number] is not None:
            _signal.signal(number, kept[number])
    signal.set_wakeup_fd(-1)


class _RandomState:
    """The generators of ``random`` and ``numpy.random``: a run that used or seeded them does not decide the next."""

    def watch(self, watch_memory: Callable[[int, int], None]) -> None:
        self.is_watched = False
        inner = random._inst
        address = id(inner) + object.__basicsize__
        index = inner.getstate()[1]
        # CPython keeps the position and then the 624 numbers behind the object's head.
        seen = (ctypes.c_uint32 * 2).from_address(address)
        if (seen[0], seen[1]) == (index[-1], index[0]):
            watch_memory(address, 8)
            self.is_watched = True
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            state = numpy_random.mtrand._rand._bit_generator.ctypes.state_address
            watch_memory(state, 8)
            watch_memory(state + 624 * 4, 4)

    @staticmethod
    def renew() -> None:
        setup.new_random_numbers()
