"""Which format is taken, and what travels beside the bytes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from support import CLIENT_LIST, TILE, environment, geo_table, png_bytes

from fused._worker.encode import NoFormat, NotSerialisable, ResultTooLarge, encode


def asked(value, *formats, **others):
    return encode(value, list(formats), format_from="query", **others)


def test_names_of_formats_may_be_written_in_other_ways():
    for name, expected in {
        "JPG": "jpeg",
        ".tif": "tiff",
        "Excel": "xlsx",
        "arrow": "feather",
        "geoparquet": "parquet",
    }.items():
        value = np.zeros((8, 8, 3), np.uint8) if expected in ("jpeg", "tiff") else pd.DataFrame({"a": [1]})
        assert asked(value, name).format == expected


def test_the_first_format_of_a_list_that_suits_is_taken():
    assert asked(geo_table(), "png", "geojson", "json").format == "geojson"
    assert asked(np.zeros((8, 8, 3), np.uint8), "geojson", "png").format == "png"
    assert asked(pd.DataFrame({"a": [1]}), "geojson", "csv").format == "csv"


def test_what_has_just_been_refused_is_not_offered():
    mixed = pd.DataFrame({"a": [1, "x", b"y"]})
    with pytest.raises(NoFormat) as refused:
        asked(mixed, "parquet")
    assert not {"parquet", "feather"} & set(refused.value.possible)
    assert "html" in refused.value.possible


def test_an_unknown_format_names_the_possible_ones():
    with pytest.raises(NoFormat) as refused:
        asked(pd.DataFrame({"a": [1]}), "docx")
    assert "docx" in str(refused.value)
    assert refused.value.possible == ["parquet", "json", "csv", "feather", "xlsx", "xml", "html"]


def test_a_client_on_asyncio_is_sent_neither_npy_nor_tiff_by_a_list():
    array = np.arange(6.0).reshape(2, 3)
    encoded = asked(array, *CLIENT_LIST, async_client=True)
    assert (encoded.format, json.loads(encoded.body)) == ("json", array.tolist())
    assert asked(array, "npy", async_client=True).format == "npy"


def test_what_a_format_would_lose_makes_a_list_prefer_another():
    pair = (np.zeros((3, 8, 8), np.uint8), [0.0, 1.0, 2.0, 3.0])
    assert asked(pair, "npy", "tiff").format == "tiff"
    assert asked(pair, "npy").format == "npy"


def test_a_column_that_does_not_fit_is_an_error_and_never_another_format():
    table = pd.DataFrame({"mixed": [1, "a", {"b": 2}]})
    with pytest.raises(NoFormat) as refused:
        asked(table, *CLIENT_LIST)
    assert "'mixed'" in str(refused.value)
    assert json.loads(asked(table, "json").body) == [{"mixed": 1}, {"mixed": "a"}, {"mixed": {"b": 2}}]


def test_the_older_client_gets_an_empty_body_and_a_note_for_what_it_cannot_read():
    encoded = encode(3, [], dtype_out={"vector": "parquet", "raster": "tiff"})
    assert (encoded.status, encoded.body) == (200, b"")
    assert "int" in encoded.note
    assert encode(3, [], dtype_out={"vector": "json", "raster": "tiff"}).body == b"3"
    assert encode(pd.DataFrame({"a": [1]}), [], dtype_out={"vector": ["geojson", "json"][1]}).format == "json"


def test_text_is_a_page_unless_json_was_asked():
    assert encode("<b>x</b>", CLIENT_LIST, format_from="default").body == b"<b>x</b>"
    assert asked("<b>x</b>", *CLIENT_LIST).body == b'"<b>x</b>"'
    assert asked("<b>x</b>", "json").content_type == "application/json"


def test_none_is_an_empty_body_and_null_where_json_alone_was_asked():
    assert asked(None, *CLIENT_LIST).body == b""
    assert asked(None, "png").body == b""
    assert asked(None, "json").body == b"null"


def test_a_table_with_geometry_on_a_tile_is_a_vector_tile_unless_asked_otherwise():
    assert encode(geo_table(), [], tile=TILE).format == "mvt"
    assert encode(geo_table(), []).format == "parquet"
    with pytest.raises(NoFormat) as refused:
        asked(geo_table(), "mvt")
    assert "tile" in str(refused.value)
    assert "mvt" not in refused.value.possible


def test_a_dict_of_results_is_an_archive_whose_members_say_what_they_are():
    value = {
        "table": geo_table(),
        "n": np.int64(3),
        "array": np.arange(4),
        "page": "<b>",
        "inner": {"x": pd.Series([1])},
        "raw": b"\0",
    }
    encoded = asked(value, *CLIENT_LIST)
    archive = zipfile.ZipFile(io.BytesIO(encoded.body))
    assert archive.testzip() is None
    files = json.loads(archive.read("meta.json"))["files"]
    assert {name: meta["content_type"] for name, meta in files.items()} == {
        "table": "application/octet-stream",
        "n": "application/json",
        "array": "application/x-numpy-data",
        "page": "application/json",
        "inner": "application/zip",
        "raw": "application/octet-stream",
    }
    assert gpd.read_parquet(io.BytesIO(archive.read("table"))).equals(geo_table())
    assert np.load(io.BytesIO(archive.read("array"))).tolist() == [0, 1, 2, 3]
    assert json.loads(archive.read("n")) == 3


def test_a_dict_that_contains_itself_is_refused():
    value = {"table": pd.DataFrame({"x": [1]})}
    value["self"] = value
    with pytest.raises(NotSerialisable, match="contains itself"):
        asked(value, *CLIENT_LIST)


def test_a_response_keeps_body_status_and_headers():
    from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse

    encoded = asked(HTMLResponse("<p>", status_code=418, headers={"X-Own": "1", "connection": "close"}), "png")
    assert (encoded.body, encoded.status, encoded.content_type) == (b"<p>", 418, "text/html; charset=utf-8")
    assert encoded.headers == {"x-own": "1"}
    assert encode(JSONResponse({"a": 1}), []).body == b'{"a":1}'
    assert encode(StreamingResponse(iter(["a", b"b"]), media_type="text/plain"), []).body == b"ab"


def test_a_response_is_known_by_its_shape_too():
    class Own:
        body, status_code, media_type, headers = b"x", 201, "text/own", None

    encoded = encode(Own(), CLIENT_LIST)
    assert (encoded.body, encoded.status, encoded.content_type) == (b"x", 201, "text/own")


def test_bytes_have_the_type_that_their_signature_tells():
    png = png_bytes()
    assert asked(png, *CLIENT_LIST).content_type == "image/png"
    assert asked(png, "jpeg").content_type == "image/jpeg"
    with pytest.raises(NoFormat):
        asked(png, "geojson")
    with pytest.raises(NoFormat):
        asked(png[:20], "jpeg")
    assert asked(b"my own tile", "mvt").content_type == "application/vnd.mapbox-vector-tile"
    assert asked(memoryview(b"abc"), *CLIENT_LIST).body == b"abc"


def test_a_picture_that_a_list_does_not_name_comes_as_one_that_it_does():
    jpeg = bytes(asked(np.zeros((8, 8, 3), np.uint8), "jpeg").body)
    encoded = asked(jpeg, *CLIENT_LIST)
    assert encoded.format == "npy"
    assert np.load(io.BytesIO(bytes(encoded.body))).shape == (8, 8, 3)


def test_a_text_result_beyond_the_limit_is_refused_before_it_is_whole():
    table = pd.DataFrame({"text": ["x" * 100] * 1000})
    for name in ("json", "csv"):
        with pytest.raises(ResultTooLarge, match="10000 bytes"):
            asked(table, name, bytes_max=10_000)
    points = gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)] * 1000)
    with pytest.raises(ResultTooLarge):
        asked(points, "geojson", bytes_max=10_000)


def test_rows_and_schema_are_told():
    encoded = asked(geo_table(), "parquet")
    assert (encoded.rows, encoded.schema) == (2, "id:int64 name:string geometry:geometry")
    assert asked(np.zeros((4, 5), np.uint8), "png").schema == "uint8[4, 5]"


def test_nothing_heavy_is_imported_to_encode_simple_values():
    code = (
        "import sys; from fused._worker.encode import encode; encode({'a': [1, {2}]}, ['json'], format_from='query');"
        "encode('x', []); encode(b'x', ['json']);"
        "heavy = ('pandas', 'geopandas', 'shapely', 'pyarrow', 'PIL', 'xarray', 'polars', 'matplotlib');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "[]"
