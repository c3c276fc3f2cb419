"""A disk that fills up: wherever it happens, the earlier table stays whole and nothing else is left behind.

The disk is a tmpfs in a mount namespace of its own, so that neither root nor a real disk is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PYTHON

PROGRAM = """
import hashlib, os, pathlib, sys
import fused
disk, source, row_memory, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
page = 4096

def tree(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}

def ingest(**more):
    more |= {"output_metadata": str(disk / "meta.parquet"), "overwrite": True}
    return fused.ingest(source, str(disk / "table"), **more).run_local(row_memory=row_memory)

ingest(load_columns=["id"], target_num_chunks=30)
old = tree(disk / "table")
old_metadata = (disk / "meta.parquet").read_bytes()
names = sorted(os.listdir(disk))
space = os.statvfs(disk)
low, high = 0, space.f_bavail  # pages that are left free: fails with low, works with high
seen = {}
while high - low > 1:
    middle = (low + high) // 2 if low else min(high // 64, 8)
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (space.f_bavail - middle) * page)
    try:
        ingest()
    except OSError as error:
        text = str(error)
        assert "full" in text or "No space left" in text, text
        marks = {"scratch": "scratch", "_sample": "sample", "meta.parquet": "metadata", ".parquet": "files"}
        stage = next((stage for mark, stage in marks.items() if mark in text), "other")
        seen.setdefault(stage, text)
        assert tree(disk / "table") == old, stage
        assert (disk / "meta.parquet").read_bytes() == old_metadata
        low = middle
    else:
        seen.setdefault("works", "")
        assert tree(disk / "table") != old
        high = middle
        (disk / "ballast").unlink()
        ingest(load_columns=["id"], target_num_chunks=30)
        assert tree(disk / "table") == old
    (disk / "ballast").unlink(missing_ok=True)
    assert sorted(os.listdir(disk)) == names, os.listdir(disk)
print(seen)
missing = [stage for stage in wanted if stage not in seen]
assert not missing, missing
"""


def in_a_small_disk(folder: Path, megabytes: int) -> list[str]:
    """The beginning of a command whose ``folder`` is a tmpfs of that size; empty where that cannot be had."""
    unshare = shutil.which("unshare")
    mount = f'mount -t tmpfs -o size={megabytes}m none "{folder}" && exec "$@"'
    for flags in (["--mount"], ["--mount", "--map-root-user"]):
        command = [unshare or "unshare", *flags, "sh", "-c", mount, "sh"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, timeout=20).returncode == 0:
                return command
        except OSError:
            return []
    return []


@pytest.mark.parametrize(
    ("row_memory", "stages"),
    [(100_000_000, "files,works"), (300_000, "scratch,works")],
    ids=["rows in memory", "rows in scratch"],
)
def test_a_full_disk_at_any_stage_leaves_the_old_table(
    source: Path, tmp_path: Path, row_memory: int, stages: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    within = in_a_small_disk(disk, 24)
    if not within:
        pytest.skip("no mount namespace can be had: the full disk was not tested")
    done = subprocess.run(
        [*within, sys.executable, "-W", "ignore", "-c", PROGRAM, str(disk), str(source), str(row_memory), stages],
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PYTHON))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
