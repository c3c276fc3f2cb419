"""The pages of the server in a real browser: signing in by hand, and out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.flow.calls import headers_of
from tests.flow.test_maps import CHROMIUM, FLAGS


@pytest.fixture
def page() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="not tested: playwright is not installed (`make setup`)"
    )
    if not Path(CHROMIUM).exists():
        pytest.skip("not tested: Chromium is not installed (`make setup`)")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running.new_page()
        running.close()


def test_a_person_signs_in_with_a_token_and_out_again(server: Server, page: Any) -> None:
    problems: list[str] = []
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(server.base_url + "/")
    page.fill("#token", "not a token")
    page.click("text=Sign in >> nth=-1")
    assert "not a token of an owner or member" in page.inner_text(".problem")
    page.fill("#token", server.token)
    page.click("button")
    assert page.inner_text("h1") == "Functions"
    assert "owner@localhost" in page.inner_text("header")
    page.reload()
    assert page.inner_text("h1") == "Functions"
    page.click("text=Sign out")
    assert page.inner_text("h1") == "Sign in"
    assert problems == []


def test_a_function_of_the_page_opens_by_its_link_and_only_from_there(server: Server, page: Any) -> None:
    code = "@fused.udf\ndef udf(n: int = 1):\n    return {'doubled': 2 * n}\n"
    body = json.dumps({"name": "linked", "code": code, "parameters": {}, "headers": []})
    fields = {"slug": "linked", "udf_body": body, "udf_type": "auto"}
    saved = requests.post(server.base_url + "/server/v1/udf/new", json=fields, headers=headers_of(server), timeout=120)
    assert saved.status_code == 200, saved.text
    page.goto(server.base_url + "/")
    page.fill("#token", server.token)
    page.click("button")
    address = page.get_attribute("text=linked", "href")
    page.click("text=linked")
    assert json.loads(page.inner_text("body")) == {"doubled": 2}
    page.goto(server.base_url + "/")
    # A script of the page (its policy lets none ask), and an address typed in or followed from elsewhere, is nobody.
    asked = "address => fetch(address).then(reply => reply.status).catch(() => 'blocked')"
    assert page.evaluate(asked, address) == "blocked"
    assert page.goto(server.base_url + address).status == 401
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
    for site, mode in (("same-origin", "cors"), ("cross-site", "navigate"), ("none", "navigate")):
        told = {"Cookie": cookie, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": "document"}
        assert requests.get(server.base_url + address, headers=told, timeout=120).status_code == 401


def test_the_pages_say_nothing_on_the_console(server: Server, page: Any) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    for path in ("/", "/docs"):
        page.goto(server.base_url + path)
    assert said == []
