"""Where entries lie, and folders that cannot be used: functions run all the same, and it is said once."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fused
from fused._cache import entry, place
from fused._cache.errors import CacheWarning


def work(x: int) -> int:
    return x


def test_an_entry_is_one_file_with_the_seed_s_name(cache_folder: Path) -> None:
    fused.cache(work)(1)
    (path,) = cache_folder.glob("*/data_*")
    assert path.parent.name == __name__
    assert re.fullmatch("data_[0-9a-f]{64}", path.name)
    assert path.is_file() and path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes()[:8] == b"FUSEDCE2"


@pytest.mark.parametrize(
    ("path", "folder"), [("mine", "mine"), ("a/b", "a/b"), ("/data/x/", "data/x"), ("./a//b/.", "a/b"), ("ä b", "ä b")]
)
def test_path_takes_the_place_of_the_function_s_folder(path: str, folder: str, cache_folder: Path) -> None:
    fused.cache(work, path=path)(1)
    assert [each.parent for each in cache_folder.rglob("data_*")] == [cache_folder / folder]


def test_the_seed_s_example_below_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    monkeypatch.setattr(place, "mount", lambda: tmp_path / "mount")
    (tmp_path / "mount").mkdir()
    fused.cache(path="/mount/custom_path/", reset=True)(work)(1)
    assert len(list((tmp_path / "mount" / "custom_path").glob("data_*"))) == 1
    monkeypatch.setattr(place, "mount", lambda: None)
    fused.cache(path="/mount/custom_path/")(work)(2)
    assert len(list((cache_folder / "mount" / "custom_path").glob("data_*"))) == 1, "where there is no /mount"


def test_the_folder_is_the_option_s_else_the_variable_s_else_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused.options.cache_directory = tmp_path / "option"
    assert place.base() == tmp_path / "option"
    fused.options.cache_directory = None
    assert place.base() == tmp_path / "cache"
    monkeypatch.delenv("FUSED_CACHE_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    assert place.base() == tmp_path / "temporary" / "fused" / "cached_data"
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", None)
    assert str(place.base()) in ("/tmp/fused/cached_data", f"/tmp/fused-{os.getuid()}/cached_data")


def test_the_temporary_folder_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSED_CACHE_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cached = fused.cache(work)
    cached(1)
    folder = tmp_path / "fused" / "cached_data"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    place._ready.clear()
    cached(2)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_storage_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    monkeypatch.setattr(place, "mount", lambda: tmp_path / "mount")
    (tmp_path / "mount").mkdir()
    fused.cache(work, storage="mount")(1)
    assert len(list((tmp_path / "mount" / "fused-system" / "cached_data" / __name__).glob("data_*"))) == 1
    fused.cache(work, storage="local", path="/mount/x")(2)
    assert len(list((cache_folder / "mount" / "x").glob("data_*"))) == 1
    monkeypatch.setattr(place, "mount", lambda: None)
    with pytest.warns(CacheWarning, match="there is no /mount here"):
        assert fused.cache(work, storage="mount")(3) == 3


def in_spite_of(says: str) -> None:
    """Computes each time, warns once, raises nothing."""
    calls = []

    @fused.cache
    def counted(x: int) -> int:
        calls.append(x)
        return x

    with pytest.warns(CacheWarning, match=says) as said:
        assert (counted(1), counted(1), counted(2)) == (1, 1, 2)
    assert calls == [1, 1, 2]
    assert len(said) == 1
    assert "results are computed but not kept" in str(said[0].message) and "FUSED_CACHE_DIR" in str(said[0].message)


def test_a_cache_folder_that_is_a_file(cache_folder: Path) -> None:
    cache_folder.write_text("x")
    in_spite_of("Not a directory|File exists")
    assert cache_folder.read_text() == "x"


def test_a_function_s_folder_that_is_a_file_or_a_link_out(cache_folder: Path, tmp_path: Path) -> None:
    cache_folder.mkdir()
    (cache_folder / __name__).write_text("x")
    in_spite_of("Not a directory|no folder")
    (cache_folder / __name__).unlink()
    (tmp_path / "elsewhere").mkdir()
    (cache_folder / __name__).symlink_to(tmp_path / "elsewhere")
    from fused._cache import errors

    errors.forget_said()
    place._ready.clear()
    in_spite_of("is a link")
    assert list((tmp_path / "elsewhere").iterdir()) == []


AS_USER = """
import os, sys, warnings
import fused
warnings.simplefilter("always")
def counted(x):
    print("computed", flush=True)
    return x
os.environ["FUSED_CACHE_DIR"] = os.environ["WARM"]
fused.cache(lambda: 1)()  # whatever is imported lazily: the Python environment may lie where only root can read
os.environ["FUSED_CACHE_DIR"], os.environ["FUSED_HOME"] = os.environ["FOLDER"], os.environ["THEIRS"]
user = int(sys.argv[1])
os.setgid(user); os.setuid(user)
counted = fused.cache(counted, path="shared")
counted(1); counted(1)
"""


def run_as(user: int, folder: Path, home: Path, tmp_path: Path) -> str:
    """What a script printed that has become another user: as root permissions do not bind."""
    if os.getuid() != 0:
        pytest.skip("not tested: a second user needs root to be had")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    environment = {"FOLDER": str(folder), "THEIRS": str(home), "WARM": str(tmp_path / f"warm {user}")}
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(user)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_cache_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "read only"
    folder.mkdir(mode=0o755)
    said = run_as(65534, folder, tmp_path / "home of nobody", tmp_path)
    assert said.count("computed\n") == 2
    assert said.count("results are computed but not kept") == 1 and "Permission denied" in said
    assert list(folder.iterdir()) == []


def test_a_cache_folder_on_a_full_disk(tmp_path: Path) -> None:
    """A file system of 256 KiB, in a mount namespace of the test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    code = """
import fused, warnings, os
warnings.simplefilter("always")
@fused.cache(path="x")
def big(n):
    print("computed", n)
    return bytes(n)
big(100_000); big(100_000)
big(1_000_000); big(1_000_000)
big(50_000); big(50_000)
names = sorted(os.listdir(os.environ["FUSED_CACHE_DIR"] + "/x"))
print(names[0][:5], len([name for name in names if name.startswith("data_")]))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=256k tmpfs {folder} && exec {sys.executable} {script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"not tested: a full disk, because file systems may not be mounted here: {done.stderr.strip()}")
    assert done.stdout.splitlines() == [
        "computed 100000", "computed 1000000", "computed 1000000", "computed 50000", ".lock 2",
    ], done.stderr  # fmt: skip
    assert done.stderr.count("No space left on device") == 1


def test_two_users_of_one_folder_have_entries_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    for each in (folder, folder / "shared"):
        each.mkdir()
        each.chmod(0o777)
    for user in (65534, 0, 65533):
        home = tmp_path / f"home of {user}"
        home.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(home, user, user)
        assert run_as(user, folder, home, tmp_path) == "computed\n"
    assert len({path.stat().st_uid for path in (folder / "shared").glob("data_*")}) == 3


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, bool], None]:
    """Sets the clock; ``boot`` says that the machine was started anew meanwhile."""

    def set_clock(seconds: float, boot: bool) -> None:
        import time

        monkeypatch.setattr(entry.clocks, "wall_ns", lambda: time.time_ns() + int(seconds * 1e9))
        if boot:
            monkeypatch.setattr(entry.clocks, "boot_id", os.urandom(16))

    return set_clock


@pytest.mark.parametrize(
    ("seconds", "boot", "kept"),
    [
        (-3600, False, True), (-3600, True, True), (365 * 86400, False, True), (-365 * 86400, False, True),
        (365 * 86400, True, False), (-365 * 86400, True, False), (11 * 3600, True, True), (13 * 3600, True, False),
    ],
)  # fmt: skip
def test_a_clock_that_is_set_makes_no_entry_older_or_younger_than_it_is(
    seconds: float, boot: bool, kept: bool, shift: Callable[[float, bool], None]
) -> None:
    calls: list[Any] = []

    @fused.cache(cache_max_age="12h")
    def counted() -> int:
        calls.append(1)
        return 1

    counted()
    shift(seconds, boot)
    counted()
    assert len(calls) == (1 if kept else 2)
    counted()
    assert len(calls) == (1 if kept else 2), "what was computed under the new clock is kept"


def test_importing_fused_does_not_import_the_cache() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, fused; print('blake3' in sys.modules, 'fused._cache' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, fused\n@fused.cache\ndef f(): return 1\nf()\nf()\n"
            "print([m for m in ('numpy', 'pandas', 'pyarrow', 'asyncio', 'requests') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]", "a plain function needs none of them"


def test_without_the_native_part_functions_run_and_it_is_said_once() -> None:
    code = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "fused._native":
            raise ImportError("hidden")
sys.meta_path.insert(0, Hide())
import asyncio, warnings, fused
calls = []
@fused.cache
def work(x):
    calls.append(x)
    return x
@fused.cache(cache_max_age="1h")
async def other(x):
    return x
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(work(1), work(1, reset=True), asyncio.run(other(2)), calls, len(said))
print(said[0].message)
from fused._cli import main
print(main(["cache", "ls"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, message, code_of_command = done.stdout.splitlines()
    assert first == "1 1 2 [1, 1] 1"
    assert "not kept: this installation has no fused._native" in message
    assert code_of_command == "1" and "entries are read by fused._native" in done.stderr
