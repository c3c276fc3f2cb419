"""Calls that failed and are tried again: how often, and when. A random pause that grows keeps those that failed
together from coming together.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterable

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 10.0


class Retries:
    """Of the calls of one pool, each up to ``most`` times."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tries: dict[int, int] = {}
        self._later: list[tuple[float, int]] = []  # when, call

    def __len__(self) -> int:
        """How many wait for their time."""
        return len(self._later)

    def put_off(self, call: int) -> bool:
        """The call waits for another try; False when it has had them all."""
        tries = self._tries.get(call, 0)
        if tries >= self._most:
            self._tries.pop(call, None)
            return False
        self._tries[call] = tries + 1
        pause = random.uniform(0, min(PAUSE_SECONDS * 2**tries, PAUSE_SECONDS_MAX))
        heapq.heappush(self._later, (time.monotonic() + pause, call))
        return True

    def due(self, now: float) -> list[int]:
        """The calls whose time has come by ``now``, on the monotonic clock; they wait no more."""
        found = []
        while self._later and self._later[0][0] <= now:
            found.append(heapq.heappop(self._later)[1])
        return found

    def seconds_left(self, now: float) -> float | None:
        """Until the next; None when there is none."""
        return max(0.0, self._later[0][0] - now) if self._later else None

    def drop(self, calls: Iterable[int] | None = None) -> None:
        """These, or all, wait no more."""
        gone = None if calls is None else set(calls)
        self._later = [] if gone is None else [each for each in self._later if each[1] not in gone]
        heapq.heapify(self._later)
