"""`--jobs ray` where there is no cluster that could be used, and a server without it. (With one: test_jobs_ray.)"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import PYTHON, SERVER, Server, free_port, need_server, start_server, stop_server
from tests.flow.jobs import post, submit, submitted, udf_step, values, wait


def refusal(data: Path, *arguments: str) -> str:
    """What a server says that does not start."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("FUSED_", "RAY_"))}
    settings |= {"FUSED_PYTHON": sys.executable, "PYTHONPATH": str(PYTHON)}
    command = [str(SERVER), "--port", "0", "--data", str(data), *arguments]
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0, ended.stdout
    return ended.stdout + ended.stderr


def test_a_cluster_that_cannot_be_reached_stops_the_start_and_nothing_else(tmp_path: Path) -> None:
    need_server()
    data = tmp_path / "data"
    server = start_server(data)
    text = "@fused.udf\ndef udf(n: int):\n    import time\n    time.sleep(1)\n    return n\n"
    job = submitted(server, udf_step(text, [1, 2, 3, 4]))
    server.process.kill()
    server.process.wait()
    said = refusal(data, "--jobs", "ray", "--ray-address", f"http://127.0.0.1:{free_port()}")
    assert "no Ray cluster answers at http://127.0.0.1:" in said and "ray start --head" in said
    server = start_server(data)
    try:
        assert wait(server, job)["status"] == "done"
        assert values(server, job) == [1, 2, 3, 4]
    finally:
        stop_server(server)


class _OtherRay(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"version": "4", "ray_version": "2.9.3"}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    need_server()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _OtherRay) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{other.server_port}"
        said = refusal(tmp_path / "data", "--jobs", "ray", "--ray-address", address)
        other.shutdown()
    assert "runs Ray 2.9.3; this server works with 2.60" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--jobs", "ray"), "needs --ray-address"),
        (("--ray-address", "http://127.0.0.1:8265"), "need --jobs ray"),
        (("--jobs", "slurm"), "slurm"),
        (("--jobs", "ray", "--ray-address", "head:8265"), "is no address"),
        (("--jobs", "ray", "--ray-address", "http://h:1", "--ray-mount", "mount"), "no absolute path"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    need_server()
    assert said in refusal(tmp_path / "data", *arguments)


def test_a_server_that_runs_its_jobs_itself_takes_no_driver(server: Server) -> None:
    assert submit(server, udf_step("@fused.udf\ndef udf(n: int):\n    return n\n", [1])).status_code == 200
    reply = post(server, "/api/v1/attempts", {"driver": "somebody"})
    assert reply.status_code == 403 and "for the driver" in reply.json()["message"]
