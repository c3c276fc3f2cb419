"""/metrics and /health: what they say is there, and can be read by those who read such things."""

from __future__ import annotations

import re
import time
from pathlib import Path

import requests

from tests.conftest import ROOT, Server, need_server, start_server, stop_server
from tests.flow.calls import headers_of, run

SAMPLE = re.compile(r'^([a-z_]+)(\{(?:[a-z_]+="[^"]*",?)*\})? (-?[0-9.e+-]+|\+Inf|NaN)$')
DECLARED = re.compile(r'\{\s*"(fused_[a-z_]+)",\s*(counter|gauge|histogram),\s*"([^"]+)"')


def read(server: Server) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    """Types, help and samples; every line must be one of the three."""
    reply = requests.get(f"{server.base_url}/metrics", headers=headers_of(server), timeout=120)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    samples: dict[str, float] = {}
    for line in reply.text.splitlines():
        if line.startswith("# HELP "):
            name, text = line[7:].split(" ", 1)
            assert name not in helps, f"{name} is said twice"
            helps[name] = text
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in types, f"{name} is declared twice"
            types[name] = kind
        else:
            found = SAMPLE.match(line)
            assert found, line
            name = found[1]
            family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in types else name
            assert family in types and family in helps, f"{line} stands before its TYPE and HELP"
            assert name + (found[2] or "") not in samples, line
            samples[name + (found[2] or "")] = float(found[3])
    return types, helps, samples


def test_every_name_of_the_list_is_printed_as_it_is_declared(server: Server) -> None:
    declared = {
        name: (kind, text) for name, kind, text in DECLARED.findall((ROOT / "core/http/metric_list.hpp").read_text())
    }
    types, helps, _ = read(server)
    assert len(declared) >= 30
    assert {name: (types[name], helps[name]) for name in types} == declared
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), name


def test_figures_move_with_what_happens(server: Server) -> None:
    before = read(server)[2]
    assert run(server, "@fused.udf\ndef udf():\n    return 1").text == "1"
    assert run(server, "@fused.udf\ndef udf():\n    raise ValueError(1)").status_code == 422
    deadline = time.monotonic() + 120
    while (after := read(server)[2])["fused_log_backlog_records"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert grown('fused_runs_total{result="ok"}') >= 1
    assert grown('fused_runs_total{result="failed"}') >= 1
    assert grown("fused_log_records_total") >= 2
    assert grown('fused_log_folders_total{outcome="written"}') >= 2
    assert after["fused_log_records_lost_total"] == 0
    assert 0 < after["fused_log_used_bytes"] < after["fused_log_limit_bytes"]
    assert 0 < after["fused_log_used_inodes"] < after["fused_log_limit_inodes"]
    assert after["fused_data_read_only"] == 0
    assert after["fused_worker_slots"] == 2


def test_isolation_is_said_from_the_first_moment(tmp_path: Path) -> None:
    need_server()
    server = start_server(tmp_path / "data")
    try:
        seen = []
        deadline = time.monotonic() + 60
        while not seen or seen[-1]["state"] == "starting":
            assert time.monotonic() < deadline
            health = requests.get(f"{server.base_url}/health", headers=headers_of(server), timeout=120).json()
            seen.append(health["isolation"])
            time.sleep(0.01)
        assert all(each["state"] in ("starting", "in force") for each in seen)
        assert seen[-1]["isolation"], seen[-1]
        print(f"asked {len(seen)} times until the first worker had reported")
        assert health["logs"]["records_lost"] == 0
        assert health["logs"]["limit_bytes"] > 0
    finally:
        stop_server(server)
