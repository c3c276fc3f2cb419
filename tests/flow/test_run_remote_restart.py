"""Who waits for a job does not notice that the server was killed and started again meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fused
from tests.conftest import Server, need_server, start_server, stop_server
from tests.flow.jobs import until


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    need_server()
    servers = [start_server(tmp_path / "data")]
    monkeypatch.setattr(fused.options, "base_url", servers[0].base_url)
    monkeypatch.setattr(fused.options, "auth_token", servers[0].token)
    yield servers
    for each in servers:
        stop_server(each)


def test_run_waits_through_a_restart_of_the_server(
    running: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @fused.udf
    def patient(here: str):
        import time
        from pathlib import Path

        Path(here, "begun").touch()
        while not Path(here, "go").exists():
            time.sleep(0.01)
        return 7

    mount = tmp_path / "data" / "mount"
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(fused.run(patient, here="/mount", instance_type="small"))
        except BaseException as error:
            found.append(error)

    waiter = threading.Thread(target=run, daemon=True)
    waiter.start()
    until((mount / "begun").exists)
    os.kill(running[0].pid, signal.SIGKILL)
    running[0].process.wait()
    monkeypatch.setattr("tests.conftest.free_port", lambda: int(running[0].base_url.rpartition(":")[2]))
    running.append(start_server(tmp_path / "data"))
    (mount / "go").touch()
    waiter.join(60)
    assert found == [7]


def test_what_ends_the_wait_names_the_job(running: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    @fused.udf
    def short():
        return 1

    def ended(*_: Any, **__: Any) -> None:
        raise RuntimeError("something of the caller's own")

    monkeypatch.setattr("fused._jobs.response.RunResponse.wait_for_job", ended)
    with pytest.raises(RuntimeError) as raised:
        fused.run(short, instance_type="small")
    assert any("goes on: fused.api.job_wait_for_results(" in note for note in raised.value.__notes__)
