"""Blocking work for event loops, in a thread of its own that ends with the work: nothing is left behind in a worker."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

AT_ONCE = 64  # of one event loop; the others wait

_gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


async def in_thread(work: Callable[[], Value], name: str) -> Value:
    """The value of ``work()``; its exception is raised here. Context variables are those of the caller."""
    loop = asyncio.get_running_loop()
    gate = _gates.setdefault(loop, asyncio.Semaphore(AT_ONCE))
    async with gate:
        done: asyncio.Future[Value] = loop.create_future()
        context = contextvars.copy_context()

        def settle(value: Any, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def run() -> None:
            value, error = None, None
            try:
                value = context.run(work)
            except BaseException as raised:
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        try:
            return await done
        finally:
            if done.done() and not done.cancelled():
                thread.join()  # it has nothing left to do but end
