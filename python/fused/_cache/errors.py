"""What can go wrong around ``@fused.cache``."""

from __future__ import annotations

import threading
import warnings

from fused.errors import FusedError
from fused.warnings import FusedWarning


class CacheResultError(FusedError, RuntimeError):
    """Another process computed this value and failed with an exception that cannot be sent; its traceback is here."""


class CacheWarning(FusedWarning):
    """A value was computed but not kept; the message says why and what to do."""


class Unhashable(TypeError):
    """A value has no content that a key could be made of."""


_said: set[str] = set()
_lock = threading.Lock()


def say_once(about: str, message: str) -> None:
    """A warning the first time in this process that ``about`` comes up."""
    with _lock:
        if about in _said:
            return
        _said.add(about)
    warnings.warn(message, CacheWarning, stacklevel=4)


def forget_said() -> None:
    """Everything may be said again."""
    with _lock:
        _said.clear()
