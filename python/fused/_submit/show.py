"""A ``JobPool`` as a table and a bar: a line that renews itself in a terminal, a table that does so in a notebook."""

from __future__ import annotations

import html
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from fused._submit.record import CANCELLED, ERROR, PENDING, RUNNING, STATUSES, SUCCESS, TIMEOUT

if TYPE_CHECKING:
    from fused._submit.call_table import CallTable
    from fused._submit.job_pool import JobPool

BAR_CELLS = 24
RENEW_SECONDS = 0.2
_COLOURS = {SUCCESS: "#2a9d55", ERROR: "#cc3b3b", TIMEOUT: "#d98324", CANCELLED: "#8a8a8a", RUNNING: "#3b7dd8"}


class Progress(NamedTuple):
    """How far a pool is. ``rate``: calls a second since the last start; ``left``: seconds, None where nobody knows."""

    counts: list[int]
    seconds: float
    rate: float
    left: float | None

    @property
    def total(self) -> int:
        """All calls."""
        return sum(self.counts)

    @property
    def finished(self) -> int:
        """Those that have ended, in whatever way."""
        return self.total - self.counts[PENDING] - self.counts[RUNNING]


def progress_of(table: CallTable) -> Progress:
    """As it is now."""
    with table.changed:
        counts, began, before = list(table.counts), table.session_began, table.session_finished
        ended = table.ended if table.is_done or table.failure is not None else None
    seconds = max((ended or time.time()) - began, 0.0)
    unfinished = counts[PENDING] + counts[RUNNING]
    done_now = sum(counts) - unfinished - before
    rate = done_now / seconds if seconds > 0 else 0.0
    return Progress(counts, seconds, rate, 0.0 if not unfinished else unfinished / rate if rate > 0 else None)


def duration(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3:05``, ``2:10:07``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line_of(label: str, progress: Progress) -> str:
    """One line: bar, share, counts, rate, time left."""
    total, finished = progress.total, progress.finished
    full = BAR_CELLS * finished // total
    counts = progress.counts
    parts = [f"{finished:,}/{total:,}"]
    failed = counts[ERROR] + counts[TIMEOUT]
    said = ((counts[RUNNING], "running"), (failed, "failed"), (counts[CANCELLED], "cancelled"))
    parts += [f"{count:,} {word}" for count, word in said if count]
    if finished < total:
        parts.append(f"{progress.rate:,.3g} calls/s" if progress.rate < 1_000 else f"{progress.rate:,.0f} calls/s")
        parts.append("time left unknown" if progress.left is None else f"{duration(progress.left)} left")
    else:
        parts.append(f"in {duration(progress.seconds)}")
    return f"{label} {'█' * full}{'░' * (BAR_CELLS - full)} {100 * finished // total:3d} %  {', '.join(parts)}"


def pool_text(pool: JobPool) -> str:
    """The line, the table of states, and the first error."""
    progress = progress_of(pool.table)
    lines = [f"JobPool: {line_of(pool.label, progress)}"]
    lines += [f"  {word:<10}{count:>12,}" for word, count in zip(STATUSES, progress.counts, strict=True) if count]
    lines += [f"  first error, call {index}: {said}" for index, said in _first_error(pool)]
    if pool.table.failure is not None and not pool.table.is_done:
        lines.append(f"  the pool has stopped: {pool.table.failure}")
    return "\n".join(lines)


def pool_html(pool: JobPool) -> str:
    """The same for notebooks; everything from outside is escaped."""
    progress = progress_of(pool.table)
    total = progress.total
    bars = "".join(
        f'<div title="{progress.counts[status]:,} {STATUSES[status]}" '
        f'style="width:{100 * progress.counts[status] / total:.3f}%;background:{colour};height:100%"></div>'
        for status, colour in _COLOURS.items()
        if progress.counts[status]
    )
    cells = "".join(f"<th>{word}</th>" for word in (*STATUSES, "calls/s", "time", "time left"))
    left = "unknown" if progress.left is None else duration(progress.left)
    values = [f"{count:,}" for count in progress.counts]
    values += [f"{progress.rate:,.3g}" if progress.rate < 1_000 else f"{progress.rate:,.0f}"]
    values += [duration(progress.seconds), left]
    row = "".join(f"<td>{value}</td>" for value in values)
    below = "".join(
        f"<p>first error, call {index}: <code>{html.escape(said)}</code></p>" for index, said in _first_error(pool)
    )
    if pool.table.failure is not None and not pool.table.is_done:
        below += f"<p>the pool has stopped: {html.escape(str(pool.table.failure))}</p>"
    return (
        f"<div><b>{html.escape(pool.label)}</b> {progress.finished:,} of {total:,}"
        f'<div style="display:flex;height:10px;background:#e3e3e3;border-radius:3px;overflow:hidden">{bars}</div>'
        f"<table><tr>{cells}</tr><tr>{row}</tr></table>{below}</div>"
    )


def _first_error(pool: JobPool) -> list[tuple[int, str]]:
    found = pool.first_failed()
    if found is None:
        return []
    error = pool[found].exception()
    said = str(error).strip().splitlines() or [""]
    return [(found, f"{type(error).__name__}: {said[0][:200]}")]


@contextmanager
def live_line(pool: JobPool, wanted: bool | None = None) -> Iterator[None]:
    """While inside, one line on ``sys.stderr`` says how far the pool is; by default where that is a terminal, or a
    notebook.
    """
    if wanted is None:
        wanted = bool(getattr(sys.stderr, "isatty", bool)())
    if in_notebook():
        show_live(pool)
        yield
        return
    if not wanted:
        yield
        return
    over = threading.Event()
    is_terminal = bool(getattr(sys.stderr, "isatty", bool)())

    def renew() -> None:
        width = 0
        while True:
            ended = over.wait(RENEW_SECONDS if is_terminal else 10 * RENEW_SECONDS)
            line = line_of(pool.label, progress_of(pool.table))
            sys.stderr.write(f"\r{line:<{width}}" if is_terminal else f"{line}\n")
            sys.stderr.flush()
            width = len(line)
            if ended:
                if is_terminal:
                    sys.stderr.write("\n")
                return

    thread = threading.Thread(target=renew, name="fused.submit progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_notebook() -> bool:
    """Is this a Jupyter notebook."""
    shell = sys.modules.get("IPython")
    found: Any = shell.get_ipython() if shell is not None else None
    return found is not None and type(found).__name__ == "ZMQInteractiveShell"


def show_live(pool: JobPool) -> None:
    """Shows the pool in a notebook's cell and renews it there until all calls have ended."""
    from IPython.display import HTML, display  # type: ignore[import-not-found,unused-ignore]

    handle = display(HTML(pool_html(pool)), display_id=True)  # type: ignore[no-untyped-call,unused-ignore]

    def renew() -> None:
        table = pool.table
        while handle is not None:
            with table.changed:
                over = table.changed.wait_for(lambda: table.is_done or table.failure is not None, 5 * RENEW_SECONDS)
            handle.update(HTML(pool_html(pool)))
            if over:
                return

    threading.Thread(target=renew, name="fused.submit display", daemon=True).start()
