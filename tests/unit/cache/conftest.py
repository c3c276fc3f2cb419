"""A cache folder and a key of its own for every test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fused
from fused._cache import errors, store
from tests.conftest import PYTHON


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``fused.options.cache_directory`` for this test; child processes get it by ``FUSED_CACHE_DIR``."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FUSED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FUSED_CACHE_DIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(PYTHON))
    fused.options.cache_directory = None
    errors.forget_said()
    yield folder
    fused.options.cache_directory = None


@pytest.fixture
def entries(cache_folder: Path) -> Callable[[], list[Path]]:
    """All entries there are."""
    return lambda: sorted(cache_folder.rglob("data_*"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python script; every process is ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        script = tmp_path / "script.py"
        if not script.exists() or script.read_text() != code:
            script.write_text(code)
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()


def forget_memory() -> None:
    """The next hit is read from its file."""
    for path in list(store.memory._kept):
        store.memory.drop(path)
