"""One table in four shapes: what the file knows of its pages must not change what is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import pytest

from tests.table.make_table import polygons, write_table

SHAPES = {
    "pages": {},
    "no page index": {"page_rows": None},
    "pages that do not align": {"page_rows": None, "page_bytes": 1_500},
    "no covering": {"covering": False},
}


class Made(NamedTuple):
    url: str
    frame: gpd.GeoDataFrame  # its rows in their order


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("table") / "plain"
    return Made(str(folder), write_table(polygons(4_000), folder))


@pytest.fixture(scope="session", params=list(SHAPES))
def any_shape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = Path(tmp_path_factory.mktemp("table")) / "shape"
    return Made(str(folder), write_table(polygons(4_000), folder, **SHAPES[request.param]))
