"""kill -9 at any moment: afterwards the old table, the new one, or none; never a mixture. What is left is used or
removed by the next ingest.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import pytest

import fused
from tests.conftest import PYTHON
from tests.counts import tell
from tests.ingest.data import polygons

KILLS = 200 if os.environ.get("FUSED_TEST_LONG") else 20
PROGRAM = """
import sys, fused
print("begun", flush=True)
config = fused.ingest(sys.argv[1], sys.argv[2], overwrite=True)
config.run_local(row_memory=int(sys.argv[3]), resume="--resume" in sys.argv)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kill")
    paths = []
    for seed in (1, 2):
        paths.append(folder / f"{seed}.parquet")
        polygons(40_000, seed).to_parquet(paths[-1])
    return paths


def start(source: Path, table: Path, row_memory: int, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(source), str(table), str(row_memory), *more],
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PYTHON))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def tree_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.mark.parametrize("row_memory", [100_000_000, 500_000], ids=["memory", "scratch"])
def test_a_killed_ingest_leaves_the_old_table_or_the_new_one(
    inputs: list[Path], tmp_path: Path, row_memory: int
) -> None:
    table = tmp_path / "table"
    wanted = []
    seconds = 0.0
    for source in inputs:
        fused.ingest(source, str(tmp_path / source.stem)).run_local(row_memory=row_memory)
        wanted.append(tree_of(tmp_path / source.stem))
        began = time.monotonic()
        assert start(source, tmp_path / "timed", row_memory).wait() == 0
        seconds = time.monotonic() - began
    chance = random.Random(3)
    seen = set()
    for i in range(KILLS // 2):
        process = start(inputs[i % 2], table, row_memory)
        try:
            process.wait(chance.uniform(0, seconds * 1.2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        tree = tree_of(table)
        assert tree == {} or tree in wanted, sorted(tree)
        seen.add("none" if tree == {} else str(wanted.index(tree)))
    tell(f"{KILLS // 2} kills over two tables, never a mixture: {len(seen)} kinds of end")
    assert start(inputs[0], table, row_memory).wait() == 0
    assert tree_of(table) == wanted[0]
    assert not (tmp_path / ".table.ingest").exists()


def test_resume_takes_over_the_files_that_were_whole(inputs: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table"
    done = tmp_path / ".table.ingest" / "done"
    for _ in range(40):
        process = start(inputs[0], table, 100_000_000)
        while process.poll() is None and not (done.exists() and len(list(done.iterdir())) >= 3):
            time.sleep(0.001)
        process.kill()
        process.wait()
        if not table.exists():
            break
        for path in table.iterdir():
            path.unlink()
    else:
        pytest.fail("the ingest was never caught while it was writing")
    whole = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".table.ingest" / "table").glob("*.parquet")}
    kept = [f"{path.name}.parquet" for path in done.iterdir() if path.name.isdecimal()]
    assert kept
    with pytest.raises(ValueError, match="--resume: the interrupted ingest had other options or inputs"):
        fused.ingest(inputs[1], str(table), overwrite=True).run_local(resume=True)
    assert start(inputs[0], table, 100_000_000, "--resume").wait() == 0
    assert all((table / name).stat().st_mtime_ns == whole[name] for name in kept)
    fused.ingest(inputs[0], str(tmp_path / "other")).run_local()
    assert tree_of(table) == tree_of(tmp_path / "other")
    assert len(gpd.read_parquet(table)) == 40_000


def test_two_ingests_into_one_table_do_not_meet(inputs: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table"
    begun = tmp_path / ".table.ingest" / "fingerprint"  # written by who has the lock
    for _ in range(40):
        process = start(inputs[0], table, 500_000)
        while process.poll() is None and not begun.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        ended = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if ended is not None and ended.si_code == os.CLD_STOPPED and begun.exists():
            break
        process.send_signal(signal.SIGCONT)
        process.wait()
    else:
        pytest.fail("the ingest was never caught while it held its table")
    try:
        with pytest.raises(OSError, match=r"another ingest into .* is running"):
            fused.ingest(inputs[1], str(table), overwrite=True).run_local()
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    assert len(gpd.read_parquet(table)) == 40_000


def test_a_full_scratch_or_disk_is_said_and_nothing_is_left(inputs: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table"
    with pytest.raises(OSError, match=r"scratch file .* would need more than the 1000000 bytes"):
        fused.ingest(inputs[0], str(table)).run_local(row_memory=500_000, scratch_limit=1_000_000)
    assert list(tmp_path.iterdir()) == []
