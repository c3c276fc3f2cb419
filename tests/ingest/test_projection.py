"""Inputs in another CRS than longitude and latitude: moved exactly, told by name, however many rows there are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from fused._ingest.geometry import projection_note
from tests.ingest.test_command import command

ROWS = 100_000  # several batches: each comes from a native thread


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[gpd.GeoDataFrame, Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("projection")
    random = np.random.default_rng(1)
    points = gpd.points_from_xy(random.uniform(450_000, 500_000, ROWS), random.uniform(5_100_000, 5_200_000, ROWS))
    frame = gpd.GeoDataFrame({"id": np.arange(ROWS)}, geometry=points, crs=32632)
    frame.to_parquet(folder / "utm.parquet")
    return frame, folder / "out", command(folder / "utm.parquet", folder / "out", "--threads", "2")


def test_many_rows_are_projected_by_native_threads(done: tuple[gpd.GeoDataFrame, Path, object]) -> None:
    frame, out, ended = done
    assert ended.returncode == 0, (ended.returncode, ended.stderr)  # type: ignore[attr-defined]
    rows = gpd.read_parquet(out).set_index("id").sort_index()
    wanted = frame.to_crs(4326)
    assert np.allclose(rows.geometry.x, wanted.geometry.x, atol=1e-9)
    assert np.allclose(rows.geometry.y, wanted.geometry.y, atol=1e-9)


def test_the_progress_of_each_stage_is_its_last_and_stands_before_the_summary(
    done: tuple[gpd.GeoDataFrame, Path, subprocess.CompletedProcess[str]],
) -> None:
    lines = done[2].stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["inspect", "read", "partition", "write", "publish"]
    assert re.fullmatch(r"read +100,000 rows, [0-9.]+ s", lines[1])
    assert re.fullmatch(r"write +100,000 rows, [0-9.]+ s", lines[3])
    assert "0 rows" not in lines[0] + lines[4].replace("00 rows", "")
    assert "projected from 'WGS 84 / UTM zone 32N' to EPSG:4326" in done[2].stdout


@pytest.mark.parametrize(
    ("crs", "said"),
    [
        (
            27700,
            r"'Ordnance Survey of Great Britain 1936' is shifted by the best of \d+ operations .* 'OSGB36 to WGS 84",
        ),
        (28992, r"'Amersfoort' is shifted by the best of \d+ operations .* 'Amersfoort to WGS 84"),
        (2056, r"'CH1903\+' is shifted by 'CH1903\+ to WGS 84 \(1\)', to about 1 m"),
        (3857, r"from 'WGS 84 / Pseudo-Mercator' to EPSG:4326$"),
    ],
)
def test_a_shift_is_told_by_its_name(crs: int, said: str) -> None:
    note = projection_note(f"EPSG:{crs}", "file")
    assert re.search(said, note), note
    assert "unavailable until" not in note
