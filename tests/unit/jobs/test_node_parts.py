"""What runs on the nodes of a cluster, and the driver there, as far as they do without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fused._jobs import ray_driver
from fused._jobs.node_worker import remove_left


def test_scratch_of_processes_that_are_gone_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"{gone.pid}-abc", f"{os.getpid()}-abc", "of-somebody-else"):
        (tmp_path / name / "deep").mkdir(parents=True)
    remove_left(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([f"{os.getpid()}-abc", "of-somebody-else"])


class Broken:
    """A Ray whose every call fails."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError("the cluster is gone")

        return fail


@pytest.fixture
def driver() -> ray_driver.Driver:
    made = ray_driver.Driver.__new__(ray_driver.Driver)  # without a cluster to join
    made._ray, made._held, made._changed = Broken(), {"a": "reference"}, threading.Condition()
    return made


def test_a_driver_that_cannot_watch_its_tasks_ends(
    driver: ray_driver.Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(Left, match="1"):
        driver._watch()
    assert "cannot be watched: RuntimeError: the cluster is gone" in capsys.readouterr().out


def test_a_cancel_that_fails_is_said(driver: ray_driver.Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver._end("a")
    assert "attempt a could not be cancelled: RuntimeError" in capsys.readouterr().out
