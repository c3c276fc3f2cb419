"""OSM extracts, PostGIS's WKB, GeoArrow in GeoParquet, drivers that are off until they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

import fused
from fused._ingest.gdal import SKIPPED, drivers
from tests.ingest.conftest import Make, same_rows
from tests.ingest.osm import write_extract

pytestmark = pytest.mark.filterwarnings("ignore:Geometry is in a geographic CRS")


def test_osm_pbf_and_its_layers(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "extract.osm.pbf"
    write_extract(path)
    with pytest.raises(ValueError, match=r"layers \('points', 'lines', .*choose one with gdal_config"):
        make(path)
    points = make(path, gdal_config={"layer": "points"}).rows
    assert sorted(points.name) == ["one", "three", "two"]
    roads = make(path, gdal_config={"layer": "lines"}).rows
    assert list(roads.highway) == ["path"] and roads.geometry.iloc[0].geom_type == "LineString"
    houses = make(path, gdal_config={"layer": "multipolygons"}).rows
    assert list(houses.building) == ["yes"] and np.isclose(houses.geometry.iloc[0].area, 1e-6)


def ewkb(geometry: shapely.Geometry, srid: int, order: int = 1) -> bytes:
    return bytes(
        shapely.to_wkb(shapely.set_srid(geometry, srid), include_srid=True, flavor="extended", byte_order=order)
    )


def test_extended_wkb_becomes_iso(make: Make, tmp_path: Path) -> None:
    wkt = ["POINT Z (1 2 3)", "LINESTRING (0 0, 1 1)", "POLYGON Z ((0 0 1, 1 0 1, 1 1 1, 0 0 1))"]
    wkt += [
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
        "GEOMETRYCOLLECTION Z (POINT Z (1 1 1), LINESTRING Z (0 0 0, 1 1 1))",
    ]
    shapes = shapely.from_wkt(wkt)
    for order in (0, 1):
        values = [ewkb(each, 4326, order) for each in shapes]
        pq.write_table(pa.table({"id": range(5), "g": values}), tmp_path / "e.parquet")
        files = make(tmp_path / "e.parquet").files()
        written = pa.concat_tables([file.read(["id", "g"]) for file in files]).sort_by("id")["g"].to_pylist()
        assert written == list(shapely.to_wkb(shapes, flavor="iso", byte_order=order))
    pq.write_table(pa.table({"g": [ewkb(shapes[1], 4326), ewkb(shapes[1], 2056)]}), tmp_path / "s.parquet")
    with pytest.raises(ValueError, match=r"s\.parquet, row 1: the geometry says SRID 2056"):
        make(tmp_path / "s.parquet")


@pytest.mark.parametrize("kind", ["point", "linestring", "polygon"])
def test_geoarrow_in_geoparquet(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame, kind: str) -> None:
    shapes = {
        "point": frame.geometry.representative_point(),
        "linestring": frame.geometry.boundary,
        "polygon": frame.geometry,
    }[kind]
    part = frame.set_geometry(gpd.GeoSeries(shapes, crs=4326)).iloc[:500]
    part.to_parquet(tmp_path / "a.parquet", geometry_encoding="geoarrow", row_group_size=200)
    same_rows(part, make(tmp_path / "a.parquet").rows)


VRT = """<OGRVRTDataSource><OGRVRTLayer name="{name}"><SrcDataSource>{path}</SrcDataSource></OGRVRTLayer>
</OGRVRTDataSource>"""


def test_vrt_is_off_until_it_is_asked_for(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    frame.iloc[:50].to_file(tmp_path / "inner.gpkg")
    vrt = tmp_path / "a.vrt"
    vrt.write_text(VRT.format(name="inner", path=tmp_path / "inner.gpkg"))
    with pytest.raises(ValueError, match=r"VRT files name other files .*allow_drivers=\['VRT'\]"):
        make(vrt)
    result = fused.ingest(vrt, str(tmp_path / "out")).run_local(allow_drivers=["vrt"])
    assert result.rows == 50
    with pytest.raises(ValueError, match="allow_drivers names 'GeoJSON'; it is for what is off"):
        fused.ingest(vrt, str(tmp_path / "o2")).run_local(allow_drivers=["GeoJSON"])


@contextmanager
def web(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of a folder, and the requests it saw."""
    seen: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            seen.append(self.requestline)

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_the_network_is_off_until_it_is_asked_for(make: Make, tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    site = tmp_path / "site"
    site.mkdir()
    frame.iloc[:50].to_file(site / "a.geojson")
    frame.iloc[:5].to_file(tmp_path / "a.gml", driver="GML")
    with web(site) as (base, seen):
        with pytest.raises(ValueError, match=r"allow_drivers=\['HTTP'\]"):
            make(f"{base}/a.geojson")
        text = (tmp_path / "a.gml").read_text()
        schema = f"{base}/wfs?SERVICE=WFS&amp;VERSION=1.1.0&amp;REQUEST=DescribeFeatureType&amp;TYPENAME=a"
        (tmp_path / "a.xsd").unlink()
        (tmp_path / "a.gml").write_text(text.replace("a.xsd", schema, 1))
        make(tmp_path / "a.gml")
        wfs = f"<OGRWFSDataSource><URL>{base}/wfs?SERVICE=WFS</URL></OGRWFSDataSource>"
        (tmp_path / "w.xml").write_text(wfs)
        with pytest.raises(ValueError, match=r"w\.xml"):
            make(tmp_path / "w.xml")
        assert seen == []
        result = fused.ingest(f"{base}/a.geojson", str(tmp_path / "out")).run_local(allow_drivers=["HTTP"])
        assert result.rows == 50 and seen


def test_drivers_are_off_only_while_an_ingest_reads() -> None:
    before = pyogrio.list_drivers()
    with drivers(frozenset()):
        within = {name.upper() for name in pyogrio.list_drivers()}
        assert not within & {name.upper() for name in SKIPPED}
        assert {"GPKG", "FLATGEOBUF", "OSM"} <= within
    assert pyogrio.list_drivers() == before


def test_a_huge_polygon_is_divided_into_parts_that_are_it(make: Make) -> None:
    angle = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    radius = 20 + np.sin(angle * 4001)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    holes = [shapely.Point(x, 0).buffer(2).exterior for x in (-8, 0, 8)]
    huge = shapely.Polygon(ring, holes)
    frame = gpd.GeoDataFrame({"id": [0]}, geometry=[huge], crs=4326)
    made = make(frame, subdivide_method="area", subdivide_start=50, subdivide_stop=5)
    parts = made.rows.geometry
    assert len(parts) > 200 and parts.area.max() <= 5 and parts.is_valid.all()
    assert np.isclose(parts.area.sum(), huge.area, rtol=1e-9)
    assert shapely.symmetric_difference(shapely.union_all(parts.to_numpy()), huge).area < 1e-6
    raised = frame.set_geometry(shapely.force_3d([huge], 7.0))
    flat = make(raised.set_geometry(raised.geometry.simplify(0.05)), subdivide_method="area", subdivide_start=300)
    assert flat.rows.geometry.has_z.all()
