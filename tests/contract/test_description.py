"""Router and description agree in both directions, and the page at /docs shows the description as it is."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import openapi_spec_validator

from tests.conftest import ROOT
from tests.contract.conftest import METHODS, described_rows, server_rows


def test_the_description_is_openapi(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)


def test_every_route_is_described_and_every_description_has_a_route(document: dict[str, Any]) -> None:
    routes, described = set(server_rows()), described_rows(document)
    assert not routes - described, f"not in api/openapi.yaml: {sorted(map(repr, routes - described))}"
    assert not described - routes, f"not in the router: {sorted(map(repr, described - routes))}"


def test_operations_are_named_once(document: dict[str, Any]) -> None:
    names = [row.operation for row in server_rows()]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_every_value_in_a_path_is_described(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        named = {reference["$ref"].rsplit("/", 1)[1] for reference in item.get("parameters", [])}
        assert named == set(re.findall(r"{(\w+)}", path)), path


def test_what_needs_no_token_says_so(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                free = item[method]["x-access"] in ("open", "share_path")
                assert free == ("security" in item[method]), f"{method} {path}"


def test_the_page_at_docs_is_made_from_the_description(document: dict[str, Any]) -> None:
    spec = importlib.util.spec_from_file_location("render_docs", ROOT / "web" / "render_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.render(document)
    assert (ROOT / "web" / "docs.html").read_text() == made, "run web/render_docs.py"
    assert "<script" not in made and "http://" not in made and "https://" not in made


def test_the_pages_load_nothing_from_elsewhere() -> None:
    for name in ("index.html", "sign_in.html", "docs.html"):
        page = (ROOT / "web" / name).read_text()
        assert not re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?:https?:)?//', page), name
