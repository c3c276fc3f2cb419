"""One input of 5,000 polygons, and a way to ingest and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow.parquet as pq
import pytest

import fused
from fused._ingest.result import IngestResult
from tests.ingest.data import polygons
from tests.object_store import ObjectStore


class Made:
    """A table that a test has made: where it is, what the ingest said, its rows."""

    def __init__(self, folder: Path, result: IngestResult) -> None:
        self.folder, self.result = folder, result

    @property
    def rows(self) -> gpd.GeoDataFrame:
        return gpd.read_parquet(self.folder)

    @property
    def chunks(self) -> gpd.GeoDataFrame:
        return fused.get_chunks_metadata(str(self.folder))

    def chunk_rows(self) -> list[gpd.GeoDataFrame]:
        """The rows of each chunk, in the order of the metadata."""
        chunks = self.chunks
        return [
            fused.get_chunk_from_table(str(self.folder), file, chunk)
            for file, chunk in zip(chunks.file_id, chunks.chunk_id, strict=True)
        ]

    def files(self) -> list[pq.ParquetFile]:
        return [pq.ParquetFile(path) for path in sorted(self.folder.glob("*.parquet"))]


Make = Callable[..., Made]


@pytest.fixture(scope="session")
def frame() -> gpd.GeoDataFrame:
    return polygons(5_000)


@pytest.fixture(scope="session")
def source(frame: gpd.GeoDataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "polygons.parquet"
    frame.to_parquet(path, row_group_size=1_500)
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server with the bucket ``bucket``."""
    started = ObjectStore(tmp_path_factory.mktemp("s3"))
    try:
        started.start()
        started.system().create_dir("bucket")
        yield started
    finally:
        started.stop()


@pytest.fixture
def make(source: Path, tmp_path: Path) -> Make:
    """Ingests ``input`` (the 5,000 polygons when None) into a new folder; keywords of ``run_local`` go there."""
    count = 0

    def run(input: Any = None, **options: Any) -> Made:
        nonlocal count
        count += 1
        folder = tmp_path / f"table{count}"
        own = ("threads", "row_memory", "memory_limit", "scratch_limit", "dry_run", "resume")
        settings = {key: options.pop(key) for key in own if key in options}
        result = fused.ingest(source if input is None else input, str(folder), **options).run_local(**settings)
        return Made(folder, result)

    return run


def same_rows(a: pd.DataFrame, b: pd.DataFrame, key: str = "id") -> None:
    """Rows, values and WKB bytes agree, in whatever order."""
    a, b = a.sort_values(key).reset_index(drop=True), b.sort_values(key).reset_index(drop=True)
    assert len(a) == len(b)
    geometry = b.geometry.name
    assert (a.geometry.to_wkb() == b.geometry.to_wkb()).all()
    columns = [name for name in b.columns if name != geometry]
    pd.testing.assert_frame_equal(
        pd.DataFrame(a[columns]), pd.DataFrame(b[columns]), check_dtype=False, check_column_type=False
    )
