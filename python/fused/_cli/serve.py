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
    for warning in misspelt_variables(program):
        print(f"fused serve: {warning}", file=sys.stderr)
    environment = dict(os.environ)
    environment.setdefault("FUSED_PYTHON", sys.executable)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [str(program), *arguments], environment)


def server_program() -> Path:
    """``bin/fused-server`` beside the package."""
    return Path(fused.__file__).resolve().parent / "bin" / "fused-server"


def misspelt_variables(program: Path) -> list[str]:
    """A warning for each ``FUSED_…`` of the environment that is no setting of the server or the SDK.

    Only a warning: a flag or a name in a file is written for this program, the environment may be anybody's.
    """
    from fused._options import OPTIONS

    ours = {option.variable for option in OPTIONS.values()} | {"FUSED_HOME", "FUSED_MOUNT"}
    unknown = sorted(name for name in os.environ if name.startswith("FUSED_") and name not in ours)
    if not unknown:
        return []
    import difflib
    import re
    import subprocess

    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=False, timeout=30).stdout
    settings = re.findall(r"Env:(FUSED_\w+)", shown)
    found = []
    for name in unknown if settings else []:
        if name not in settings:
            near = difflib.get_close_matches(name, settings, 1)
            advice = f"; did you mean {near[0]}?" if near else " (`fused serve --help` lists them)"
            found.append(f"the environment variable {name} is no setting and has no effect{advice}")
    return found


def official_client() -> str | None:
    """The version of the official distribution ``fused`` when it is in this environment."""
    from importlib import metadata

    try:
        return metadata.version("fused")
    except metadata.PackageNotFoundError:
        return None
