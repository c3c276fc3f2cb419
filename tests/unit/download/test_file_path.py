"""``fused.file_path``: the seed's table, and nothing outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import fused
from fused import _file_path
from fused._cache import place


class Run:
    """Stands for a run in a worker, where the real one is not at hand (tests/flow has it)."""

    def __init__(self, **values: Any) -> None:
        self.values = values


def test_here_the_folder_is_tmp_fused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fused.file_path("hello") == f"{root}/hello"
    assert (root / "hello").is_dir()
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", None)
    assert fused.file_path("hello", mkdir=False) in ("/tmp/fused/hello", f"/tmp/fused-{os.getuid()}/hello")


def test_in_a_function_run_locally_it_is_the_same(root: Path) -> None:
    @fused.udf
    def see_file_path() -> str:
        return fused.file_path("do_not_create", False)

    assert fused.run(see_file_path, engine="local") == f"{root}/do_not_create"
    assert not (root / "do_not_create").exists()


def test_on_a_server_it_is_mount_and_in_a_job_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "mount", lambda: tmp_path / "mount")
    monkeypatch.setattr("fused.context.get_global_context", lambda: Run())
    assert fused.file_path("testing") == f"{tmp_path}/mount/testing"
    monkeypatch.setattr("fused.context.get_global_context", lambda: Run(batch=True, job_folder=str(tmp_path / "data")))
    assert fused.file_path("where_am_i") == f"{tmp_path}/data/where_am_i"
    assert fused.file_path("x", storage="mount") == f"{tmp_path}/mount/x"
    assert fused.file_path("x", storage="local") == f"{tmp_path}/fused/x"
    monkeypatch.setattr(place, "mount", lambda: None)
    with pytest.raises(ValueError, match="no /mount here"):
        fused.file_path("x", storage="mount")


def test_of_a_file_the_folder_above_it_is_made(root: Path) -> None:
    assert fused.file_path("a/b/towns.csv") == f"{root}/a/b/towns.csv"
    assert (root / "a" / "b").is_dir() and not (root / "a" / "b" / "towns.csv").exists()
    assert fused.file_path("a/b") == f"{root}/a/b"
    assert fused.file_path("") == fused.file_path(".") == str(root)


def test_the_folder_is_its_owner_s(root: Path) -> None:
    fused.file_path("x")
    assert root.stat().st_mode & 0o777 == 0o700


def test_an_absolute_path_below_the_folder_is_taken_as_it_is(root: Path) -> None:
    assert fused.file_path(f"{root}/a/b") == f"{root}/a/b"
    assert (root / "a" / "b").is_dir()


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "a/..", "/etc/passwd", "/", "/tmp", "/tmp/fused-evil/x", "//etc", "a\0b", "..", "/mount/x"],
)
def test_what_leads_out_is_refused(path: str, root: Path) -> None:
    with pytest.raises(ValueError, match=r"leads out|not below|NUL"):
        fused.file_path(path)


def test_links_out_are_refused_and_links_within_are_not(root: Path, tmp_path: Path) -> None:
    (root / "real").mkdir(parents=True)
    (root / "inside").symlink_to("real")
    (root / "out").symlink_to(tmp_path)
    (root / "etc").symlink_to("/etc/passwd")
    assert fused.file_path("inside/x") == f"{root}/inside/x"
    for path in ("out", "out/x", "etc", f"{root}/out/x"):
        with pytest.raises(ValueError, match="by a link"):
            fused.file_path(path)


def test_other_mistakes_are_said(root: Path) -> None:
    (root / "a").parent.mkdir(parents=True)
    (root / "a").write_text("")
    with pytest.raises(FileExistsError, match="is no folder"):
        fused.file_path("a")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        fused.file_path("a/b")
    with pytest.raises(TypeError, match="file_path is a text"):
        fused.file_path(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'auto', 'mount' or 'local'"):
        fused.file_path("a", storage="cloud")
    assert _file_path.root() == root


def test_where_the_folder_belongs_to_somebody_else_there_is_one_of_one_s_own(root: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("not tested: a folder of another user needs root to be made")
    root.mkdir()
    os.chown(root, 65534, 65534)
    assert fused.file_path("x") == f"{root}-0/x"
