"""A shared tile function on a map: the built-in preview, and a page of another origin; in a real browser."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import shapely.geometry

from tests.conftest import ROOT, Server
from tests.flow.calls import headers_of

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
POINTS = """
import fused

@fused.udf
def udf(bounds: fused.types.Bounds = None):
    import geopandas as gpd
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    return gpd.GeoDataFrame({"name": ["middle"]}, geometry=gpd.points_from_xy([x], [y]), crs=4326)
"""


@pytest.fixture(scope="module")
def shared(server: Server) -> str:
    body = {"slug": "map_points", "udf_body": json.dumps({"name": "map_points", "code": POINTS}), "udf_type": "auto"}
    record = requests.post(server.api + "/udf/new", json=body, headers=headers_of(server), timeout=120).json()
    reply = requests.post(
        server.api + "/udf-access-token/new", json={"udf_id": record["id"]}, headers=headers_of(server), timeout=120
    )
    return f"{server.api}/realtime-shared/{reply.json()['token']}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="not tested: playwright is not installed (`make setup`)"
    )
    if not Path(CHROMIUM).exists():
        pytest.skip("not tested: Chromium is not installed (`make setup`)")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def test_tilejson_names_the_tiles_and_passes_the_parameters_on(shared: str) -> None:
    tilejson = requests.get(
        f"{shared}/tilejson.json?format=mvt&n=3", headers={"Origin": "http://elsewhere.example"}, timeout=120
    )
    assert tilejson.headers["access-control-allow-origin"] == "*"
    (tiles,) = tilejson.json()["tiles"]
    assert tiles.startswith(shared) and tiles.endswith("/run/tiles/{z}/{x}/{y}?format=mvt&n=3")
    assert tilejson.json()["vector_layers"][0]["id"] == "udf"
    assert requests.get(tiles.format(z=1, x=0, y=0), timeout=120).content


def test_the_preview_map_draws_the_tiles(shared: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 700, "height": 500})
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(f"{shared}/map?format=mvt")
    page.wait_for_function("window.previewMap?.queryRenderedFeatures({layers: ['point']}).length > 0", timeout=60_000)
    assert page.evaluate("window.previewMap.queryRenderedFeatures({layers: ['point']})[0].properties.name") == "middle"
    origin = shared.split("/server/")[0]
    assert all(url.startswith((origin, "blob:", "data:")) for url in seen), [
        url for url in seen if not url.startswith(origin)
    ]
    page.close()


def test_a_page_of_another_origin_draws_the_tiles(shared: str, browser: Any, tmp_path: Path) -> None:
    for name in ("maplibre-gl.mjs", "maplibre-gl-shared.mjs", "maplibre-gl-worker.mjs"):
        shutil.copy(ROOT / "python/fused/web" / name, tmp_path)
    style = {
        "version": 8,
        "sources": {"t": {"type": "vector", "url": f"{shared}/tilejson.json"}},
        "layers": [{"id": "p", "type": "circle", "source": "t", "source-layer": "udf"}],
    }
    (tmp_path / "index.html").write_text(
        "<body><div id='map' style='height:400px'></div><script type='module'>import * as m from './maplibre-gl.mjs';"
        f"window.map = new m.Map({{container: 'map', style: {json.dumps(style)}, center: [0, 0], zoom: 1}});</script>"
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{other.server_port}/index.html")
        page.wait_for_function(
            "window.map?.getLayer('p') && window.map.queryRenderedFeatures({layers: ['p']}).length > 0", timeout=60_000
        )
        page.close()
        other.shutdown()


def test_the_coast_lines_are_cut_for_a_flat_map(shared: str) -> None:
    (land,) = requests.get(f"{shared}/map/land.json", timeout=120).json()["features"]
    whole = shapely.geometry.shape(land["geometry"])
    assert whole.is_valid
    assert whole.bounds[0] >= -180 and whole.bounds[2] <= 180
    for place, lon, lat in (("Kansas", -98, 38), ("Moscow", 37, 55), ("Chukotka", -172, 66), ("the pole", 0, -89)):
        assert whole.contains(shapely.Point(lon, lat)), place
    for place, lon, lat in (("the Atlantic", -40, 35), ("the Pacific", -150, 0), ("the Caspian Sea", 51, 42)):
        assert not whole.contains(shapely.Point(lon, lat)), place
