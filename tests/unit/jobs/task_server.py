"""Jobs with their tasks, as docs/reference/jobs.md tells of them: a test says what has ended and what is refused."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import parse_qs


class TaskServer:
    """Tasks end when a test calls ``finish``. ``refuse`` holds answers ``(method, part of the path, status)``, each
    given once; ``asked`` lists the requests.
    """

    def __init__(self) -> None:
        self.url = ""
        self.body = b""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.refuse: list[tuple[str, str, int]] = []
        self.asked: list[str] = []
        self.submitted = threading.Event()

    def finish(self, job: int, *numbers: int, state: str = "done", terminal: str | None = None) -> None:
        """These tasks of the job (by its place) have ended; it itself too, where ``terminal`` says how."""
        about = list(self.jobs.values())[job]
        for number in numbers:
            about["tasks"][number] = {
                "task": number, "step": 0, "state": state, "attempts": 1, "error": None if state == "done" else "no",
                "result": f"{number}.json" if state == "done" else None,
            }  # fmt: skip
        about["status"] = terminal or about["status"]

    def run(self, job: int, *numbers: int) -> None:
        self.finish(job, *numbers, state="running")

    def answer(self, method: str, path: str, query: str) -> tuple[int, str, bytes, dict[str, str]]:
        self.asked.append(f"{method} {path}{'?' + query if query else ''}")
        for at, (verb, part, status) in enumerate(self.refuse):
            if verb == method and part in path:
                del self.refuse[at]
                return self.as_json(status, {"message": f"refused with {status}"})
        if path == "/server/v1/run":
            job_id = f"00000000-0000-4000-8000-{len(self.jobs):012}"
            step = json.loads(self.body)["config"]["steps"][0]
            self.jobs[job_id] = {"job_id": job_id, "status": "running", "tasks": {}, "items": step["input"] or [{}]}
            self.jobs[job_id]["n_processes"] = step["n_processes"]
            self.submitted.set()
            return self.as_json(200, self.record(job_id))
        parts = path.split("/")
        job_id = next((part for part in parts if part in self.jobs), "")
        if not job_id:
            return self.as_json(404, {"message": f"no job is known by {path}"})
        job = self.jobs[job_id]
        if parts[1] == "files":
            return self.as_json(200, job["items"][int(parts[-1].split(".")[0])]["n"])
        if parts[-1] == "cancel":
            if job["status"] != "running":
                return self.as_json(409, {"message": f"job {job_id} has ended"})
            job["status"] = "canceled"
        if parts[-1] == "results":
            names = [each["result"] for each in job["tasks"].values() if each["result"]]
            return self.as_json(200, [{"name": name, "url": f"{self.url}/files/{job_id}/{name}"} for name in names])
        return self.as_json(200, self.record(job_id, query))

    def record(self, job_id: str, query: str = "") -> dict[str, Any]:
        job = self.jobs[job_id]
        given = {name: values[0] for name, values in parse_qs(query).items()}
        from_task, limit = int(given.get("skip", 0)), int(given.get("limit", 1_000))
        begun = [dict(job["tasks"][number]) for number in sorted(job["tasks"]) if number >= from_task]
        if given.get("links") == "true":
            for task in begun:
                task["url"] = task["result"] and f"{self.url}/files/{job_id}/{task['result']}"
        status = job["status"]
        return {
            "job_id": job_id, "job_name": "f", "status": status, "terminal_status": status != "running",
            "finished_job_status": status != "running", "total_tasks": len(job["items"]), "tasks": begun[:limit],
        }  # fmt: skip

    @staticmethod
    def as_json(status: int, value: Any) -> tuple[int, str, bytes, dict[str, str]]:
        return status, "application/json", json.dumps(value).encode(), {}
