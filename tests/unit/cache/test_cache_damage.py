"""Entries that were cut, changed, planted or copied are misses: never a wrong value, and nothing of them runs."""

from __future__ import annotations

import os
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fused
from fused._cache import entry, errors, secret, store, values
from fused._cache.entry import HEAD_BYTES
from tests.unit.cache.conftest import forget_memory

MARKER = "FUSED_TEST_MARKER"
AGE_S = 10**9  # no entry may be a miss because the machine is slow
WHOLE = bool(os.environ.get("FUSED_TEST_LONG"))  # `make test-long`: 100 entries; else a tenth


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where code of a damaged entry would leave a trace."""
    marker = tmp_path / "marker"
    monkeypatch.setenv(MARKER, str(marker))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.CacheWarning)
        yield marker
    assert not marker.exists(), "code of an entry ran"


class Runs:
    """Unpickling one leaves a file."""

    def __reduce__(self) -> Any:
        return (os.system, (f'touch "${MARKER}"',))


class Looked:
    """Finds one entry as a call would."""

    def __init__(self, folder: Path, value: Any) -> None:
        self.folder, self.value = folder, value
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key, self.keys = os.urandom(32), secret.keys()
        self.name = self.key.hex()
        self.path = folder / f"data_{self.name}"
        store.put(folder, self.name, self.key, self.keys, values.encode(value), {"function": "f"}, AGE_S, 1)
        self.content = self.path.read_bytes()

    def find(self) -> store.Found | None:
        forget_memory()
        return store.find(str(self.folder), self.name, self.key, self.keys, AGE_S, None)

    def with_content(self, content: bytes) -> None:
        """Nothing, or the right value."""
        self.path.write_bytes(content)
        found = self.find()
        assert found is None or repr(found.value) == repr(self.value)
        if content != self.content:
            assert found is None and not self.path.exists(), "it was put aside"

    def restore(self) -> None:
        self.path.write_bytes(self.content)
        assert repr(self.find().value) == repr(self.value)  # type: ignore[union-attr]


def samples(number: int) -> Iterator[Any]:
    chance = random.Random(4)
    for at in range(number):
        yield (
            {"n": at}, (at, "a"), np.arange(at + 2), pd.DataFrame({"x": [at], "s": ["a"]}), os.urandom(20), "text" * at,
            {at, "a"}, pd.Series([at]), [None, chance.random()], np.array([{"a": at}], object),
        )[at % 10]  # fmt: skip


@pytest.mark.parametrize("at", range(100 if WHOLE else 10))
def test_an_entry_cut_at_every_length_and_with_every_bit_of_its_header_flipped_is_a_miss(
    at: int, tmp_path: Path
) -> None:
    looked = Looked(tmp_path / "folder", list(samples(at + 1))[-1])
    assert len(looked.content) > HEAD_BYTES
    for length in range(len(looked.content)):
        looked.with_content(looked.content[:length])
    for bit in range(HEAD_BYTES * 8):
        changed = bytearray(looked.content)
        changed[bit // 8] ^= 1 << bit % 8
        looked.with_content(bytes(changed))
    for position in range(HEAD_BYTES, len(looked.content)):
        changed = bytearray(looked.content)
        changed[position] ^= 1 << position % 8
        looked.with_content(bytes(changed))
    looked.with_content(looked.content + b"\0")
    looked.with_content(b"")
    looked.restore()


def test_a_mapped_entry_that_changes_after_it_was_checked_is_checked_again(tmp_path: Path) -> None:
    looked = Looked(tmp_path, np.arange(200_000))
    while not entry.state_of(looked.path).is_settled:
        time.sleep(0.01)
    assert not entry.is_verified(looked.path)
    assert looked.find() is not None
    assert entry.is_verified(looked.path)
    with looked.path.open("r+b") as file:
        file.seek(HEAD_BYTES + 100_000)
        file.write(b"\xff")
    assert not entry.is_verified(looked.path)
    assert looked.find() is None


def test_a_planted_pickle_does_not_run(tmp_path: Path) -> None:
    looked = Looked(tmp_path, (1, 2))
    planted = b"".join(map(bytes, values._pickled(Runs()).parts))
    seen = entry.look(looked.path)
    assert seen is not None
    # A body of the attacker's behind the true header; and a whole entry made with a key of the attacker's.
    looked.with_content(looked.content[: seen.head.body_offset] + planted)
    theirs = secret.Keys(os.urandom(32))
    store.put(looked.folder, looked.name, looked.key, theirs, values._pickled(Runs()), {}, AGE_S, 1)
    assert looked.find() is None
    looked.with_content(planted)
    looked.with_content(pickle.dumps(Runs()))
    looked.restore()


def test_an_entry_of_another_key_or_owner_is_a_miss(tmp_path: Path) -> None:
    one, other = Looked(tmp_path, {"a": 1}), Looked(tmp_path, {"a": 2})
    other.path.write_bytes(one.content)
    assert other.find() is None
    other.keys = secret.Keys(os.urandom(32))
    other.path.write_bytes(other.content)
    assert other.find() is None
    assert one.find() is not None


def test_what_is_put_aside_is_said_once_and_computed_again(entries: Callable[[], list[Path]]) -> None:
    calls = []

    @fused.cache
    def work(x: int) -> int:
        calls.append(x)
        return x

    for x in (1, 2):
        work(x)
    for path in entries():
        path.write_bytes(b"x" * 500)
    with pytest.warns(errors.CacheWarning, match="was put aside and is computed again") as said:
        assert (work(1), work(2)) == (1, 2)
    assert len(said) == 1
    assert calls == [1, 2, 1, 2]
    assert len(list(entries()[0].parent.glob(".damaged-*"))) == 2
    assert (work(1), work(2), len(calls)) == (1, 2, 4)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "link to nothing", "unreadable"])
def test_something_else_in_an_entry_s_place_is_a_miss(
    kind: str, entries: Callable[[], list[Path]], tmp_path: Path
) -> None:
    @fused.cache
    def work() -> int:
        return 5

    work()
    path = entries()[0]
    content = path.read_bytes()
    path.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(content)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.write_bytes(content)
        path.chmod(0)
    else:
        path.symlink_to(elsewhere if kind == "link" else "nowhere")
    assert work() == work() == 5
    assert elsewhere.read_bytes() == content


def test_a_header_that_is_believed_for_a_listing_cannot_break_it(tmp_path: Path) -> None:
    looked = Looked(tmp_path, 1)
    (tmp_path / "data_short").write_bytes(b"FUSEDCE2")
    (tmp_path / "data_other").write_bytes(os.urandom(1000))
    (tmp_path / "data_link").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "data_pipe")
    (tmp_path / "data_folder").mkdir()
    assert [item.path for item in store.scan(tmp_path)] == [str(looked.path)]


def test_an_entry_of_the_earlier_format_is_a_miss_that_nobody_is_told_of(entries: Callable[[], list[Path]]) -> None:
    """Its name is another one too: this is one that lies under the new name all the same."""

    @fused.cache
    def work() -> int:
        return 5

    work()
    path = entries()[0]
    path.write_bytes(b"FUSEDFC1" + bytes(500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert work() == 5
    assert path.read_bytes()[:8] == b"FUSEDCE2" and not list(path.parent.glob(".damaged-*"))


def test_entries_of_the_earlier_format_count_as_expired_and_go_first(tmp_path: Path) -> None:
    looked = Looked(tmp_path, b"x" * 1000)
    older = tmp_path / "data_0"
    older.write_bytes(b"FUSEDFC1" + bytes(5000))
    seen = entry.look(older)
    assert seen is not None and seen.is_expired() and seen.size == 5008
    assert store.shrink(tmp_path, 3000) == 1
    assert not older.exists() and looked.path.exists()
