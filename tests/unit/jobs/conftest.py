"""Jobs as the routes of client-protocol.md §2.3 tell of them, from a server of a few lines on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from job_server import JobServer
from serving import serving
from task_server import TaskServer


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[JobServer]:
    yield from serving(JobServer(), monkeypatch, tmp_path)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[TaskServer]:
    yield from serving(TaskServer(), monkeypatch, tmp_path)
