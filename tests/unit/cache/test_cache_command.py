"""``fused cache``: listing, checking and clearing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fused
from fused._cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(["cache", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def kept(cache_folder: Path) -> Path:
    """Two functions' entries, one of them expired."""

    @fused.cache(path="one")
    def numbers(x: int, kind: str = "a\x1b[31m") -> dict[str, int]:
        return {"x": x}

    @fused.cache(path="two", cache_max_age="1s")
    def table(x: Any) -> pd.DataFrame:
        return pd.DataFrame({"x": [1]})

    numbers(1)
    numbers(2)
    table(pd.DataFrame())
    return cache_folder


def test_info_counts_entries_and_bytes(run: Run, kept: Path) -> None:
    code, text, _ = run("info")
    assert code == 0 and text.startswith(f"{kept}: 3 entries, ")
    found = json.loads(run("info", "--json")[1])
    assert [(each["function"], each["entries"]) for each in found["functions"]] == [("one", 2), ("two", 1)]
    assert found["functions"][0]["bytes"] == sum(path.stat().st_size for path in (kept / "one").glob("data_*"))


def test_ls_and_show_say_what_entries_are_without_running_anything(run: Run, kept: Path) -> None:
    found = json.loads(run("ls", "--json")[1])
    assert [each["kind"] for each in found] == ["table", "json", "json"]
    assert found[0]["arguments"] == "DataFrame" and found[0]["max_age_s"] == 1
    assert found[2]["arguments"].startswith("1")
    text = run("ls", "one")[1]
    assert "numbers" in text and "table" not in text
    assert "1 more" in run("ls", "one", "-n", "1")[1]
    assert "\x1b" not in run("show", found[1]["name"])[1]
    code, _, error = run("show", "data_")
    assert code == 1 and "3 entries" in error


def test_clear_removes_what_was_named(run: Run, kept: Path) -> None:
    import time

    code, _, error = run("clear")
    assert code == 1 and "--all or --expired" in error
    code, _, error = run("clear", "three")
    assert code == 1 and "has no folder 'three'; it has one, two" in error
    deadline = time.monotonic() + 120
    while "removed 1" not in run("clear", "--expired")[1]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(list(kept.rglob("data_*"))) == 2
    assert run("clear", "one")[1].startswith("removed 2 entries")
    assert run("clear", "--all")[1].startswith("removed 0 entries")


def test_rm_removes_single_entries_and_none_when_a_name_is_wrong(run: Run, kept: Path) -> None:
    names = [each["name"] for each in json.loads(run("ls", "--json")[1])]
    code, _, said = run("rm", names[0], "data_zz")
    assert code == 1 and "no entry" in said and len(list(kept.rglob("data_*"))) == 3
    code, text, _ = run("rm", names[0][:20], names[1].removeprefix("data_"))
    assert code == 0 and text.startswith("removed 2 entries")
    assert [path.name for path in kept.rglob("data_*")] == [names[2]]


def test_verify_finds_damage_and_removes_it_when_asked(run: Run, kept: Path) -> None:
    assert run("verify")[:2] == (0, "3 good, 0 of others or with a damaged header, 0 damaged\n")
    path = next((kept / "one").glob("data_*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (kept / "two" / "data_x").write_text("nothing")
    code, text, _ = run("verify")
    assert code == 1 and "2 damaged" in text and str(path) in text
    assert run("verify", "--remove")[0] == 0
    assert not path.exists() and run("verify")[1].startswith("2 good")


def test_a_server_s_folder_is_named_by_its_data_folder(run: Run, tmp_path: Path) -> None:
    code, _, error = run("info", "--data", str(tmp_path))
    assert code == 1 and "holds no folder mount/" in error
    (tmp_path / "mount").mkdir()
    assert run("info", "--data", str(tmp_path))[1].endswith("0 entries, 0 B\n")
    assert run("ls", "--data", str(tmp_path))[1] == "nothing is kept yet\n"
