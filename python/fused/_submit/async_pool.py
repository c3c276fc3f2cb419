"""``AsyncJobPool``: a ``JobPool`` for event loops."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fused._submit.job_pool import JobPool

if TYPE_CHECKING:
    import pandas as pd


class AsyncJobPool(JobPool):
    """A ``JobPool`` with awaitable twins of what waits or reads much (``execution_type="async_loop"``)."""

    def wait_async(self) -> Coroutine[Any, Any, None]:
        """``await`` of ``wait``."""
        return self._twin(self.table.wait)

    def tail_async(self, stop_on_exception: bool = False, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """``await`` of ``tail``."""
        return self._twin(lambda: self.tail(stop_on_exception, timeout))

    def results_async(self, return_exceptions: bool = False) -> Coroutine[Any, Any, list[Any]]:
        """``await`` of ``results``."""
        return self._twin(lambda: self.results(return_exceptions))

    def results_now_async(self, return_exceptions: bool = False) -> Coroutine[Any, Any, dict[int, Any]]:
        """``await`` of ``results_now``."""
        return self._twin(lambda: self.results_now(return_exceptions))

    def success_async(self) -> Coroutine[Any, Any, dict[int, Any]]:
        """``await`` of ``success``."""
        return self._twin(self.success)

    def errors_async(self) -> Coroutine[Any, Any, dict[int, BaseException]]:
        """``await`` of ``errors``."""
        return self._twin(self.errors)

    def first_error_async(self) -> Coroutine[Any, Any, BaseException | None]:
        """``await`` of ``first_error``."""
        return self._twin(self.first_error)

    def logs_async(self) -> Coroutine[Any, Any, list[str | None]]:
        """``await`` of ``logs``."""
        return self._twin(self.logs)

    def first_log_async(self) -> Coroutine[Any, Any, str | None]:
        """``await`` of ``first_log``."""
        return self._twin(self.first_log)

    def logs_df_async(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, pd.DataFrame]:
        """``await`` of ``logs_df``."""
        return self._twin(lambda: self.logs_df(*args, **kwargs))

    def collect_async(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, pd.DataFrame]:
        """``await`` of ``collect``."""
        return self._twin(lambda: self.collect(*args, **kwargs))

    def cancel_async(self, wait: bool = False) -> Coroutine[Any, Any, None]:
        """``await`` of ``cancel``."""
        return self._twin(lambda: self.cancel(wait))

    def _twin(self, work: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        from fused._run.threads import in_thread

        return in_thread(work, f"fused.submit {self.label}")
