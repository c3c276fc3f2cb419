"""Tables of ours, read by the unmodified official client: chunk list and chunks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import fused

ROOT = Path(__file__).resolve().parents[2]


POLYGONS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import fused, geopandas as gpd
from tests.table.make_table import polygons
"""
MAKERS = {
    "by hand": "from tests.table.make_table import write_table; write_table(polygons(3_000), folder)",
    "ingested": "fused.ingest(polygons(3_000), str(folder)).run_local()",
    "ingested, no bbox column": "fused.ingest(polygons(3_000), str(folder), write_covering_bbox=False).run_local()",
    "ingested, some without geometry": (
        "frame = polygons(3_000); frame.loc[:9, 'geometry'] = None; fused.ingest(frame, str(folder)).run_local()"
    ),
}


@pytest.fixture(scope="module", params=list(MAKERS))
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Written by the project's own environment: the client's may have an older pyarrow."""
    folder = tmp_path_factory.mktemp("table") / "shapes"
    program = f"{POLYGONS}\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n{MAKERS[request.param]}"
    maker = [str(ROOT / ".venv/bin/python"), "-W", "ignore", "-c", program, str(folder)]
    subprocess.run(maker, check=True, timeout=120, env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"})
    return str(folder)


def test_the_chunk_list(table: str) -> None:
    chunks = fused.get_chunks_metadata(table)
    assert len(chunks) >= 12 and chunks["num_rows"].sum() == 3_000
    assert {"file_id", "chunk_id", "bbox_minx", "bbox_maxy", "geometry"} <= set(chunks.columns)
    assert chunks.crs.to_epsg() == 4326


def test_every_chunk(table: str) -> None:
    rows = 0
    for chunk in fused.get_chunks_metadata(table).itertuples():
        frame = fused.get_chunk_from_table(table, chunk.file_id, chunk.chunk_id)
        assert len(frame) == chunk.num_rows
        bounds = frame.total_bounds
        if chunk.bbox_minx == chunk.bbox_minx:  # not NaN: it has geometry
            assert bounds[0] >= chunk.bbox_minx and bounds[3] <= chunk.bbox_maxy
        else:
            assert frame.geometry.isna().all()
        rows += len(frame)
    assert rows == 3_000


def test_named_columns(table: str) -> None:
    first = fused.get_chunks_metadata(table).iloc[0]
    frame = fused.get_chunk_from_table(table, first.file_id, first.chunk_id, columns=["id", "geometry"])
    assert {"id", "geometry"} <= set(frame.columns) and "height" not in frame.columns
    assert len(frame) == first.num_rows
