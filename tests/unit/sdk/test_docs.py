"""The tutorial's samples run as they are printed: `python` blocks here, `python server` blocks on the real server."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._options import OPTIONS

DOCS = Path(fused.__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python( server)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted((DOCS / "tutorial").glob("*.md")) if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_sample_of_the_tutorial_runs(
    page: Path, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text())
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    for number, (needs_server, code) in enumerate(blocks):
        if needs_server:
            fused.options.base_url, fused.options.auth_token = server.base_url, server.token
        filename = f"<ipython-input-{page.stem}-{number}>"
        linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        exec(compile(code, filename, "exec"), namespace)


def test_the_reference_names_every_option_and_error() -> None:
    text = (DOCS / "reference" / "sdk.md").read_text()
    for name in OPTIONS:
        short = name.replace("default_dtype_out", "")
        assert f"`{name}`" in text or f"`{short}`" in text, name
    for name in dir(fused.errors):
        if isinstance(getattr(fused.errors, name), type) and issubclass(getattr(fused.errors, name), Exception):
            assert name in text
