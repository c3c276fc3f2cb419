"""Between the server and a Ray cluster: ``python -m fused._jobs.ray_front``, beside a server with ``--jobs ray``.

Needs nothing of Ray but its job REST API. Standard input has an order of JSON a line, each is answered by a line with
``"error": null`` or why it did not go (core/application_ray.cpp):

- ``{"op": "look", "address", "mount"}``: can the cluster run our tasks, and what has it;
- ``{"op": "serve", "address", "url", "token"}``: submits the driver and submits it again whenever it has ended.

At the end of standard input it stops the driver and leaves.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from fused._version import __version__

RAY = "2.60"  # the versions that this was tested with: 2.60.*
LOOK_SECONDS = 150
REST_SECONDS = 10.0
PAUSE_MAX = 60.0
MARK = "FUSED-LOOK "
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


_direct = build_opener(ProxyHandler({}))  # a cluster is near, whatever stands between here and elsewhere


class Unfit(Exception):
    """The cluster cannot run our tasks: why, and what to do."""


def auth_token() -> str:
    """As Ray's own programs find it."""
    if token := os.environ.get("RAY_AUTH_TOKEN", ""):
        return token
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Cluster:
    """Ray's job REST API."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that it answers; Unfit says why there is none."""
        request = Request(self.address + path, method=method)
        request.add_header("Content-Type", "application/json")
        if token := auth_token():
            request.add_header("Authorization", f"Bearer {token}")
        data = json.dumps(body).encode() if body is not None else None
        try:
            with _direct.open(request, data, timeout=REST_SECONDS) as reply:
                return json.loads(reply.read())
        except HTTPError as error:
            said = error.read().decode("utf-8", "replace")[:500]
            if error.code in (401, 403):
                raise Unfit(
                    f"the Ray cluster at {self.address} asks for a token (HTTP {error.code}): set RAY_AUTH_TOKEN, or "
                    "RAY_AUTH_TOKEN_PATH, in the server's environment"
                ) from None
            raise Unfit(f"the Ray cluster at {self.address} answered HTTP {error.code} to {path}: {said}") from None
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unfit(
                f"no Ray cluster answers at {self.address} ({reason}): start one (ray start --head, with ray[default] "
                f"{RAY}), or name the address of its dashboard with --ray-address; jobs that wait stay where they are"
            ) from None

    def submit(self, entrypoint: str, variables: dict[str, str], metadata: dict[str, str]) -> str:
        name = f"fused-{uuid.uuid4().hex}"
        body = {"entrypoint": entrypoint, "submission_id": name, "metadata": metadata}
        self.ask("POST", "/api/jobs/", {**body, "runtime_env": {"env_vars": variables}})
        return name

    def status(self, name: str) -> tuple[str, str]:
        told = self.ask("GET", f"/api/jobs/{name}")
        return str(told.get("status")), str(told.get("message") or "")

    def log(self, name: str) -> str:
        return str(self.ask("GET", f"/api/jobs/{name}/logs").get("logs") or "")

    def stop(self, name: str) -> None:
        self.ask("POST", f"/api/jobs/{name}/stop")


def check_version(cluster: Cluster) -> None:
    told = cluster.ask("GET", "/api/version")
    version = str(told.get("ray_version", "")) if isinstance(told, dict) else ""
    if not version.startswith(RAY + "."):
        raise Unfit(
            f"the Ray cluster at {cluster.address} runs Ray {version or 'of an unknown version'}; this server works "
            f"with {RAY}.*: pip install 'fused-server[ray]' on its nodes"
        )


def check_nodes(told: dict[str, Any]) -> None:
    """Unfit names every node that cannot run what this server would send there."""
    own = ".".join(platform.python_version_tuple()[:2])
    wrong = []
    for node in told["nodes"]:
        if node.get("error"):
            wrong.append(f"node {node['name']}: {node['error']}")
        elif ".".join(node["python"].split(".")[:2]) != own:
            wrong.append(f"node {node['name']} has Python {node['python']}, this server's functions run on {own}")
        elif node["fused"] != __version__:
            wrong.append(f"node {node['name']} has fused {node['fused']}, this server is {__version__}")
    if wrong:
        raise Unfit("the Ray cluster cannot run this server's tasks: " + "; ".join(wrong[:10]))
    if not told["nodes"] or told["cores"] < 1:
        raise Unfit("the Ray cluster has no node with a core: start some with ray start --address=HEAD:PORT")


def look(cluster: Cluster, mount: str) -> dict[str, Any]:
    """What the cluster has for tasks, after a short job that has looked at every node."""
    check_version(cluster)
    name = cluster.submit("python -m fused._jobs.ray_look", {"FUSED_LOOK_MOUNT": mount}, {})
    deadline = time.monotonic() + LOOK_SECONDS
    while (state := cluster.status(name))[0] not in ENDED:
        if time.monotonic() > deadline:
            cluster.stop(name)
            raise Unfit(
                f"the Ray cluster at {cluster.address} did not run a short job within {LOOK_SECONDS} s (it is "
                f"{state[0]}): has it a free core, and are its nodes alive (ray status)?"
            )
        time.sleep(0.2)
    lines = cluster.log(name).splitlines()
    found = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if not found:
        last = " | ".join(line for line in lines[-6:] if line.strip())[:1_500]
        raise Unfit(
            f"the head of the Ray cluster cannot run our Python ({state[1] or state[0]}): {last}. Its environment "
            "needs: pip install 'fused-server[ray]'"
        )
    told: dict[str, Any] = json.loads(found[-1])
    check_nodes(told)
    sizes = {name: told[name] for name in ("cores", "memory_bytes", "node_memory_bytes")}
    return {"nodes": len(told["nodes"]), **sizes}


class Driver:
    """Sees to it that there is one driver as long as the server lives."""

    def __init__(self, cluster: Cluster, url: str, token: str) -> None:
        self._cluster = cluster
        self._url = url
        self._token = token
        self._name = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._stop_former()
                variables = {"FUSED_DRIVER_URL": self._url, "FUSED_DRIVER_TOKEN": self._token}
                self._name = self._cluster.submit(
                    "python -m fused._jobs.ray_driver", variables, {"fused_server": self._url}
                )
                why = self._until_ended()
            except Unfit as error:
                why = str(error)
            except Exception as error:  # an answer that nobody expected: without a driver no task begins
                why = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            failures = 0 if time.monotonic() - began > PAUSE_MAX else failures + 1
            pause = min(PAUSE_MAX, 2.0 ** min(failures, 6))
            say(f"the driver on the Ray cluster has ended: {why}; another is submitted in {pause:.0f} s")
            self._stop.wait(pause)

    def _stop_former(self) -> None:
        """Of this server, from before this process."""
        for job in self._cluster.ask("GET", "/api/jobs/"):
            mine = (job.get("metadata") or {}).get("fused_server") == self._url
            if mine and job.get("status") not in ENDED and job.get("submission_id"):
                self._cluster.stop(job["submission_id"])

    def _until_ended(self) -> str:
        unreachable_since: float | None = None
        while not self._stop.wait(1.0):
            try:
                state, message = self._cluster.status(self._name)
                unreachable_since = None
            except Unfit:
                # The head may come back with the job; a new one is submitted when it does not know it any more.
                unreachable_since = unreachable_since or time.monotonic()
                if time.monotonic() - unreachable_since > PAUSE_MAX:
                    raise
                continue
            if state in ENDED:
                return f"{state} {message[-1_000:]}"
        return ""

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(REST_SECONDS)
        try:
            if self._name:
                self._cluster.stop(self._name)
        except Unfit as error:
            say(f"the driver could not be stopped, it leaves by itself: {error}")


def say(text: str) -> None:
    print(f"ray: {text}", file=sys.stderr, flush=True)


def main() -> None:
    driver: Driver | None = None
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {"error": None}
        try:
            cluster = Cluster(order["address"])
            if order["op"] == "look":
                answer |= look(cluster, order["mount"])
            else:
                driver = Driver(cluster, order["url"], order["token"])
        except Unfit as why:
            answer = {"error": str(why)}
        except Exception as error:
            answer = {"error": f"the cluster answered what nobody expected ({type(error).__name__}: {error})"}
        print(json.dumps(answer), flush=True)
    if driver:
        driver.stop()


if __name__ == "__main__":
    main()
