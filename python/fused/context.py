"""``fused.context``: what a running function may know of its run and of whom it runs for.

Outside a run there is nothing to know: names and ids are None, headers are empty, ``in_realtime()`` is False.
"""

from __future__ import annotations

import sys
from typing import Any

SHARE_TOKEN_HEADER = "fused-share-token"
SESSION_TOKEN_HEADER = "fused-session-token"

__all__ = [
    "SESSION_TOKEN_HEADER",
    "SHARE_TOKEN_HEADER",
    "get_execution_environment_id",
    "get_global_context",
    "get_header",
    "get_headers",
    "get_owner_email",
    "get_parameters",
    "get_realtime_client_id",
    "get_recursion_factor",
    "get_run_id",
    "get_session_token",
    "get_share_token",
    "get_user_email",
    "in_batch",
    "in_realtime",
    "is_shared",
    "this_udf",
]


def get_global_context() -> Any | None:
    """The run that goes on here: an object with ``run_id``, ``values`` and ``udf``; None outside a run."""
    if not sys._getframe(1).f_globals.get("__name__", "").startswith("fused."):
        _seen()
    state = sys.modules.get("fused._worker.context_state")  # there in a worker only; nothing of it is needed elsewhere
    return None if state is None else state.current()


def _seen(what: str = "it looked at fused.context") -> None:
    """The result holds for who asks: the cache keeps it only where the function's own text says so."""
    uses = sys.modules.get("fused._worker.uses")
    if uses is not None:
        uses.not_stored(what)


def _value(name: str, otherwise: Any = None) -> Any:
    run = get_global_context()
    value = None if run is None else run.values.get(name)
    return otherwise if value is None else value


def get_headers() -> dict[str, str]:
    """Headers of the request that began the run, names in small letters; tokens and cookies are not among them."""
    _seen()
    return {str(name).lower(): value for name, value in _value("headers", {}).items()}


def get_header(name: str) -> str | None:
    """One header of the request, by its name in any case; None where it was not sent."""
    return get_headers().get(name.lower())


def get_user_email() -> str | None:
    """Who asked for this run."""
    _seen()
    found: str | None = _value("user_email")
    return found


def get_owner_email() -> str | None:
    """Who owns the function; the run has this user's rights to files."""
    found: str | None = _value("owner_email")
    return found


def get_execution_environment_id() -> str | None:
    """The organisation's id."""
    found: str | None = _value("execution_environment_id")
    return found


def get_realtime_client_id() -> str | None:
    """The id under which clients know this server's workers."""
    found: str | None = _value("realtime_client_id", _value("execution_environment_id"))
    return found


def get_recursion_factor() -> int:
    """How deep this run is nested: 1 for one that was asked for from outside, 0 outside a run."""
    _seen()
    return int(_value("recursion", 0 if get_global_context() is None else 1))


def get_share_token() -> str | None:
    """Always None on this server: a function does not get the token that opens it; ``is_shared`` tells of it."""
    _seen()
    return None


def is_shared() -> bool:
    """Was this run asked for by a share token."""
    _seen()
    return bool(_value("share_token"))


def get_session_token() -> str | None:
    """The session token by which this run was asked for, or None."""
    _seen()
    found: str | None = _value("session_token")
    return found


def get_run_id() -> str | None:
    """The run's id, which is the name of its folder in the logs."""
    _seen("it asked for its run id")
    run = get_global_context()
    found: str | None = None if run is None else run.run_id
    return found


def get_parameters() -> dict[str, Any]:
    """What the request gave, before it was read by annotation."""
    _seen()
    run = get_global_context()
    if run is None:
        return {}
    return {**dict(run.order.get("query") or ()), **(run.order.get("typed") or {})}


def in_realtime() -> bool:
    """Does this code run for a request, in a worker of a server."""
    return get_global_context() is not None and not in_batch()


def in_batch() -> bool:
    """Does this code run in a batch job."""
    return bool(_value("batch", False))


def this_udf() -> Any | None:
    """The function that runs, as the object that ``@fused.udf`` made; None outside a run."""
    run = get_global_context()
    return None if run is None else run.udf
