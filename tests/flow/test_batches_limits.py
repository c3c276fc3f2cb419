"""Batches at their limits: calls that need too much memory, a disk that is full, results of hundreds of megabytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

import fused
from fused.errors import FusedError, UdfSerializationError
from tests.conftest import Server, need_server, start_server, stop_server
from tests.counts import tell
from tests.flow.calls import headers_of
from tests.flow.test_jobs_faults import full, on_a_small_disk

IS_LONG = os.environ.get("FUSED_TEST_LONG") == "1"


@contextmanager
def told_of(server: Server) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("FUSED_BASE_URL", "FUSED_AUTH_TOKEN")}
    os.environ |= {"FUSED_BASE_URL": server.base_url, "FUSED_AUTH_TOKEN": server.token}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@fused.udf
def hungry(n: int):
    if n % 50 == 25:
        import numpy as np

        held = [np.ones(1 << 20) for _ in range(2_000)]
        return len(held)
    return n


@fused.udf
def much(n: int, mebibytes: int):
    import numpy as np

    return np.full(mebibytes << 20, n % 256, dtype="uint8")


def test_a_call_that_runs_out_of_memory_takes_no_other_with_it(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data", "--limit-memory-bytes", "600MiB")
    try:
        with told_of(server):
            pool = fused.submit(hungry, [{"n": n} for n in range(400)], max_retry=0)
            pool.wait()
            errors = pool.errors()
            assert sorted(errors) == list(range(25, 400, 50))
            assert all("MemoryError" in str(error) for error in errors.values()), errors
            values = pool.results(return_exceptions=True)
            assert [value for n, value in enumerate(values) if n not in errors] == [
                n for n in range(400) if n not in errors
            ]
        tell(f"400 calls in groups, {len(errors)} of them out of memory, {len(values) - len(errors)} whole")
    finally:
        stop_server(server)


def test_a_disk_that_fills_up_while_results_spill_is_said_and_what_had_come_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_server()
    server = on_a_small_disk(tmp_path, monkeypatch)
    try:
        with told_of(server):
            with full(server):
                began = time.monotonic()
                with pytest.raises(FusedError, match=r"disk|space") as failure:
                    pool = fused.submit(much, [{"n": n, "mebibytes": 1} for n in range(40)], max_retry=0)
                    pool.wait()
                    pool.results()
                assert time.monotonic() - began < 60, "it was said at once"
            assert requests.get(f"{server.base_url}/health", headers=headers_of(server), timeout=120).ok
            again = fused.submit(much, [{"n": n, "mebibytes": 1} for n in range(4)], max_retry=0)
            again.wait()
            assert [int(value[0]) for value in again.results()] == list(range(4))
        tell(f"a full disk under a batch: {str(failure.value)[:160]!r}")
    finally:
        stop_server(server)


def test_results_of_hundreds_of_megabytes_come_whole(tmp_path: Path) -> None:
    need_server()
    calls, mebibytes = (8, 400) if IS_LONG else (4, 120)
    server = start_server(tmp_path / "data")
    try:
        with told_of(server):
            pool = fused.submit(much, [{"n": n, "mebibytes": mebibytes} for n in range(calls)], max_retry=0)
            pool.wait()
            for n, value in enumerate(pool.results()):
                assert value.shape == (mebibytes << 20,) and np.all(value == n)
            small = fused.submit(much, [{"n": 7, "mebibytes": 600}], max_retry=0)
            small.wait()
            with pytest.raises(UdfSerializationError, match="bytes"):
                small.results()
        tell(f"{calls} results of {mebibytes} MiB of a batch came whole; one of 600 MiB is refused with its size")
    finally:
        stop_server(server)
