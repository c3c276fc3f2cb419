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

DOCS = Path(fused.__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python( server)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted((DOCS / "tutorial").glob("*.md"))]
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


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
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
