"""Who may include whom, how long files are, and what may not stand in the code (STYLE.md)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = [
    {"base"},
    {"geo", "storage", "sandbox"},
    {"auth", "functions", "cache", "worker", "result", "logs"},
    {"table"},
    {"run", "ingest"},
    {"tiles", "jobs", "batch"},
    {"http", "native", "reader"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def tracked(*patterns: str) -> list[Path]:
    out = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).exists()]


def test_rooms_include_only_downstairs() -> None:
    wrong = []
    for path in tracked("core/*.cpp", "core/*.hpp"):
        room = path.relative_to(ROOT / "core").parts[0]
        if room not in LEVEL:
            continue  # main.cpp and its siblings may see everything
        for other in re.findall(r'^#include "([a-z]+)/', path.read_text(), re.M):
            if other not in LEVEL or (other != room and LEVEL[other] >= LEVEL[room]):
                wrong.append(f"{path.relative_to(ROOT)} includes {other}/")
    # The endpoints of http/ hand out what the rooms hold; the result room's siblings do not know each other.
    assert not wrong, "\n".join(wrong)


def test_every_room_of_core_has_a_level() -> None:
    rooms = {path.relative_to(ROOT / "core").parts[0] for path in tracked("core/*/*")}
    assert rooms <= set(LEVEL), f"rooms without a place in the layers: {sorted(rooms - set(LEVEL))}"


def test_files_are_split_by_500_lines() -> None:
    paths = tracked("core/*.cpp", "core/*.hpp", "python/*.py", "tests/*.py", "tools/*", "bench/*.py", "web/*.ts")
    long = {
        str(path.relative_to(ROOT)): n for path in paths if (n := len(path.read_text().splitlines())) > FILE_LINES_MAX
    }
    assert not long, f"files over {FILE_LINES_MAX} lines: {long}"


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX:", 'std::cerr << "debug', "breakpoint()", "import pdb"])
def test_no_leftovers(word: str) -> None:
    paths = tracked("core/*", "python/*", "tools/*", "examples/*")
    found = [str(path.relative_to(ROOT)) for path in paths if word in path.read_text(errors="replace")]
    assert not found, f"{word} stands in {found}"


def test_every_setting_is_documented() -> None:
    source = (ROOT / "core/main_settings.cpp").read_text()
    flags = set(re.findall(r'"(--[a-z0-9-]+)', source)) - {"--print-routes", "--no-network"}
    documented = (ROOT / "docs/reference/settings.md").read_text()
    missing = sorted(flag for flag in flags if flag not in documented)
    assert not missing, f"docs/reference/settings.md does not name {missing}"
