"""Tells the worker which files a run's result depends on, so that the result is made anew when one changes."""

from __future__ import annotations

import os
import sys


def used(path: str | os.PathLike[str]) -> None:
    """In a function on a server: its result depends on this file. Elsewhere nothing happens."""
    state = sys.modules.get("fused._worker.context_state")
    if state is None or state.current() is None:
        return
    uses = sys.modules.get("fused._worker.uses")
    if uses is not None:
        uses.file(path)
