"""``fused serve``: becomes the server. All arguments are the server's, so ``fused serve --help`` is its own help."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import fused

CONFLICT = """\
fused serve: the official client (distribution `fused` {version}) is installed in this environment. It has the same
module name as this package, so functions would find one or the other by chance. Remove one of them:
  pip uninstall fused && pip install --force-reinstall --no-deps fused-server   keep the server here
  python -m venv other && other/bin/pip install fused                          use the official client from there"""


def serve(arguments: Sequence[str]) -> int:  # noqa: RET503 - execve does not return
    """Replaces this process by the server; returns only when it cannot."""
    version = official_client()
    if version is not None:
        print(CONFLICT.format(version=version), file=sys.stderr)
        return 1
    program = server_program()
    if not os.access(program, os.X_OK):
        print(
            f"fused serve: the server is not here ({program}). It is part of the wheel for Linux; in a checkout, "
            "`make build` makes it. What only talks to a server works without it.",
            file=sys.stderr,
        )
        return 1
    environment = dict(os.environ)
    environment.setdefault("FUSED_PYTHON", sys.executable)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [str(program), *arguments], environment)


def server_program() -> Path:
    """``bin/fused-server`` beside the package."""
    return Path(fused.__file__).resolve().parent / "bin" / "fused-server"


def official_client() -> str | None:
    """The version of the official distribution ``fused`` when it is in this environment."""
    from importlib import metadata

    try:
        return metadata.version("fused")
    except metadata.PackageNotFoundError:
        return None
