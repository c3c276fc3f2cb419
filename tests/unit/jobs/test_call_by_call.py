"""A pool on a server without batches: a run for each call, and which of them are tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serving import serving

import fused


@fused.udf
def same(n: int):
    return n


class OldServer:
    """Knows no batches. Runs are answered with ``statuses`` one after the other, the last for ever."""

    url, body = "", b""

    def __init__(self) -> None:
        self.statuses = [200]
        self.runs = 0

    def answer(self, method: str, path: str, query: str) -> tuple[int, str, bytes, dict[str, str]]:
        if "/batches" in path:
            return 404, "application/json", b'{"message": "there is no such route"}', {}
        if path.endswith("/realtime-instance/available"):
            return 200, "application/json", b'[{"client_id": "own"}]', {}
        if "/run/udf" not in path:  # a thread of another test's pool that still asks for its own job
            return 404, "application/json", b'{"message": "there is no such route"}', {}
        self.runs += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return status, "application/json", json.dumps(7 if status == 200 else {"message": "no"}).encode(), {}


@pytest.fixture
def old_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[OldServer]:
    for known in serving(OldServer(), monkeypatch, tmp_path):
        fused.options.request_max_retries = 0
        yield known


@pytest.mark.parametrize(
    ("statuses", "end", "attempts"),
    [
        ([200], "success", 1),
        ([503, 502, 200], "success", 3),
        ([503], "error", 3),
        ([401], "error", 1),
        ([403], "error", 1),
        ([404], "error", 1),
    ],
)
def test_only_what_may_pass_is_tried_again(old_server: OldServer, statuses: list[int], end: str, attempts: int) -> None:
    old_server.statuses = list(statuses)
    pool = fused.submit(same, [1])
    pool.wait()
    assert (pool[0].status(), pool[0].attempts()) == (end, attempts)


def test_max_retry_as_given_counts_for_every_failure(old_server: OldServer) -> None:
    old_server.statuses = [404, 404, 200]
    assert fused.submit(same, [1], max_retry=2).results() == [7]
