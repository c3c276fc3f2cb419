"""``UdfEvaluationResult``: a run with all that is known about it (``_return_response=True``, ``udf.run_local()``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fused.models.schema import Schema

if TYPE_CHECKING:
    from fused.models.udf import Udf


@dataclass
class UdfEvaluationResult:
    """A run's value with all that is known about it.

    ``data``: the value, None after a failure. ``udf``: what ran; the token where a share token was run.
    ``time_taken_seconds``: from asking to having, the network included. ``stdout``, ``stderr``: what the function
    printed, as text; long output without its middle. ``exception``: what ``raise_for_error`` raises;
    ``exception_class``, ``error_message``, ``error_lineno`` (a line of the function's own text) and ``error_type``
    (``runtime_error``, ``serialization_error``, ``timeout_error``) tell of it. ``is_cached``, ``cache_source``: a
    stored result, and from where. ``original_content``, ``original_headers`` (names in small letters), ``status``:
    the HTTP reply as it came; empty for a run in this process. ``request_id``: for ``fused logs``.
    """

    data: Any = None
    udf: Udf | str | None = None
    time_taken_seconds: float = 0.0
    stdout: str = ""
    stderr: str = ""
    has_exception: bool = False
    exception_class: str | None = None
    error_message: str | None = None
    error_lineno: int | None = None
    error_type: str | None = None
    profile: Any = None
    is_cached: bool = False
    cache_source: str | None = None
    original_content: bytes | None = None
    original_headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    request_id: str | None = None
    exception: BaseException | None = None

    @property
    def schema(self) -> Schema | None:
        """The columns of ``data`` when it is a table."""
        return Schema.of_value(self.data)

    def raise_for_error(self) -> UdfEvaluationResult:
        """Raises the failure that this holds, if it holds one."""
        if self.exception is not None:
            raise self.exception
        return self

    def __repr__(self) -> str:
        from fused._show import evaluation_text

        return evaluation_text(self)

    def _repr_html_(self) -> str:
        from fused._show import evaluation_html

        return evaluation_html(self)
