"""``fused ingest`` as it is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest

import fused
from tests.conftest import PYTHON


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fused", "ingest", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PYTHON))},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_table_a_summary_and_a_picture(source: Path, tmp_path: Path) -> None:
    done = command(source, tmp_path / "out", "--plot", tmp_path / "map.png", "--columns", "id")
    assert done.returncode == 0, done.stderr
    assert "5,000 rows written to" in done.stdout
    assert "rows/s" in done.stdout
    assert re.search(r"^(read|partition|write|publish)\b.*rows", done.stderr, re.MULTILINE)  # quick stages are not told
    assert (tmp_path / "map.png").stat().st_size > 1_000
    assert list(gpd.read_parquet(tmp_path / "out").columns) == ["id", "geometry"]


def test_options_are_those_of_python(source: Path, tmp_path: Path) -> None:
    options = [
        "--method",
        "coords",
        "--max-per-chunk",
        "500",
        "--max-per-file",
        "4000",
        "--utm",
        "none",
        "--split",
        "median",
    ]
    done = command(source, tmp_path / "a", "--quiet", *options)
    assert done.returncode == 0 and done.stderr == ""
    fused.ingest(
        source,
        str(tmp_path / "b"),
        partitioning_method="coords",
        partitioning_maximum_per_chunk=500,
        partitioning_maximum_per_file=4000,
        partitioning_force_utm=None,
        partitioning_split_method="median",
    ).run_local()
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_dry_run_shows_the_columns(source: Path) -> None:
    done = command(source, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be written" in done.stdout
    assert "height: double" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.gpkg", "out"], "there is no file 'nothing.gpkg'"),
        (["nothing.gpkg"], "where does the table go?"),
        (["a", "b", "--memory-limit", "lots"], "'lots' is not a size"),
        (["a", "b", "--threads", "0"], "--threads 0: 1 or more"),
        (["a", "b", "--lonlat", "lon"], "--lonlat 'lon': it names two columns"),
        (["a", "b", "--subdivide-stop", "1"], "--subdivide-stop needs --subdivide-start"),
        (["a", "b", "--max-per-chunks", "3"], "did you mean --max-per-chunk"),
    ],
)
def test_mistakes_are_one_clear_line_and_an_exit_code(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = command(*arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
