"""Broken and hostile tables end in one error that names the file; the process lives."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fused
from tests.table.conftest import Made
from tests.table.make_table import chunk_row, polygons, sample_of

# One process for all damages of a file: a crash would end it before it prints its count.
READ_ALL = """
import sys
import fused
errors = 0
for folder in sys.argv[1:]:
    for read in (lambda: fused.read_table(folder), lambda: fused.read_table(folder, bounds=(7, 46, 9, 48)),
                 lambda: fused.get_chunks_metadata(folder)):
        try:
            read()
        except (ValueError, OSError, RuntimeError) as error:
            assert str(error), "an error without words"
            errors += 1
print("errors", errors)
"""


def damaged(source: Path, target: Path, name: str, data: bytes) -> str:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).symlink_to(file)
    (target / name).unlink()
    (target / name).write_bytes(data)
    return str(target)


def errors_of(folders: list[str]) -> int:
    done = subprocess.run([sys.executable, "-c", READ_ALL, *folders], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("name", ["_sample", "0.parquet"])
def test_truncated_at_60_points_is_an_error(plain: Made, tmp_path: Path, name: str) -> None:
    source = Path(plain.url)
    data = (source / name).read_bytes()
    folders = [damaged(source, tmp_path / str(i), name, data[: len(data) * i // 60]) for i in range(60)]
    assert errors_of(folders) >= 60


@pytest.mark.parametrize("name", ["_sample", "0.parquet"])
def test_bits_flipped_at_60_points_end_in_rows_or_an_error(plain: Made, tmp_path: Path, name: str) -> None:
    source = Path(plain.url)
    data = (source / name).read_bytes()
    random = np.random.default_rng(11)
    folders = []
    for i in range(60):
        broken = bytearray(data)
        # Half of them in the footer, where counts and offsets are.
        at = len(data) * i // 60 if i % 2 else len(data) - 1 - int(random.integers(0, min(len(data), 6_000)))
        broken[at] ^= 1 << int(random.integers(0, 8))
        folders.append(damaged(source, tmp_path / str(i), name, bytes(broken)))
    assert errors_of(folders) > 10


def varint(number: int) -> bytes:
    number = number << 1  # zigzag of what is not negative
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def claiming(data: bytes, rows: int, claimed: int) -> bytes:
    """The file with another number in its footer wherever `rows` stands."""
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = data[-8 - length : -8].replace(varint(rows), varint(claimed))
    return data[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def test_a_footer_that_claims_10_to_the_9_rows_costs_nothing(plain: Made, tmp_path: Path) -> None:
    source = Path(plain.url)
    rows = int(fused.get_chunks_metadata(plain.url)["num_rows"].iloc[0])
    data = claiming((source / "0.parquet").read_bytes(), rows, 10**9)
    folder = damaged(source, tmp_path / "t", "0.parquet", data)
    with pytest.raises(ValueError, match=r"0\.parquet.*claims 1000000000 rows"):
        fused.read_table(folder)


def test_a_footer_that_claims_10_to_the_8_rows_is_within_the_memory_of_a_read(plain: Made, tmp_path: Path) -> None:
    source = Path(plain.url)
    rows = int(fused.get_chunks_metadata(plain.url)["num_rows"].iloc[0])
    data = claiming((source / "0.parquet").read_bytes(), rows, 10**8)
    folder = damaged(source, tmp_path / "t", "0.parquet", data)
    with pytest.raises(ValueError, match=r"0\.parquet"):
        fused.read_table(folder, columns=["id"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file_id": "../../etc/passwd"}, "plain file name"),
        ({"file_id": "a/b"}, "plain file name"),
        ({"chunk_id": -1}, "chunk ids"),
        ({"bbox_minx": 500.0}, "not a box"),
        ({"bbox_minx": float("nan")}, "not a box"),
        ({"bbox_maxy": float("inf")}, "not a box"),
        ({"num_rows": -5}, "negative"),
    ],
)
def test_a_chunk_list_that_cannot_be_is_refused_by_row(tmp_path: Path, change: dict[str, object], says: str) -> None:
    row = chunk_row(polygons(50), "0", 0)
    (tmp_path / "_sample").write_bytes(sample_of([row, row | {"chunk_id": 1} | change]))
    with pytest.raises(ValueError, match=f"_sample.*row 1.*{says}"):
        fused.read_table(tmp_path)


def test_a_sample_of_another_kind_is_told(tmp_path: Path, plain: Made) -> None:
    sample = tmp_path / "_sample"
    sample.write_text("id,x\n1,2\n")
    with pytest.raises(ValueError, match="not a Parquet file"):
        fused.read_table(tmp_path)
    sample.write_bytes(sample_of([chunk_row(polygons(50), "0", 0)], version="6"))
    with pytest.raises(ValueError, match="format_version is '6'; 5 and 4"):
        fused.get_chunks_metadata(str(tmp_path))
    shutil.copy(Path(plain.url) / "0.parquet", sample)
    with pytest.raises(ValueError, match="no 'fused:format_version'"):
        fused.get_chunks_metadata(str(tmp_path))


def test_a_sample_that_names_files_and_chunks_that_are_not_there(tmp_path: Path, plain: Made) -> None:
    row = chunk_row(polygons(50), "gone", 0)
    (tmp_path / "_sample").write_bytes(sample_of([row]))
    with pytest.raises(FileNotFoundError, match=r"gone\.parquet"):
        fused.read_table(tmp_path)
    shutil.copy(Path(plain.url) / "0.parquet", tmp_path / "gone.parquet")
    (tmp_path / "_sample").write_bytes(sample_of([row | {"chunk_id": 99}]))
    with pytest.raises(ValueError, match="4 row groups and the table's _sample names chunk 99"):
        fused.read_table(tmp_path)
