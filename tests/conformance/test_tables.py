"""Tables of ours, read by the unmodified official client: chunk list and chunks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import fused

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Written by the project's own environment: the client's may have an older pyarrow."""
    folder = tmp_path_factory.mktemp("table") / "shapes"
    maker = [str(ROOT / ".venv/bin/python"), str(ROOT / "tests/table/make_table.py"), str(folder)]
    subprocess.run(maker, check=True, timeout=120, env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"})
    return str(folder)


def test_the_chunk_list(table: str) -> None:
    chunks = fused.get_chunks_metadata(table)
    assert len(chunks) == 12 and chunks["num_rows"].sum() == 3_000
    assert {"file_id", "chunk_id", "bbox_minx", "bbox_maxy", "geometry"} <= set(chunks.columns)
    assert chunks.crs.to_epsg() == 4326


def test_every_chunk(table: str) -> None:
    rows = 0
    for chunk in fused.get_chunks_metadata(table).itertuples():
        frame = fused.get_chunk_from_table(table, chunk.file_id, chunk.chunk_id)
        assert len(frame) == chunk.num_rows
        bounds = frame.total_bounds
        assert bounds[0] >= chunk.bbox_minx and bounds[3] <= chunk.bbox_maxy
        rows += len(frame)
    assert rows == 3_000


def test_named_columns(table: str) -> None:
    frame = fused.get_chunk_from_table(table, "1", 2, columns=["id", "geometry"])
    assert {"id", "geometry"} <= set(frame.columns) and "height" not in frame.columns
