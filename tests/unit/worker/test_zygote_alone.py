"""A zygote whose server has gone before it could ask the kernel to end it with the server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tests.conftest import PYTHON

CONTROL_TO_3 = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.execv(sys.executable, [sys.executable, '-v', '-s', '-m', 'fused._worker.zygote', *sys.argv[2:]])"
)


def begun(*arguments: str) -> tuple[int, str]:
    """Of a zygote with nobody at the other end: how it ended, and what it imported."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    zygote = subprocess.run(
        [sys.executable, "-c", CONTROL_TO_3, str(theirs.fileno()), *arguments],
        env={**os.environ, "PYTHONPATH": str(PYTHON)}, pass_fds=[theirs.fileno()], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    theirs.close()
    return zygote.returncode, zygote.stderr


def test_it_loads_nothing_for_a_server_that_has_gone() -> None:
    status, imported = begun("--dies-with-parent")
    assert status == 0 and "import 'json'" in imported and "import 'pandas'" not in imported
