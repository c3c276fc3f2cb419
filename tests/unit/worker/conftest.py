from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from worker_harness import TestWorker, TestZygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestZygote]:
    started = TestZygote(Path(tmp_path_factory.mktemp("data")))
    yield started
    started.close()


@pytest.fixture(scope="module")
def shared_worker(zygote: TestZygote) -> Iterator[TestWorker]:
    """One warm worker for all tests of a file that leave it clean."""
    worker = zygote.worker()
    yield worker
    worker.leave()
    worker.close()


@pytest.fixture
def worker(zygote: TestZygote) -> Iterator[TestWorker]:
    """A fresh worker."""
    started = zygote.worker()
    yield started
    started.close()
