"""What can go wrong, as a small tree.

::

    FusedError
    ├── ConfigurationError        no server is known, or a setting is impossible
    ├── TransportError            the server cannot be reached, or did not answer in time
    ├── ServerError               the server answered with an error that is not the function's
    │   ├── InvalidArgumentError  400: a value that the server does not allow (also a ValueError)
    │   ├── AuthenticationError   401, 403
    │   ├── NotFoundError         404
    │   ├── ConflictError         409
    │   │   └── RevisionError     412: somebody else saved meanwhile
    │   └── BusyError             429, 503: the queue is full or the server drains
    ├── SourceError               a function's source cannot be taken or read (also a ValueError)
    ├── UdfError                  the function was started and gave no result
    │   ├── UdfRuntimeError       it raised, was killed or ran out of memory (also a RuntimeError)
    │   ├── UdfSerializationError its value cannot travel in any format asked for (also a RuntimeError)
    │   └── UdfTimeoutError       it ran into the time limit (also a RuntimeError)
    ├── JobPoolTailTimeoutError   `pool.tail(timeout=…)`: not all calls have succeeded by then (also a TimeoutError)
    └── UdfSelfRecursionError     a function submits itself (also a RecursionError)

Every message is complete by itself: it holds the traceback with the function's own lines where there is one.
``request_id`` names the run's folder in the logs (``fused logs ID``).
"""

from __future__ import annotations

from typing import Any


class FusedError(Exception):
    """Anything the SDK raises beside ``TypeError`` and ``ValueError`` for wrong arguments."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message}\n[request id {self.request_id}]" if self.request_id else self.message


class ConfigurationError(FusedError):
    """No server is known, or a setting is impossible."""


class TransportError(FusedError):
    """The server cannot be reached, or did not answer in time.

    ``may_have_arrived``: the request may have reached it, and only the answer is missing.
    """

    may_have_arrived = False


class ServerError(FusedError):
    """The server refused or failed; ``status`` is the HTTP status, ``detail`` the rest of its JSON error."""

    def __init__(
        self, message: str, *, status: int = 500, detail: object = None, request_id: str | None = None
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.detail = detail


class InvalidArgumentError(ServerError, ValueError):
    """A value that the server does not allow, as an unknown ``instance_type`` (400); also a ``ValueError``."""


class AuthenticationError(ServerError):
    """No token was sent, the server does not know it, or it may not do this (401, 403)."""


class NotFoundError(ServerError):
    """There is no such function, token or run (404)."""


class ConflictError(ServerError, ValueError):
    """Something of that name is there already, or changed meanwhile (409); also a ``ValueError``."""


class RevisionError(ConflictError):
    """Somebody else saved meanwhile (412); ``detail`` is the id of the revision that is current now."""


class BusyError(ServerError):
    """The queue of runs is full, or the server is stopping (429, 503); ``retry_after`` in seconds when it said so."""

    retry_after: float | None = None


def may_pass(error: BaseException) -> bool:
    """Is it worth asking again: no connection, or a server (a proxy before it) that is busy, starting or in trouble."""
    return isinstance(error, TransportError | BusyError) or (isinstance(error, ServerError) and error.status >= 500)


class SourceError(FusedError, ValueError):
    """A function's source cannot be taken, or is not what a function to run must be."""


class UdfError(FusedError):
    """The function was started and gave no result.

    ``exception_class``: the name of the exception's class, ``lineno``: the line in the function's own text,
    ``udf_traceback``, ``stdout``, ``stderr``: what it left behind, as text.
    """

    def __init__(
        self,
        message: str,
        *,
        child_exception_class: str | None = None,
        lineno: int | None = None,
        udf_traceback: str = "",
        stdout: str = "",
        stderr: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.child_exception_class = child_exception_class
        self.lineno = lineno
        self.udf_traceback = udf_traceback
        self.stdout = stdout
        self.stderr = stderr

    @property
    def exception_class(self) -> str | None:
        """The name of the class of the exception that the function raised; None where it was ended from outside."""
        return self.child_exception_class

    def __str__(self) -> str:
        parts = [self.message]
        if self.udf_traceback and self.udf_traceback.strip() not in self.message:
            parts.append(self.udf_traceback.rstrip())
        if self.request_id:
            parts.append(f"[request id {self.request_id}; `fused logs {self.request_id}` shows what it printed]")
        return "\n\n".join(parts)


class UdfRuntimeError(UdfError, RuntimeError):
    """The function raised, was killed by a signal or a limit, or left no result."""


class UdfSerializationError(UdfError, RuntimeError):
    """The function's value cannot be sent in any of the formats asked for."""


class UdfTimeoutError(UdfError, RuntimeError):
    """The function ran into its time limit."""


class JobPoolTailTimeoutError(FusedError, TimeoutError):
    """Calls of a pool have not succeeded in time; ``not_succeeded_args``: what they were given."""

    def __init__(self, message: str, *, timeout: float, not_succeeded_args: list[Any]) -> None:
        super().__init__(message)
        self.timeout = timeout
        self.not_succeeded_args = not_succeeded_args


class UdfSelfRecursionError(FusedError, RecursionError):
    """A function submits itself."""
