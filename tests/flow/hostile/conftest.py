"""One server with small limits and a single worker slot: a canary run follows each hostile one on the same slot."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, need_server, start_server, stop_server

WALL_MS = 4000
LIMITS = {
    "wall-ms": WALL_MS,
    "memory-bytes": 700 << 20,
    "processes": 350,
    "disk-written-bytes": 64 << 20,
    "files-made": 5000,
    "result-bytes": 16 << 20,
    "stream-bytes": 1 << 20,
    "descriptors": 512,
}
SECRET_VARIABLE = "PLANTED_FOR_THE_SERVER_ONLY"

counts = {"hostile runs": 0, "canary runs unharmed": 0, "secret searches": 0, "secrets found": 0}


class Arena:
    def __init__(self, server: Server, secret: str) -> None:
        self.server = server
        self.secret = secret

    def run(self, code: str) -> tuple[str, Any, dict[str, Any]]:
        """Outcome, value (of a run that ended well) and all the metadata."""
        udf = {
            "name": "hostile",
            "type": "geopandas_v2",
            "code": code,
            "headers": [],
            "parameters": {},
            "entrypoint": "udf",
        }
        step = {"type": "udf", "name": "hostile", "udf": udf, "input": None}
        reply = requests.post(
            f"{self.server.api}/realtime/default/api/v1/run/udf",
            headers={"Authorization": f"Bearer {self.server.token}"},
            json={"step_config": json.dumps(step), "format": "json", "profile": False},
            timeout=60,
        )
        metadata = json.loads(reply.headers.get("x-fused-metadata") or "{}")
        outcome = str(metadata.get("outcome") or reply.json().get("error_type"))
        return outcome, reply.json() if reply.status_code == 200 and reply.content else None, metadata


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    need_server()
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="fused-hostile-", dir="/var/tmp") as folder:
        data = Path(folder) / "data"
        arguments = [part for name, value in LIMITS.items() for part in (f"--limit-{name}", str(value))]
        running = start_server(data, *arguments, workers=1, environment={SECRET_VARIABLE: secret})
        try:
            for place in planted(data):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(secret)
            yield Arena(running, secret)
        finally:
            stop_server(running)
    print("\n" + "; ".join(f"{what}: {count}" for what, count in counts.items()))


def planted(data: Path) -> list[Path]:
    return [
        data / "planted-state",
        data / "s3" / "bucket" / "object",
        data / "journal" / "planted",
        data / "scratch" / "999" / "other",
    ]
