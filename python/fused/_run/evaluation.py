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
    """``data`` is the value (None after a failure); times in seconds; ``original_content`` the bytes as they came."""

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
