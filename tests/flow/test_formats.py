"""Every format that docs/reference/formats.md names can be asked for over HTTP, by extension and by ``format=``."""

from __future__ import annotations

import io
import json
import re

import pytest
import requests

from tests.conftest import ROOT, Server
from tests.flow.calls import headers_of

PAGE = (ROOT / "docs/reference/formats.md").read_text()
COLUMNS = [name.strip() for name in re.search(r"^\| value \|(.*)\|$", PAGE, re.M)[1].split("|")]  # type: ignore[index]
OTHER_NAMES = re.findall(r"`([a-z]+)`", re.search(r"^Other names:([^.]*)\.", PAGE, re.M)[1])  # type: ignore[index]
CODE = """
import fused
@fused.udf
def udf(kind: str = "nothing"):
    import pandas as pd
    return {"nothing": None, "number": 7, "table": pd.DataFrame({"n": [1, 2]})}[kind]
"""


@pytest.fixture(scope="module")
def saved(server: Server) -> str:
    body = {"slug": "all_formats", "udf_body": json.dumps({"name": "all_formats", "code": CODE}), "udf_type": "auto"}
    assert requests.post(server.api + "/udf/new", json=body, headers=headers_of(server), timeout=120).status_code == 200
    return f"{server.base_url}/api/v1/run/owner@localhost/all_formats"


def test_the_page_names_formats() -> None:
    assert len(COLUMNS) >= 19 and {"txt", "feather"} <= set(COLUMNS)
    assert {"ipc", "arrow", "jpg", "pbf"} <= set(OTHER_NAMES)


@pytest.mark.parametrize("name", [*COLUMNS, *OTHER_NAMES])
def test_each_can_be_asked_for_in_both_ways(server: Server, saved: str, name: str) -> None:
    tile = "/tiles/0/0/0" if name in ("mvt", "pbf") else ""
    for address in (f"{saved}{tile}.{name}", f"{saved}{tile}?format={name}", f"{saved}{tile}?format={name},json"):
        reply = requests.get(address, headers=headers_of(server), timeout=60)
        assert reply.status_code in (200, 204), (address, reply.text)


def test_the_bytes_are_of_the_format(server: Server, saved: str) -> None:
    import pyarrow.feather

    text = requests.get(f"{saved}.txt?kind=number", headers=headers_of(server), timeout=60)
    assert text.text.strip() == "7" and text.headers["content-type"].startswith("text/plain")
    table = requests.get(f"{saved}.ipc?kind=table", headers=headers_of(server), timeout=60)
    assert pyarrow.feather.read_table(io.BytesIO(table.content))["n"].to_pylist() == [1, 2]


def test_what_a_406_offers_can_be_asked_for(server: Server, saved: str) -> None:
    refused = requests.get(f"{saved}.png?kind=number", headers=headers_of(server), timeout=60)
    assert refused.status_code == 406
    possible = refused.json()["possible_formats"]
    assert possible
    for name in possible:
        reply = requests.get(f"{saved}.{name}?kind=number", headers=headers_of(server), timeout=60)
        assert reply.status_code == 200, (name, reply.text)
