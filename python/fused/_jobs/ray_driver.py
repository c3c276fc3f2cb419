"""The driver on a Ray cluster: takes attempts from the server and makes each a task of Ray (docs/decisions/0011).

``ray_front`` submits it as a Ray job with FUSED_DRIVER_URL and FUSED_DRIVER_TOKEN. It ends when the server is gone, or
has another driver; its tasks end with it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from typing import Any

from .node_client import Late, Lost, Refused, ServerClient, pack

WAIT_MS_MAX = 10_000
FORCE_SECONDS = 1.0
STARTS_BY_RAY = 3  # when a node dies
PATIENCE_SECONDS = 30.0  # with a server that does not answer
MEMORY_MARGIN = 0.999  # what Ray reports and what it gives differ by rounding


def say(text: str) -> None:
    print(f"fused driver: {text}", flush=True)


class Driver:
    """Two threads: one takes from the server, one watches the tasks."""

    def __init__(self, client: ServerClient, token: str) -> None:
        import ray

        from .node import run_attempt

        self._ray = ray
        self._client = client
        self._token = token
        self._task = ray.remote(max_retries=STARTS_BY_RAY, retry_exceptions=False)(run_attempt)
        self._held: dict[str, Any] = {}  # attempt: Ray's reference
        self._changed = threading.Condition()
        self._name = uuid.uuid4().hex

    def take(self) -> None:
        """Until the server wants no more of this driver."""
        threading.Thread(target=self._watch, daemon=True).start()
        wait_ms = 0
        while True:
            with self._changed:
                held = list(self._held)
            path = f"/api/v1/attempts?wait_ms={wait_ms}"
            answer = self._client.ask(path, {"driver": self._name, "held": held}, timeout=wait_ms / 1e3 + 20)
            settings = {name: value for name, value in answer.items() if name not in ("attempts", "end")}
            # Each request is a sign of life for what no node has begun yet.
            wait_ms = min(WAIT_MS_MAX, settings["lease_ms"] // 3)
            self._client.lease_seconds = max(PATIENCE_SECONDS, settings["lease_ms"] / 1e3)
            for given in answer["attempts"]:
                self._begin(given, settings)
            for attempt in answer["end"]:
                threading.Thread(target=self._end, args=(attempt,), daemon=True).start()

    def _begin(self, given: dict[str, Any], settings: dict[str, Any]) -> None:
        options = {"num_cpus": given["cores"], "memory": int(given["memory_bytes"] * MEMORY_MARGIN)}
        reference = self._task.options(**options).remote(given, settings, self._client.url, self._token)
        with self._changed:
            self._held[given["attempt"]] = reference
            self._changed.notify_all()

    def _end(self, attempt: str) -> None:
        """Asked at first, so that the node can say when nothing of it is left; then with force."""
        with self._changed:
            reference = self._held.get(attempt)
        if reference is None:
            return
        try:
            self._ray.cancel(reference, force=False)
            done, _ = self._ray.wait([reference], timeout=FORCE_SECONDS)
            if not done:
                self._ray.cancel(reference, force=True)
        except Exception as error:  # the attempt's lease ends it
            say(f"attempt {attempt} could not be cancelled: {type(error).__name__}: {error}")

    def _watch(self) -> None:
        try:
            while True:
                self._look()
        except Exception as error:
            say(f"leaves: its tasks cannot be watched: {type(error).__name__}: {error}")
            os._exit(1)  # the server's ray_front submits another

    def _look(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._held))
            names = {reference: attempt for attempt, reference in self._held.items()}
        done, _ = self._ray.wait(list(names), timeout=0.5)
        for reference in done:
            attempt = names[reference]
            self._ended(attempt, reference)
            with self._changed:
                self._held.pop(attempt, None)

    def _ended(self, attempt: str, reference: Any) -> None:
        try:
            self._ray.get(reference)
            why = "its node came to no end with it"
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            why = f"{type(error).__name__}: {lines[-1] if lines else ''}"[:1_000]
        try:
            # Nothing, where the node has told the end itself.
            self._client.post(f"/api/v1/attempts/{attempt}/end", pack({"driver": self._name, "message": why}))
        except (Late, Lost, Refused):
            return


def main() -> None:
    url, token = os.environ["FUSED_DRIVER_URL"], os.environ["FUSED_DRIVER_TOKEN"]
    import ray

    ray.init(log_to_driver=False)
    client = ServerClient(url, token, PATIENCE_SECONDS)
    say(f"takes attempts from {url}")
    try:
        Driver(client, token).take()
    except Late as late:
        say(f"leaves: {late}")
    except Lost as lost:
        say(f"leaves: {lost}. Nodes reach the server at --ray-server-url")
        time.sleep(0.2)
        sys.exit(1)


if __name__ == "__main__":
    main()
