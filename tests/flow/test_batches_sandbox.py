"""The program that makes ``calls.parquet`` reads what functions have written: it does so in a sandbox."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import SERVER
from tests.processes import children_of

TABLE = SERVER.parent / "fused-table"
CALLS = 1_000_000
AT_ONCE = 16_384
RECORD = struct.pack("<cII", b"w", 6, 0) + b"hello\n" + b"application/json\0" + b"1"


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    if not TABLE.exists():
        pytest.skip(f"{TABLE} is not built: how it is confined could not be tested")


def results(path: Path, calls: int) -> int:
    """As core/batch/batch_results.hpp lays them out; gives the bytes."""
    with path.open("wb") as file:
        for first in range(0, calls, AT_ONCE):
            n = min(AT_ONCE, calls - first)
            file.write(b"FBR1" + struct.pack("<IQ", n, n * len(RECORD)))
            file.write(struct.pack("<d", 1.7e9) * n + struct.pack("<d", 0.5) * n)
            file.write(struct.pack(f"<{n}I", *range(first, first + n)) + struct.pack("<I", len(RECORD)) * n)
            file.write(struct.pack("<H", 1) * n + b"\2" * n + RECORD * n + bytes(32) * n)
    return path.stat().st_size


def order(folder: Path, size: int, **limits: int) -> str:
    for name in ("data", "data/mount", "data/scratch"):
        (folder / name).mkdir(exist_ok=True)
    sandbox: dict[str, Any] = {
        "isolation": "auto",
        "data": str(folder / "data"),
        "mount": str(folder / "data/mount"),
        "scratch": str(folder / "data/scratch"),
        "python_paths": [sys.prefix],
        "network": False,
        "limits": limits,
    }
    return json.dumps({"calls": size, "sandbox": sandbox})


def started(argument: str, folder: Path | None = None) -> subprocess.Popen[str]:
    """With the results as descriptor 3 and the table as descriptor 4, as the server starts it."""
    files = f"3<'{folder}/results' 4>'{folder}/calls.parquet'" if folder else ""
    command = ["/bin/sh", "-c", f'exec "$0" "$1" {files}', str(TABLE), argument]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def confined(pid: int) -> bool:
    """It has the filter of system calls, and may not gain rights."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status


def test_it_is_confined_before_it_reads_and_its_table_is_whole(tmp_path: Path) -> None:
    size = results(tmp_path / "results", CALLS)
    process = started(order(tmp_path, size), tmp_path)
    seen = False
    while process.poll() is None:
        seen = seen or any(confined(pid) for pid in children_of(process.pid))
        time.sleep(0.001)
    assert process.returncode == 0, process.communicate()[1]
    assert seen
    rows = pq.read_table(tmp_path / "calls.parquet", columns=["index", "status", "stdout", "seconds"])
    assert rows.num_rows == CALLS
    assert rows["index"].to_numpy()[[0, -1]].tolist() == [0, CALLS - 1]
    assert rows.slice(7, 1).to_pylist() == [{"index": 7, "status": "success", "stdout": "hello\n", "seconds": 0.5}]


def test_its_table_does_not_grow_beyond_what_it_is_given(tmp_path: Path) -> None:
    size = results(tmp_path / "results", CALLS // 10)
    process = started(order(tmp_path, size, disk_written_bytes=1 << 16, result_bytes=1 << 16), tmp_path)
    process.communicate()
    assert process.returncode != 0
    assert (tmp_path / "calls.parquet").stat().st_size <= 1 << 16


def test_results_that_are_cut_or_lie_about_their_lengths_are_damaged(tmp_path: Path) -> None:
    size = results(tmp_path / "results", 3)
    whole = (tmp_path / "results").read_bytes()
    wrong = [whole[:cut] for cut in (1, 15, 17, 60, size - 1)]
    for at, lie in ((4, 2**32 - 1), (4, 4), (8, 2**63), (8, 1), (16 + 3 * 20, 2**31), (0, 0)):
        changed = bytearray(whole)
        changed[at : at + 4 + 4 * (at == 8)] = lie.to_bytes(4 + 4 * (at == 8), "little")
        wrong.append(bytes(changed))
    for given in wrong:
        (tmp_path / "results").write_bytes(given)
        process = started(order(tmp_path, len(given)), tmp_path)
        assert "damaged at byte" in process.communicate()[1]
        assert process.returncode == 1
    (tmp_path / "results").write_bytes(whole)
    assert started(order(tmp_path, size), tmp_path).wait() == 0


@pytest.mark.parametrize("argument", ["{}", '{"calls": 3}', "[", '{"sandbox": {}}', "calls"])
def test_without_a_sandbox_it_reads_nothing(argument: str) -> None:
    process = started(argument)
    assert "fused-table: " in process.communicate()[1]
    assert process.returncode == 1
