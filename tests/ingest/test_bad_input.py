"""Bad input ends with one clear error, no table, and nothing left behind."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

import fused
from tests.conftest import PYTHON

POINTS = int(os.environ.get("FUSED_TEST_DAMAGE", "6"))  # 60 in the long run


def refused(path: object, match: str, **options: object) -> None:
    parent = Path(str(path)).parent
    folder = (parent if parent.is_dir() else Path(tempfile.mkdtemp())) / "refused"
    folder.mkdir(exist_ok=True)
    with pytest.raises((ValueError, OSError), match=match):
        fused.ingest(path, str(folder / "table"), **options).run_local()  # type: ignore[arg-type]
    assert list(folder.iterdir()) == [], "something was left behind"


def parquet_of(values: list[bytes], path: Path) -> Path:
    geo = b'{"version":"1.1.0","primary_column":"g","columns":{"g":{"encoding":"WKB","geometry_types":[]}}}'
    table = pa.table({"g": pa.array(values, pa.binary())})
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), path)
    return path


def test_no_file_empty_file_and_wrong_extension(tmp_path: Path) -> None:
    refused(tmp_path / "none.gpkg", "there is no file .*none.gpkg")
    (tmp_path / "empty.gpkg").write_bytes(b"")
    refused(tmp_path / "empty.gpkg", "empty.gpkg: the file is empty")
    for name in ("text.parquet", "text.gpkg", "text.shp", "text.fgb", "text.arrow", "text.geojson"):
        (tmp_path / name).write_text("this is no geodata\n" * 20)
        refused(tmp_path / name, name)
    refused([], "input is an empty list")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds no file")


def test_geometry_that_is_broken_names_file_and_row(tmp_path: Path) -> None:
    good = shapely.to_wkb(shapely.Point(1, 2))
    head = struct.pack("<BI", 1, 3)
    bad = {
        "count": head + struct.pack("<I", 0xFFFFFFFF),
        "deep": struct.pack("<BII", 1, 7, 1) * 100_000,
        "short": shapely.to_wkb(shapely.box(0, 0, 1, 1))[:-3],
        "type": struct.pack("<BI", 1, 99),
        "nan": struct.pack("<BIdd", 1, 1, float("nan"), 2.0),
        "infinite": struct.pack("<BIdd", 1, 1, float("inf"), 2.0),
    }
    for name, value in bad.items():
        refused(parquet_of([good, good, value], tmp_path / f"{name}.parquet"), rf"{name}\.parquet, row 2: ")


def test_no_geometry_or_no_choice(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "none.parquet")
    refused(tmp_path / "none.parquet", "no geometry column; name two columns of coordinates with lonlat_cols")
    wkb = [shapely.to_wkb(shapely.Point(1, 2))]
    pq.write_table(pa.table({"a": wkb, "b": wkb}), tmp_path / "two.parquet")
    refused(tmp_path / "two.parquet", r"2 columns could be the geometry \('a', 'b'\)")
    assert fused.ingest(tmp_path / "two.parquet", str(tmp_path / "t"), remove_cols=["b"]).run_local().rows == 1


def test_unknown_crs(tmp_path: Path) -> None:
    crs = '{"type":"GeographicCRS","name":"nonsense","id":{"authority":"EPSG","code":999999}}'
    geo = f'{{"version":"1.1.0","primary_column":"g","columns":{{"g":{{"encoding":"WKB","crs":{crs}}}}}}}'
    table = pa.table({"g": [shapely.to_wkb(shapely.Point(1, 2))]}).replace_schema_metadata({"geo": geo})
    pq.write_table(table, tmp_path / "crs.parquet")
    refused(tmp_path / "crs.parquet", "crs.parquet: its CRS is not known to PROJ")


def test_a_column_named_twice(tmp_path: Path) -> None:
    wkb = pa.array([shapely.to_wkb(shapely.Point(1, 2))])
    table = pa.Table.from_arrays([wkb, wkb], names=["g", "g"])
    pq.write_table(table, tmp_path / "twice.parquet")
    refused(tmp_path / "twice.parquet", "two columns are named 'g'")


def test_mixed_types_across_files(tmp_path: Path) -> None:
    for name, values in (("a", [1]), ("b", ["x"])):
        frame = gpd.GeoDataFrame({"v": values}, geometry=[shapely.Point(1, 1)], crs=4326)
        frame.to_parquet(tmp_path / f"{name}.parquet")
    refused(
        tmp_path / "*.parquet", r"column 'v' is int64 in .*a\.parquet and .*string in .*b\.parquet; give it one type"
    )


def test_a_footer_that_claims_too_many_rows(tmp_path: Path, source: Path) -> None:
    data = source.read_bytes()
    size = struct.unpack("<I", data[-8:-4])[0]
    footer = bytearray(data[-8 - size : -8])
    # The count of rows follows the schema: field 3, a zigzag varint (5000 → 0x90 0x4E).
    at = footer.index(b"\x16\x90\x4e")
    footer[at + 1 : at + 3] = b"\x80\xa8\xd6\xb9\x07"  # 10⁹
    path = tmp_path / "claim.parquet"
    path.write_bytes(data[: -8 - size] + bytes(footer) + struct.pack("<I", len(footer)) + b"PAR1")
    folder = tmp_path / "refused"
    folder.mkdir()
    try:
        result = fused.ingest(path, str(folder / "table")).run_local()
    except (ValueError, OSError) as error:
        assert "claim.parquet" in str(error)
        assert list(folder.iterdir()) == []
    else:
        assert result.rows == 5_000  # the row groups themselves are right


def test_a_zip_bomb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.shp", b"\0" * (200 << 20))
    refused(tmp_path / "bomb.zip", "unpacked it would have 209,715,200 bytes")


def test_files_that_name_others_are_not_opened(tmp_path: Path) -> None:
    inner = "<OGRVRTLayer name='a'><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer>"
    vrt = f"<OGRVRTDataSource>{inner}</OGRVRTDataSource>"
    for name in ("a.vrt", "a.geojson"):
        (tmp_path / name).write_text(vrt)
        refused(tmp_path / name, "VRT files name other files")
    refused("/vsicurl/http://127.0.0.1:9/a.gpkg", "virtual file systems are not read")
    refused("http://127.0.0.1:9/a.gpkg", "only files and s3:// can be read")


def test_a_shapefile_without_its_parts(tmp_path: Path, frame: gpd.GeoDataFrame) -> None:
    path = tmp_path / "a.shp"
    frame.iloc[:20].to_file(path)
    path.unlink()
    refused(path, "there is no file")
    path.write_bytes(b"")
    refused(path, "the file is empty")


DAMAGED: dict[str, Callable[[gpd.GeoDataFrame, Path], None]] = {
    "a.parquet": lambda frame, path: frame.to_parquet(path),
    "a.gpkg": lambda frame, path: frame.to_file(path),
    "a.fgb": lambda frame, path: frame.to_file(path),
    "a.shp": lambda frame, path: frame.to_file(path),
}
PROGRAM = """
import sys, fused
for path in sys.argv[2:]:
    try:
        fused.ingest(path, sys.argv[1] + "/" + path.rsplit("/", 1)[1] + ".out").run_local()
    except (ValueError, OSError) as error:
        assert str(error).strip(), path
        print("refused")
    else:
        print("read")
"""


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damage_is_an_error_or_does_not_matter_and_never_a_crash(
    tmp_path: Path, frame: gpd.GeoDataFrame, name: str
) -> None:
    whole = tmp_path / name
    DAMAGED[name](frame.iloc[:500], whole)
    data = whole.read_bytes()
    chance = random.Random(7)
    damaged = []
    for i in range(POINTS):
        cut = tmp_path / f"cut{i}" / name
        flip = tmp_path / f"flip{i}" / name
        for path in (cut, flip):
            path.parent.mkdir()
            for part in tmp_path.glob("a.*"):
                if part.is_file():
                    (path.parent / part.name).write_bytes(part.read_bytes())
        cut.write_bytes(data[: len(data) * (i + 1) // (POINTS + 2)])
        changed = bytearray(data)
        for _ in range(16):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        flip.write_bytes(changed)
        damaged += [cut.rename(cut.with_stem(f"cut{i}")), flip.rename(flip.with_stem(f"flip{i}"))]
        for path in (cut, flip):
            for part in path.parent.glob("a.*"):
                part.rename(part.with_stem(path.parent.name))
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(out), *map(str, damaged)],
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PYTHON))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.split()
    assert len(said) == len(damaged)
    assert said.count("refused") >= POINTS // 2
    assert not [each for each in out.iterdir() if each.name.startswith(".")], "scratch was left behind"
