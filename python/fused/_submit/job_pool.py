"""``JobPool``: many calls of one function, whatever runs them (client-protocol.md §8, product-behaviour.md A1)."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from fused._submit.call_table import CallTable
from fused._submit.outcome import exception_of, log_of, value_of
from fused._submit.record import (
    CANCELLED,
    ERROR,
    FAILED,
    PENDING,
    RUNNING,
    STATUSES,
    SUCCESS,
    TIMEOUT,
)
from fused._submit.show import live_line, pool_html, pool_text
from fused.errors import JobPoolTailTimeoutError

if TYPE_CHECKING:
    import pandas as pd

    from fused._submit.arguments import Arguments
    from fused.models.udf import Udf

TAIL_SECONDS_IN_A_RUN = 90.0  # a run has a limit of its own: `tail` ends before it and says what is not done
NOT_DONE_SHOWN = 10


class Engine(Protocol):
    """What runs the calls of a pool and writes into its ``CallTable``."""

    def start(self, calls: list[tuple[int, int]]) -> None:
        """Begins with these ranges of pending calls, ``(first, count)``."""

    def more(self, calls: list[tuple[int, int]]) -> bool:
        """Takes other ranges; False when it has ended."""

    def cancel(self, calls: Iterable[int] | None = None) -> None:
        """Ends these calls, or all."""

    def join(self, seconds: float | None = None) -> bool:
        """Until nothing of it lives; whether that is so."""


class Future:
    """One call of a pool: ``pool[3]``."""

    __slots__ = ("_index", "_pool")

    def __init__(self, pool: JobPool, index: int) -> None:
        self._pool, self._index = pool, index

    @property
    def args(self) -> dict[str, Any]:
        """What the call is given."""
        return self._pool.arguments.call(self._index)

    def status(self) -> str:
        """``pending``, ``running``, ``success``, ``error``, ``timeout`` or ``cancelled``."""
        return STATUSES[int(self._pool.table.status[self._index])]

    def done(self) -> bool:
        """Has it ended, in whatever way."""
        return int(self._pool.table.status[self._index]) not in (PENDING, RUNNING)

    def result(self, timeout: float | None = None) -> Any:
        """Its value, when it has ended; raises its failure. ``TimeoutError`` after ``timeout`` seconds."""
        self._wait(timeout)
        return self._pool.value(self._index)

    def exception(self) -> BaseException | None:
        """What ``result`` would raise; None where it did not fail, or has not ended."""
        return self._pool.exception(self._index)

    def logs(self) -> str:
        """What it printed, stdout before stderr; empty while it runs."""
        record = self._pool.table.record(self._index)
        return "" if record is None else log_of(record)

    get_logs = logs

    def time(self) -> datetime.timedelta | None:
        """How long it ran; None while it has not ended."""
        return self._pool.time(self._index)

    def attempts(self) -> int:
        """How often it ended: 1, and one more for each retry."""
        return int(self._pool.table.attempts[self._index])

    def cancel(self) -> None:
        """Ends this call alone; of a job's task only what it leaves is not looked at (docs/reference/submit.md)."""
        self._pool.cancel_calls([self._index])

    def _wait(self, timeout: float | None) -> None:
        table = self._pool.table
        with table.changed:
            table.changed.wait_for(lambda: self.done() or table.failure is not None, timeout)
            if self.done():
                return
            if table.failure is not None:
                raise table.failure
        raise TimeoutError(f"call {self._index} of {self._pool.label!r} has not ended within {timeout:g} s")

    def __repr__(self) -> str:
        return f"<call {self._index} of {self._pool.label!r}: {self.status()}>"


class JobPool:
    """The calls of one ``fused.submit``, which run while this is looked at.

    ``wait``, ``tail``, ``results``, ``collect`` and ``df`` wait; everything else tells how things are now. Dictionaries
    have the call's position in ``arg_list`` as key. A value is made of what was kept each time somebody asks, so a
    pool of a million calls is small until one asks for all values at once.
    """

    def __init__(
        self,
        udf: Udf | None,
        label: str,
        arguments: Arguments,
        engine: Callable[[CallTable], Engine],
        memory_bytes_max: int | None = None,
    ) -> None:
        self.udf, self.label, self.arguments = udf, label, arguments
        bound = {} if memory_bytes_max is None else {"memory_bytes_max": memory_bytes_max}
        self.table = CallTable(arguments.count, **bound)
        self._new_engine = engine
        self._engine_lock = threading.Lock()
        self._engine = engine(self.table)
        self._engine.start([(0, arguments.count)])

    # -- one call -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.table.count

    def __getitem__(self, index: int) -> Future:
        count = self.table.count
        if not -count <= index < count:
            raise IndexError(f"there is no call {index}: the pool has the calls 0 to {count - 1}")
        return Future(self, index % count)

    def __iter__(self) -> Iterator[Future]:
        return (Future(self, index) for index in range(self.table.count))

    @property
    def n_jobs(self) -> int:
        """How many calls there are."""
        return self.table.count

    def value(self, index: int) -> Any:
        """The value of a call that has ended; raises its failure."""
        error = self.exception(index)
        if error is not None:
            raise error
        record = self.table.record(index)
        if record is None:
            raise RuntimeError(f"call {index} of {self.label!r} has not ended")
        return value_of(record, self.udf)

    def exception(self, index: int) -> BaseException | None:
        """The failure of a call; None where there is none, or none yet."""
        with self.table.changed:
            record = self.table.record(index)
            if record is None or self.table.status[index] == SUCCESS:
                return None
        return exception_of(index, record, self.label, self.udf)

    def time(self, index: int) -> datetime.timedelta | None:
        """How long a call ran; None while it has not ended, or never began."""
        seconds = float(self.table.seconds[index])
        return None if seconds != seconds or not self[index].done() else datetime.timedelta(seconds=seconds)

    # -- how things are -----------------------------------------------------------------------------------------

    def status(self) -> pd.Series[int]:
        """How many calls are in each state; states that no call is in are left out."""
        import pandas as pd

        with self.table.changed:
            counts = {word: count for word, count in zip(STATUSES, self.table.counts, strict=True) if count}
        return pd.Series(counts, name="count", dtype="int64")

    def done(self) -> bool:
        """Have all calls ended, in whatever way."""
        return self.table.is_done

    def all_succeeded(self) -> bool:
        """Have all calls given a value."""
        return self.table.counts[SUCCESS] == self.table.count

    def any_succeeded(self) -> bool:
        """Has one given a value."""
        return self.table.counts[SUCCESS] > 0

    def any_failed(self) -> bool:
        """Has one failed, or run out of time."""
        return self.table.counts[ERROR] + self.table.counts[TIMEOUT] > 0

    def pending(self) -> dict[int, dict[str, Any]]:
        """The arguments of the calls that have not begun."""
        return self._arguments_of(PENDING)

    def running(self) -> dict[int, dict[str, Any]]:
        """The arguments of the calls that run, or that a worker has taken."""
        return self._arguments_of(RUNNING)

    def cancelled(self) -> dict[int, dict[str, Any]]:
        """The arguments of the calls that were cancelled."""
        return self._arguments_of(CANCELLED)

    def success(self) -> dict[int, Any]:
        """The values of the calls that have given one."""
        return {index: self.value(index) for index in self.table.where(SUCCESS)}

    def errors(self) -> dict[int, BaseException]:
        """The failures of the calls that failed."""
        found = ((index, self.exception(index)) for index in self.table.where(*FAILED))
        return {index: error for index, error in found if error is not None}

    def first_failed(self) -> int | None:
        """The position of the first call that failed."""
        return next(iter(self.table.where(*FAILED)), None) if self.any_failed() else None

    def first_error(self) -> BaseException | None:
        """The failure of the first call that failed."""
        index = self.first_failed()
        return None if index is None else self.exception(index)

    def logs(self) -> list[str | None]:
        """What each call printed; None for those that have not ended."""
        records = self.table.records(range(self.table.count))
        return [None if record is None else log_of(record) for _, record in records]

    def first_log(self) -> str | None:
        """What the first call that printed something printed."""
        texts = (log_of(record) for _, record in self.table.records(range(self.table.count)) if record is not None)
        return next((text for text in texts if text), None)

    def times(self) -> list[datetime.timedelta | None]:
        """How long each call ran; None for those that have not ended."""
        return [self.time(index) for index in range(self.table.count)]

    def total_time(self, since_retry: bool = False) -> datetime.timedelta:
        """From the start until all ended, or until now. ``since_retry``: from the last ``retry()``."""
        began = self.table.session_began if since_retry else self.table.began
        return datetime.timedelta(seconds=max(0.0, (self.table.ended or time.time()) - began))

    def arg_df(self) -> pd.DataFrame:
        """The calls' own arguments, one row a call."""
        return self.arguments.frame()

    def results_now(self, return_exceptions: bool = False) -> dict[int, Any]:
        """The values of the calls that have ended by now; with ``return_exceptions`` also the failures."""
        found = self.success()
        if return_exceptions:
            found |= self.errors()
        return dict(sorted(found.items()))

    # -- until all have ended -----------------------------------------------------------------------------------

    def wait(self) -> None:
        """Until all calls have ended. In a terminal with a bar."""
        if not self.table.is_done:
            with live_line(self):
                self.table.wait()

    def tail(self, stop_on_exception: bool = False, timeout: float | None = None) -> None:
        """Until all calls have ended, telling how far they are.

        ``stop_on_exception``: raises the first failure when it is seen. ``timeout`` in seconds, inside a function that
        runs on a server 90 by default: then ``TimeoutError`` with the arguments of the calls that have not succeeded.
        """
        if timeout is None and _is_in_a_run():
            timeout = TAIL_SECONDS_IN_A_RUN
        deadline = None if timeout is None else time.monotonic() + timeout
        table = self.table

        def has_news() -> bool:
            return table.is_done or table.failure is not None or (stop_on_exception and self.any_failed())

        with live_line(self, wanted=True), table.changed:
            table.changed.wait_for(has_news, None if deadline is None else max(0.0, deadline - time.monotonic()))
        if stop_on_exception:
            error = self.first_error()
            if error is not None:
                raise error
        if table.failure is not None and not table.is_done:
            raise table.failure
        if not table.is_done:
            self._raise_late(timeout or 0.0)

    def _raise_late(self, timeout: float) -> None:
        left = [self.arguments.call(index) for index in self.table.where(PENDING, RUNNING, ERROR, TIMEOUT, CANCELLED)]
        shown = ", ".join(map(repr, left[:NOT_DONE_SHOWN])) + (", …" if len(left) > NOT_DONE_SHOWN else "")
        raise JobPoolTailTimeoutError(
            f"{len(left):,} of {self.table.count:,} calls of {self.label!r} have not succeeded within {timeout:g} s: "
            f"{shown}. They go on; wait again, or cancel()",
            timeout=timeout,
            not_succeeded_args=left,
        )

    def results(self, return_exceptions: bool = False) -> list[Any]:
        """All values, in the order of ``arg_list``; raises the first failure, or has it in the list."""
        self.wait()
        if not return_exceptions:
            error = self._first_without_value()
            if error is not None:
                raise error
        return [self._value_or_exception(index) for index in range(self.table.count)]

    def collect(
        self,
        ignore_exceptions: bool = False,
        flatten: bool = True,
        drop_index: bool = False,
        verbose: bool = True,
        log_timeout: float | None = None,
    ) -> pd.DataFrame:
        """All results as one DataFrame.

        Its index are the calls' arguments, or, with ``drop_index``, the calls' positions. Where all results are tables
        their rows are put together (unless ``flatten=False``), else the results are the column ``result``. Failed calls
        raise, or are left out with ``ignore_exceptions``. ``verbose``: shows how far it is while it waits, for
        ``log_timeout`` seconds at most.
        """
        from fused._submit.frames import collected

        if verbose and not self.table.is_done:
            with live_line(self):
                self.table.wait(log_timeout)
        self.table.wait()
        if not ignore_exceptions:
            error = self._first_without_value()
            if error is not None:
                raise error
        return collected(self, self.table.where(SUCCESS), flatten, drop_index)

    df = collect

    def collect_df(self, ignore_exceptions: bool = True) -> pd.DataFrame:
        """The older name of ``collect``: results put together, without those that failed."""
        return self.collect(ignore_exceptions=ignore_exceptions)

    def get_status_df(self) -> pd.DataFrame:
        """One row a call: its arguments, ``status`` and ``result`` (None where there is none by now)."""
        from fused._submit.frames import status_frame

        return status_frame(self)

    def get_results_df(self, ignore_exceptions: bool = False) -> pd.DataFrame:
        """The same after all calls have ended; raises the first failure unless ``ignore_exceptions``."""
        self.wait()
        if not ignore_exceptions:
            error = self._first_without_value()
            if error is not None:
                raise error
        return self.get_status_df()

    def logs_df(
        self,
        status_column: str | None = "status",
        result_column: str | None = "result",
        time_column: str | None = "time",
        logs_column: str | None = "logs",
        exception_column: str | None = None,
        include_exceptions: bool = True,
    ) -> pd.DataFrame:
        """One row a call: its arguments and these columns; one that is None is left out.

        ``include_exceptions``: a failed call's exception stands in the result's column, where it has none of its own.
        """
        from fused._submit.frames import logs_frame

        names = (status_column, result_column, time_column, logs_column, exception_column)
        return logs_frame(self, *names, include_exceptions=include_exceptions)

    # -- doing something about it -------------------------------------------------------------------------------

    def retry(self) -> None:
        """Runs the calls that failed, or ran out of time, once more; those that succeeded keep their results.

        Where that cannot begin, it raises why, as ``wait`` does from then on; ``retry`` may be called again.
        """
        with self._engine_lock:
            # A pool whose engine stopped early goes on with what it had not done.
            chosen = (ERROR, TIMEOUT, PENDING) if self.table.failure is not None else FAILED
            calls = self.table.restart(chosen)
            if not calls:
                return
            try:
                if self._engine.more(calls):
                    return
                # What the old engine tells at its very end belongs to the session before.
                self._engine.join()
                engine = self._new_engine(self.table)
                engine.start(self.table.restart((ERROR, TIMEOUT, PENDING)))
                self._engine = engine
            except BaseException as failure:
                self.table.end(failure)  # the calls wait for the next `retry`, and nobody waits for them
                raise

    def cancel(self, wait: bool = False) -> None:
        """Ends all calls: those that wait never begin, those that run are killed. Results by then stay.

        ``wait``: until nothing of it runs any more.
        """
        self.cancel_calls(None)
        if wait:
            self._engine.join()

    def cancel_calls(self, calls: list[int] | None) -> None:
        """Ends these calls, by position."""
        with self._engine_lock:
            self._engine.cancel(calls)

    # -- inside -------------------------------------------------------------------------------------------------

    def _arguments_of(self, status: int) -> dict[int, dict[str, Any]]:
        return {index: self.arguments.call(index) for index in self.table.where(status)}

    def _first_without_value(self) -> BaseException | None:
        if self.all_succeeded():
            return None
        index = next(iter(self.table.where(ERROR, TIMEOUT, CANCELLED)), None)
        return None if index is None else self.exception(index)

    def _value_or_exception(self, index: int) -> Any:
        return self.value(index) if self.table.status[index] == SUCCESS else self.exception(index)

    def __repr__(self) -> str:
        return pool_text(self)

    def _repr_html_(self) -> str:
        return pool_html(self)

    def _ipython_display_(self) -> None:
        from fused._submit.show import in_notebook, show_live

        if in_notebook():
            show_live(self)
        else:
            print(pool_text(self))


def _is_in_a_run() -> bool:
    from fused._inside import channel

    return channel() is not None
