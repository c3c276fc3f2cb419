"""One job as the routes of client-protocol.md §2.3 tell of it."""

from __future__ import annotations

import json
from typing import Any

ID = "3664fc96-423e-4bec-be18-9c08292bf574"


class JobServer:
    """One job; a test moves it by changing ``record``, ``lines`` and ``files``. ``asked`` lists the requests."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {
            "job_id": ID, "job_name": "hello", "status": "running", "terminal_status": False, "total_tasks": 3,
            "finished_tasks": 0, "instance_type": "small", "job_status": "Running", "new_key": 1,
        }  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self.files: dict[str, tuple[str, bytes, dict[str, str]]] = {}
        self.asked: list[str] = []
        self.at_status: list[Any] = []  # called one after another, one at each question for the status
        self.busy = 0  # so many questions, of whatever kind, are answered with 503
        self.url = ""

    def end(self, status: str = "done") -> None:
        self.record.update(status=status, terminal_status=True, job_status=status.title(), finished_tasks=3)

    def answer(self, method: str, path: str, query: str) -> tuple[int, str, bytes, dict[str, str]]:
        self.asked.append(f"{method} {path}{'?' + query if query else ''}")
        if self.busy:
            self.busy -= 1
            return self.as_json(503, {"message": "the server stops"})
        if path == f"/server/v1/run/by-id/{ID}" and method == "GET":
            if self.at_status:
                self.at_status.pop(0)()
            return self.as_json(200, self.record)
        if path == f"/server/v1/run/by-id/{ID}/cancel" and method == "POST":
            if self.record["terminal_status"]:
                return self.as_json(409, {"message": f"job {ID} has ended: it is done"})
            self.end("canceled")
            return self.as_json(200, self.record)
        if path == f"/api/v1/jobs/{ID}":
            return self.as_json(200, {**self.record, "tasks": []})
        if path == f"/server/v1/run/by-id/{ID}/results":
            return self.as_json(200, [{"name": name, "url": f"{self.url}/files/{name}"} for name in self.files])
        if path == f"/server/v1/logs/{ID}":
            since = int(query.removeprefix("since_ms=") or 0)
            return self.as_json(200, [line for line in self.lines if line["timestamp"] >= since])
        if path.startswith("/files/"):
            kind, body, headers = self.files[path.removeprefix("/files/")]
            return 200, kind, body, headers
        return self.as_json(404, {"message": f"no job is known by {path}"})

    @staticmethod
    def as_json(status: int, value: Any) -> tuple[int, str, bytes, dict[str, str]]:
        return status, "application/json", json.dumps(value).encode(), {}
