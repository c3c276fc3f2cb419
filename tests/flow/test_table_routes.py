"""Tables through the real server: registered by name, read by sandboxed processes, drawn as vector tiles."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import mapbox_vector_tile
import numpy as np
import pyarrow.feather
import pytest
import requests
import shapely
import shapely.affinity

from tests.conftest import Server, start_server, stop_server
from tests.table.make_table import polygons, write_table
from tests.until import until

BOX = "7.5,46.5,8.5,47.5"


class Tables:
    """A server with one table in its mount, registered as `shapes`."""

    def __init__(self, server: Server, frame: gpd.GeoDataFrame, url: str) -> None:
        self.server, self.frame, self.url = server, frame, url

    def call(self, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.server.token}"}
        address = path if path.startswith("/server") else "/api/v1/table" + path
        return requests.request(method, self.server.base_url + address, headers=headers, timeout=60, **more)

    def get(self, path: str, **query: str) -> requests.Response:
        return self.call("GET", path, params=query)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    data = tmp_path_factory.mktemp("tables") / "data"
    server = start_server(data, workers=2)
    frame = write_table(polygons(4_000), data / "mount" / "shapes")
    made = Tables(server, frame, "/mount/shapes")
    reply = made.call("POST", "", json={"name": "shapes", "url": made.url})
    assert reply.status_code == 201, reply.text
    assert reply.json()["rows"] == 4_000
    yield made
    stop_server(server)


def within(tables: Tables) -> gpd.GeoDataFrame:
    return tables.frame[tables.frame.intersects(shapely.box(*map(float, BOX.split(","))))]


def test_a_table_is_listed_and_described(tables: Tables) -> None:
    assert [table["name"] for table in tables.get("").json()] == ["shapes"]
    about = tables.get("/shapes").json()
    assert about["chunks"] == 12 and about["files"] == 3 and about["url"] == "/mount/shapes"
    assert {"name": "height", "type": "double"} in about["columns"]


def test_rows_of_a_box_in_every_format(tables: Tables) -> None:
    wanted = list(within(tables)["id"])
    assert len(wanted) > 50
    reply = tables.get("/shapes/rows", bounds=BOX)
    assert reply.headers["content-type"] == "application/geo+json" and reply.headers["x-fused-rows"] == str(len(wanted))
    assert [feature["properties"]["id"] for feature in reply.json()["features"]] == wanted
    parquet = gpd.read_parquet(io.BytesIO(tables.get("/shapes/rows", bounds=BOX, format="parquet").content))
    assert list(parquet["id"]) == wanted
    arrow = pyarrow.feather.read_table(io.BytesIO(tables.get("/shapes/rows", bounds=BOX, format="arrow").content))
    assert arrow.column("id").to_pylist() == wanted
    rows = tables.get("/shapes/rows", bounds=BOX, format="json", columns="id,cls").json()
    assert [row["id"] for row in rows] == wanted and set(rows[0]) == {"id", "cls"}


def test_a_large_reply_travels_outside_the_socket(tables: Tables) -> None:
    reply = tables.get("/shapes/rows")
    assert reply.status_code == 200 and len(reply.content) > 300_000
    assert len(reply.json()["features"]) == 4_000


def test_conditions_and_limits(tables: Tables) -> None:
    where = json.dumps([["height", ">", 20], ["cls", "=", "shed"]])
    rows = tables.get("/shapes/rows", format="json", where=where, columns="id").json()
    assert [row["id"] for row in rows] == list(
        tables.frame[(tables.frame.height > 20) & (tables.frame.cls == "shed")]["id"]
    )
    assert len(tables.get("/shapes/rows", format="json", limit="7", columns="id").json()) == 7


@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("/nothing/rows", {}, 404, "no table 'nothing'"),
        ("/shapes/rows", {"bounds": "1,2,3"}, 400, "west,south,east,north"),
        ("/shapes/rows", {"bounds": "1,2,nan,4"}, 400, "west,south,east,north"),
        ("/shapes/rows", {"bounds": "1,5,2,4"}, 400, "south <= north"),
        ("/shapes/rows", {"columns": "hieght"}, 404, "no column 'hieght'"),
        ("/shapes/rows", {"where": "height>3"}, 400, "as JSON"),
        ("/shapes/rows", {"format": "shp"}, 406, "geojson, json, parquet or arrow"),
        ("/shapes/tiles/3/9/0", {}, 404, "tile"),
        ("/shapes/tiles/3/a/0", {}, 404, "whole number"),
    ],
)
def test_what_is_wrong_is_told(tables: Tables, path: str, query: dict[str, str], status: int, says: str) -> None:
    reply = tables.get(path, **query)
    assert reply.status_code == status, reply.text
    assert says in reply.json()["message"]


def tile_of(zoom: int, longitude: float, latitude: float) -> tuple[int, int, int]:
    import mercantile

    tile = mercantile.tile(longitude, latitude, zoom)
    return tile.z, tile.x, tile.y


def test_a_tile_holds_the_rows_of_its_box(tables: Tables) -> None:
    import mercantile

    z, x, y = tile_of(9, 8.0, 47.0)
    reply = tables.get(f"/shapes/tiles/{z}/{x}/{y}.mvt")
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert reply.headers["x-fused-tile"] == "rows"
    layers = mapbox_vector_tile.decode(reply.content)
    seen = {feature["properties"]["id"] for feature in layers["shapes"]["features"]}
    inner = shapely.box(*mercantile.bounds(x, y, z))
    wanted = set(tables.frame[tables.frame.intersects(inner)]["id"])
    assert len(wanted) > 10 and wanted <= seen


def test_a_tile_comes_from_memory_the_second_time(tables: Tables) -> None:
    path = "/shapes/tiles/{}/{}/{}".format(*tile_of(10, 8.1, 47.1))
    first, second = tables.get(path), tables.get(path)
    assert [first.headers["x-fused-cache"], second.headers["x-fused-cache"]] == ["miss", "hit"]
    assert first.content == second.content and first.headers["etag"] == second.headers["etag"]
    again = requests.get(
        tables.server.base_url + "/api/v1/table" + path,
        headers={"Authorization": f"Bearer {tables.server.token}", "If-None-Match": first.headers["etag"]},
        timeout=120,
    )
    assert again.status_code == 304


def test_an_empty_tile_is_204(tables: Tables) -> None:
    reply = tables.get("/shapes/tiles/{}/{}/{}".format(*tile_of(9, -100.0, -40.0)))
    assert reply.status_code == 204 and reply.content == b""


def test_tilejson_names_tiles_layers_and_bounds(tables: Tables) -> None:
    about = tables.get("/shapes/tilejson", columns="id").json()
    assert about["tiles"] == [f"{tables.server.base_url}/api/v1/table/shapes/tiles/{{z}}/{{x}}/{{y}}.mvt?columns=id"]
    assert [layer["id"] for layer in about["vector_layers"]] == ["shapes", "chunks"]
    assert about["bounds"][0] < 8 < about["bounds"][2]


def test_far_out_rows_are_thinned_and_without_boxes_the_chunks_are_shown(tables: Tables) -> None:
    folder = tables.server.data / "mount" / "many"
    frame = write_table(polygons(30_000, seed=4), folder, files=2, chunks=10)
    assert tables.call("POST", "", json={"name": "many", "url": "/mount/many"}).status_code == 201
    reply = tables.get("/many/tiles/4/8/5.mvt")
    assert reply.headers["x-fused-tile"] == "thinned"
    features = mapbox_vector_tile.decode(reply.content)["many"]["features"]
    assert 0 < len(features) < 20_000
    assert {feature["properties"]["id"] for feature in features} <= set(frame["id"])
    some = tables.get("/many/tiles/4/8/5.mvt", where=json.dumps([["id", "<", 10]]))
    assert {each["properties"]["id"] for each in mapbox_vector_tile.decode(some.content)["many"]["features"]} <= set(
        range(10)
    )
    assert tables.get("/many/tiles/{}/{}/{}".format(*tile_of(9, 8.0, 47.0))).headers["x-fused-tile"] == "rows"
    write_table(frame, folder, files=2, chunks=10, covering=False)
    time.sleep(2.1)  # the server believes a version for two seconds
    reply = tables.get("/many/tiles/0/0/0.mvt")
    assert reply.headers["x-fused-tile"] == "chunks"
    features = mapbox_vector_tile.decode(reply.content)["chunks"]["features"]
    assert sum(feature["properties"]["num_rows"] for feature in features) == 30_000
    assert tables.call("DELETE", "/many").status_code == 200


def coasts(count: int, seed: int) -> gpd.GeoDataFrame:
    """Ragged rings of 5 to 400 corners, from 100 m to 2° wide; some with a hole, every fifth in two parts."""
    random = np.random.default_rng(seed)

    def ring(x: float, y: float, width: float, corners: int) -> shapely.Polygon:
        angles = (np.arange(corners) + random.uniform(0, 0.8, corners)) * 2 * np.pi / corners
        radius = width * random.uniform(0.8, 1, corners)
        return shapely.Polygon(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1))

    shapes = []
    for i in range(count):
        x, y = random.uniform(0, 20), random.uniform(40, 55)
        width, corners = 10 ** random.uniform(-3, 0), int(random.integers(5, 400 if i % 40 == 0 else 30))
        shape = ring(x, y, width, corners)
        if i % 40 == 4:
            shape = shape.buffer(0).difference(ring(x, y, width / 4, 8).buffer(0))
        if i % 5 == 0:
            shape = shape.union(ring(x + 3 * width, y, width / 2, 9)) if shape.is_valid else shape.buffer(0)
        shapes.append(shape)
    return gpd.GeoDataFrame({"id": np.arange(count)}, geometry=shapes, crs=4326)


def test_thinned_tiles_hold_valid_polygons_that_are_where_they_were(tables: Tables) -> None:
    frame = write_table(coasts(24_000, seed=11), tables.server.data / "mount" / "coasts", files=2, chunks=10)
    assert tables.call("POST", "", json={"name": "coasts", "url": "/mount/coasts"}).status_code == 201
    true = frame.set_index("id").geometry.to_crs(3857)
    checked = 0
    for z, x, y in [(2, 2, 1), (4, 8, 5)]:
        reply = tables.get(f"/coasts/tiles/{z}/{x}/{y}.mvt")
        assert reply.headers["x-fused-tile"] == "thinned"
        layer = mapbox_vector_tile.decode(reply.content, default_options={"y_coord_down": True})["coasts"]
        world = 2 * np.pi * 6378137 / 2**z
        for feature in layer["features"][:1_000]:
            drawn = shapely.geometry.shape(feature["geometry"])
            assert drawn.is_valid and drawn.area > 0, shapely.is_valid_reason(drawn)
            there = shapely.affinity.affine_transform(
                true[feature["properties"]["id"]],
                [4096 / world, 0, 0, -4096 / world, (2 ** (z - 1) - x) * 4096, (2 ** (z - 1) - y) * 4096],
            )
            if there.area < 1 or not shapely.box(0, 0, 4096, 4096).covers(there):
                continue
            # A pixel is 16: what is larger strays by a quarter of one and rounding, what is smaller may be its hull.
            largest = max(getattr(there, "geoms", [there]), key=lambda part: part.area)
            west, north, east, south = largest.bounds
            most = 8 if max(east - west, south - north) > 40 else 34
            assert there.buffer(most).covers(drawn)
            # Teeth thinner than the grid fall away; the body stays.
            body = largest.buffer(-1)
            assert drawn.buffer(most).intersection(body).area >= 0.99 * body.area
            checked += 1
    assert checked > 1_000
    assert tables.call("DELETE", "/coasts").status_code == 200


def counted(tables: Tables, name: str) -> dict[str, float]:
    """The samples of a family of /metrics, by their label."""
    headers = {"Authorization": f"Bearer {tables.server.token}"}
    text = requests.get(f"{tables.server.base_url}/metrics", headers=headers, timeout=120).text
    lines = [line.rpartition(" ") for line in text.splitlines() if line.startswith(name + "{")]
    return {line.split('"')[1]: float(value) for line, _, value in lines}


def test_equal_tiles_that_are_asked_for_together_are_made_once(tables: Tables) -> None:
    folder = tables.server.data / "mount" / "herd"
    write_table(polygons(19_000, seed=6), folder)
    assert tables.call("POST", "", json={"name": "herd", "url": "/mount/herd"}).status_code == 201
    before = counted(tables, "fused_table_tiles_total")
    with ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda _: tables.get("/herd/tiles/4/8/5.mvt"), range(12)))
    assert len({reply.content for reply in replies}) == 1 and replies[0].status_code == 200
    after = counted(tables, "fused_table_tiles_total")
    assert after["made"] - before["made"] == 1
    assert after["joined"] + after["cached"] - before["joined"] - before["cached"] == 11
    reads = counted(tables, "fused_table_reads_total")
    assert tables.get("/herd/rows", bounds=BOX).status_code == 200
    assert counted(tables, "fused_table_reads_total")["ok"] == reads["ok"] + 1


def test_a_replaced_table_is_served_anew(tables: Tables) -> None:
    folder = tables.server.data / "mount" / "changing"
    write_table(polygons(300, seed=1), folder)
    tables.call("POST", "", json={"name": "changing", "url": "/mount/changing"})
    path = "/changing/tiles/{}/{}/{}".format(*tile_of(5, 8.0, 47.0))
    before = tables.get(path)
    write_table(polygons(200, seed=2), folder)
    assert len(tables.get("/changing/rows", format="json", columns="id").json()) == 200
    deadline = time.monotonic() + 120  # the server believes a version for two seconds
    while (after := tables.get(path)).content == before.content and time.monotonic() < deadline:
        time.sleep(0.2)
    assert after.content != before.content


def test_a_share_token_opens_one_table_for_reading(tables: Tables) -> None:
    made = tables.call("POST", "/shapes/share", json={}).json()
    shared = f"{tables.server.api}/realtime-shared/{made['token']}"
    rows = requests.get(f"{shared}/table/rows", params={"bounds": BOX}, timeout=120)
    assert len(rows.json()["features"]) == len(within(tables))
    about = requests.get(f"{shared}/table", timeout=120).json()
    assert about["rows"] == 4_000 and "url" not in about
    tile = requests.get(requests.get(f"{shared}/table/tilejson", timeout=120).json()["tiles"][0].format(z=0, x=0, y=0))
    assert tile.status_code == 200
    assert requests.get(f"{shared}/run", timeout=120).status_code == 404
    revoked = tables.call("DELETE", f"/server/v1/udf-access-token/by-token/{made['token']}")
    assert revoked.status_code == 200
    assert requests.get(f"{shared}/table/rows", timeout=120).status_code == 404


def test_a_share_token_for_the_team_asks_who_comes(tables: Tables) -> None:
    made = tables.call("POST", "/shapes/share", json={}).json()
    shared = f"{tables.server.api}/realtime-shared/{made['token']}/table/rows"
    narrowed = tables.call(
        "POST", f"/server/v1/udf-access-token/by-token/{made['token']}", json={"access_scope": "team"}
    )
    assert narrowed.status_code == 200
    assert requests.get(shared, params={"bounds": BOX}, timeout=120).status_code == 401
    assert tables.call("GET", shared.removeprefix(tables.server.base_url), params={"bounds": BOX}).status_code == 200


def test_registering_a_wrong_address_leaves_the_table_and_its_links(tables: Tables) -> None:
    made = tables.call("POST", "/shapes/share", json={}).json()
    wrong = tables.call("POST", "", json={"name": "shapes", "url": "/mount/nothing-here"})
    assert wrong.status_code >= 400 and "was not registered" in wrong.json()["message"]
    assert tables.get("/shapes").json()["url"] == tables.url
    assert requests.get(f"{tables.server.api}/realtime-shared/{made['token']}/table", timeout=120).status_code == 200


def test_a_condition_with_an_empty_alternative_is_refused(tables: Tables) -> None:
    refused = tables.get("/shapes/rows", where='[[["id",">",2]],[]]')
    assert refused.status_code == 400, refused.text


def test_without_a_token_there_are_no_tables(tables: Tables) -> None:
    for path in ("", "/shapes", "/shapes/rows", "/shapes/tiles/0/0/0", "/shapes/tilejson"):
        assert requests.get(f"{tables.server.base_url}/api/v1/table{path}", timeout=120).status_code == 401


def someone(tables: Tables, organisation: str | None = None) -> str:
    """The token of a new member of ours, or of the owner of a new organisation."""
    name = f"m{time.time_ns()}"
    body = {"email": f"{name}@example.org", "username": name}
    address = tables.server.base_url + "/api/v1/" + ("organisations" if organisation else "users")
    body |= {"name": organisation, "role": "owner"} if organisation else {"role": "member"}
    headers = {"Authorization": f"Bearer {tables.server.token}"}
    made = requests.post(address, headers=headers, json=body, timeout=120)
    assert made.status_code < 300, made.text
    return str((made.json()["owner"] if organisation else made.json())["token"])


def test_who_may_register_what(tables: Tables, tmp_path: Path) -> None:
    member = someone(tables)
    assert tables.call("GET", "/shapes", member).status_code == 200
    taken = tables.call("POST", "", member, json={"name": "shapes", "url": "/mount/shapes"})
    assert taken.status_code == 409
    assert tables.call("DELETE", "/shapes", member).status_code == 403
    outside = tmp_path / "outside"
    write_table(polygons(100), outside)
    refused = tables.call("POST", "", member, json={"name": "mine", "url": str(outside)})
    assert refused.status_code == 403 and "/mount" in refused.json()["message"]
    assert tables.call("POST", "", json={"name": "outer", "url": str(outside)}).status_code == 201
    assert len(tables.get("/outer/rows", format="json", columns="id").json()) == 100
    assert tables.call("POST", "", member, json={"name": "mine", "url": "/mount/shapes"}).status_code == 201
    assert tables.call("DELETE", "/mine", member).status_code == 200
    stranger = someone(tables, f"other{time.time_ns()}")
    assert tables.call("GET", "/shapes", stranger).status_code == 404
    assert tables.call("GET", "", stranger).json() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "url": "/mount/../token"}, 400),
        ({"name": "x", "url": "relative"}, 400),
        ({"name": "x", "url": "/mount/nothing"}, 404),
        ({"name": "x", "url": "http://example.org/t"}, 400),
        ({"name": "../x", "url": "/mount/shapes"}, 400),
        ({"name": "x"}, 400),
        ({"name": "x", "url": "/etc"}, 404),
    ],
)
def test_what_is_no_table_is_not_registered(tables: Tables, body: dict[str, str], status: int) -> None:
    reply = tables.call("POST", "", json=body)
    assert reply.status_code == status, reply.text
    assert "x" not in [table["name"] for table in tables.get("").json()]


def test_the_data_folder_cannot_be_registered(tables: Tables) -> None:
    for folder in (tables.server.data, tables.server.data / "mount"):
        reply = tables.call("POST", "", json={"name": "x", "url": str(folder)})
        assert reply.status_code == 400 and "data folder" in reply.json()["message"], reply.text


def readers_of(tables: Tables) -> list[int]:
    listed = subprocess.run(
        ["ps", "--ppid", str(tables.server.pid), "-o", "pid=,comm="], capture_output=True, text=True, check=True
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if line.split()[1].startswith("fused-table")]


def test_a_process_that_is_killed_is_replaced(tables: Tables) -> None:
    assert tables.get("/shapes/rows", format="json", limit="1").status_code == 200
    readers = readers_of(tables)
    assert readers
    for pid in readers:
        os.kill(pid, signal.SIGKILL)
    # Also where one that was idle is asked before its end can be seen.
    statuses = [tables.get("/shapes/rows", format="json", limit="1").status_code for _ in range(len(readers) + 1)]
    assert set(statuses) == {200}
    until(lambda: tables.get("/shapes/rows", format="json", limit="1").ok and not {*readers_of(tables)} & {*readers})


def test_a_broken_table_is_an_error_and_the_next_read_works(tables: Tables) -> None:
    folder = tables.server.data / "mount" / "broken"
    write_table(polygons(300), folder)
    assert tables.call("POST", "", json={"name": "broken", "url": "/mount/broken"}).status_code == 201
    data = (folder / "0.parquet").read_bytes()
    (folder / "0.parquet").write_bytes(data[: len(data) // 2])
    reply = tables.get("/broken/rows", format="json")
    assert reply.status_code == 422 and "0.parquet" in reply.json()["message"]
    (folder / "_sample").write_bytes(b"PAR1 no")
    assert tables.get("/broken/tiles/0/0/0").status_code == 422
    assert tables.get("/shapes/rows", format="json", limit="1").status_code == 200


def test_many_readers_at_once(tables: Tables) -> None:
    statuses: list[int] = []

    def ask(seed: int) -> None:
        for i in range(10):
            z, x, y = tile_of(8 + i % 3, 7 + seed * 0.3, 46.5 + i * 0.1)
            statuses.append(tables.get(f"/shapes/tiles/{z}/{x}/{y}", columns="id").status_code)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 80 and set(statuses) <= {200, 204}


def test_the_command(tables: Tables, tmp_path: Path) -> None:
    def fused(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fused", "table", *arguments]
        environment = tables.server.environment()
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)

    folder = tmp_path / "out"
    write_table(polygons(500), folder)
    assert "500 rows in 12 chunks of 3 files" in fused("info", str(folder)).stdout
    assert "sound; 500 rows" in fused("verify", str(folder)).stdout
    registered = fused("register", "by-command", str(folder), "--share")
    assert registered.returncode == 0, registered.stderr
    assert "realtime-shared" in registered.stdout
    assert "by-command" in fused("ls").stdout
    assert "500 rows" in fused("info", "by-command").stdout
    assert fused("rm", "by-command").returncode == 0
    assert "by-command" not in fused("ls").stdout
    data = (folder / "1.parquet").read_bytes()
    (folder / "1.parquet").write_bytes(data[:-100])
    broken = fused("verify", str(folder))
    assert broken.returncode == 1 and "file 1, chunk 0" in broken.stderr
