"""``sandbox``: runs a text in a worker that was forked and closed in, in a process of its own.

Every test runs as the present user and, when that is root, as an ordinary user too. What a machine cannot do is printed
as skipped, with a count, at the end.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
DRIVER = Path(__file__).with_name("driver.py")
NOBODY = 65534
PACKAGES = sysconfig.get_paths()["purelib"]

_not_tested: dict[str, int] = {}


def native_path() -> Path:
    built = sorted((ROOT / "python" / "fused").glob("_native*.so"))
    if not built:
        pytest.skip("not tested: fused._native is not built (`make build`)")
    return built[0]


def not_tested(what: str) -> None:
    """Counts and skips."""
    _not_tested[what] = _not_tested.get(what, 0) + 1
    pytest.skip(f"not tested: {what}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for what, count in sorted(_not_tested.items()):
        terminalreporter.write_line(f"sandbox: {count} tests skipped, because {what}")


def as_nobody(command: list[str]) -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


@functools.cache
def python_for_nobody() -> str | None:
    """An interpreter of our version that an ordinary user can start (ours may lie in a closed home)."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    show = "import os, sys; print('%d.%d' % sys.version_info[:2], os.path.exists(os.path.realpath(sys.executable)))"
    for candidate in (sys.executable, f"/usr/bin/python{wanted}", "/usr/bin/python3"):
        try:
            got = subprocess.run(as_nobody([candidate, "-c", show]), capture_output=True, text=True, timeout=120)
        except OSError:
            continue
        if got.returncode == 0 and got.stdout.split() == [wanted, "True"]:
            return candidate
    return None


# Where the environment itself lies below /tmp, functions get a /tmp in memory beside it, not their scratch folder.
TMP_IS_SCRATCH = not any(
    Path(part).resolve().is_relative_to("/tmp") for part in (sys.prefix, sys.base_prefix, __file__)
)
needs_tmp_as_scratch = pytest.mark.skipif(
    not TMP_IS_SCRATCH, reason="not tested: the environment lies below /tmp, where /tmp is not the scratch folder"
)


class Sandbox:
    """``run`` gives the driver's answer; a text that raises inside fails the test with its traceback."""

    def __init__(self, ordinary: bool, data: Path) -> None:
        self.ordinary = ordinary
        self.data = data
        self.uid = NOBODY if ordinary else os.geteuid()

    def run(self, code: str, **order: Any) -> dict[str, Any]:
        python = python_for_nobody() if self.ordinary else sys.executable
        assert python is not None
        order = {"code": textwrap.dedent(code), "data": str(self.data), "native": str(native_path()), **order}
        if "outside" in order:
            order["outside"] = textwrap.dedent(order["outside"])
        command = [python, str(DRIVER)]
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONPATH": PACKAGES,
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "HOME": str(self.data),
        }
        got = subprocess.run(
            as_nobody(command) if self.ordinary else command,
            input=json.dumps(order), capture_output=True, text=True, timeout=120, cwd="/", env=environment,
        )  # fmt: skip
        assert got.returncode == 0, got.stderr
        answer: dict[str, Any] = json.loads(got.stdout)
        if "error" in answer and not order.get("may_fail"):
            pytest.fail(answer["error"])
        return answer

    def value(self, code: str, **order: Any) -> Any:
        return self.run(code, **order)["value"]

    def need(self, *steps: str) -> None:
        """Skips the test, counted, where this machine does not have a step."""
        for skipped in self._skipped():
            if skipped["step"] in steps:
                not_tested(f"{skipped['step']} is not to be had as {self._who()}: {skipped['why']}")

    @functools.cached_property
    def _report(self) -> dict[str, Any]:
        report: dict[str, Any] = self.run("pass")["report"]
        return report

    def _skipped(self) -> list[dict[str, str]]:
        skipped: list[dict[str, str]] = self._report["skipped"]
        return skipped

    def _who(self) -> str:
        return "an ordinary user" if self.uid else "root"


@pytest.fixture(params=["present user", "ordinary user"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    ordinary = request.param == "ordinary user"
    if ordinary and os.geteuid() != 0:
        pytest.skip("the present user is an ordinary one")
    if ordinary and (shutil.which("setpriv") is None or python_for_nobody() is None):
        not_tested("no ordinary user can start this Python")
    data = Path(tempfile.mkdtemp(prefix="fused-sandbox-", dir="/var/tmp"))
    try:
        for folder in ("mount", "scratch/7", "scratch/8"):
            (data / folder).mkdir(parents=True)
        if ordinary:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(data)], check=True)
        yield Sandbox(ordinary, data)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(data)], check=False)
        subprocess.run(["rm", "-rf", str(data)], check=False)  # some trees are deeper than Python's recursion


@pytest.fixture
def make_data() -> Callable[[Path, str], None]:
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write
