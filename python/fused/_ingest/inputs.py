"""Which files an input means: a file, a list, a folder, a pattern, s3://."""

from __future__ import annotations

import glob
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARQUET = (".parquet", ".pq", ".geoparquet", ".parq")
ARROW = (".arrow", ".arrows", ".feather", ".ipc")
TEXT = (".csv", ".tsv", ".txt")
# Parts of a dataset that is opened by another file.
PARTS = (
    *(".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".ind", ".xml", ".aux"),
    *("-journal", "-wal", "-shm", ".gpkg-journal", ".gpkg-wal", ".gpkg-shm", ".gfs", ".xsd", ".csvt"),
)
FOLDER_DATASETS = (".gdb",)
ZIP_RATIO_MAX = 200  # of what a zip claims to hold to its own size
ZIP_FREE_BYTES = 64 << 20  # below that any ratio is fine


@dataclass(frozen=True)
class InputFile:
    """One file (or folder that GDAL opens): ``kind`` is parquet, ipc, csv or gdal."""

    path: str
    kind: str


def find_files(given: Any, file_suffix: str | None, allowed: frozenset[str] = frozenset()) -> list[InputFile]:
    """All files in a fixed order; ``FileNotFoundError`` or ``ValueError`` says what is wrong, naming the path.

    ``allowed``: drivers of GDAL that were asked for (``gdal.check_drivers``); addresses are for the network's.
    """
    items = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise TypeError(f"input is a path, a list of paths or a GeoDataFrame, not {type(given).__name__}")
    if not items:
        raise ValueError("input is an empty list")
    paths: list[str] = []
    for item in items:
        if not isinstance(item, str | os.PathLike):
            raise TypeError(f"input's list holds {item!r}, which is not a path")
        text = os.fspath(item)
        if _is_address(text, allowed):
            paths.append(text)
        else:
            paths += _expand(text, file_suffix)
    twice = sorted({path for path in paths if paths.count(path) > 1}) if len(paths) < 10_000 else []
    if twice:
        raise ValueError(f"input names {twice[0]!r} twice")
    return [InputFile(path, "gdal" if _is_address(path, allowed) else _kind(path, allowed)) for path in paths]


def _is_address(text: str, allowed: frozenset[str]) -> bool:
    """What a driver of the network opens: ``http://…`` for HTTP, ``WFS:…`` for WFS."""
    if text.startswith(("http://", "https://")):
        return "HTTP" in allowed
    prefix, colon, _ = text.partition(":")
    return bool(colon) and prefix.upper() in {each.upper() for each in allowed}


def _expand(text: str, suffix: str | None) -> list[str]:
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if text.startswith("/vsi"):
        raise ValueError(f"{text}: GDAL's virtual file systems are not read; give the file itself")
    if text.startswith(("http://", "https://")):
        raise ValueError(
            f"{text}: only files and s3:// can be read; allow_drivers=['HTTP'] (--allow-driver HTTP) reads addresses"
        )
    if "://" in text:
        return _remote(text, suffix)
    path = Path(text)
    if path.is_dir() and path.suffix.lower() not in FOLDER_DATASETS:
        return _folder(path, suffix)
    if path.exists():
        return [text]
    if glob.has_magic(text):
        found = [each for each in sorted(glob.glob(text, recursive=True)) if _wanted(Path(each), suffix)]
        if found:
            return found
        raise FileNotFoundError(f"no file matches {text!r}")
    raise FileNotFoundError(f"there is no file {text!r}")


def _folder(path: Path, suffix: str | None) -> list[str]:
    found: list[str] = []
    for root, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        here = Path(root)
        for name in [name for name in folders if Path(name).suffix.lower() in FOLDER_DATASETS]:
            folders.remove(name)
            found.append(str(here / name))
        found += [str(here / name) for name in sorted(names) if _wanted(here / name, suffix)]
    if not found:
        ending = "" if suffix is None else f" whose name ends with {suffix!r}"
        raise FileNotFoundError(f"the folder {str(path)!r} holds no file{ending} (hidden ones and _* are skipped)")
    return sorted(found)


def _wanted(path: Path, suffix: str | None) -> bool:
    if path.name[0] in "._" or (path.is_dir() and path.suffix.lower() not in FOLDER_DATASETS):
        return False
    if suffix is not None:
        return path.name.endswith(suffix)
    return not path.name.lower().endswith(PARTS)


def _remote(url: str, suffix: str | None) -> list[str]:
    if not url.startswith("s3://"):
        raise ValueError(f"{url}: only files and s3:// can be read")
    from pyarrow import fs

    plain, _, query = url.partition("?")
    rest = f"?{query}" if query else ""
    system, key = fs.FileSystem.from_uri(url)
    info = system.get_file_info(key.rstrip("/"))
    if info.type == fs.FileType.File:
        return [url]
    user, at, _ = plain.removeprefix("s3://").rpartition("@")
    found = [
        f"s3://{user}{at}{each.path}{rest}"
        for each in system.get_file_info(fs.FileSelector(key.rstrip("/"), recursive=True, allow_not_found=True))
        if each.type == fs.FileType.File and _wanted(Path(each.path), suffix)
    ]
    if not found:
        raise FileNotFoundError(f"there is nothing at 's3://{key}'")
    return sorted(found)


def _kind(path: str, allowed: frozenset[str]) -> str:
    lower = path.partition("?")[0].lower() if "://" in path else path.lower()
    if lower.endswith(PARQUET):
        return "parquet"
    if lower.endswith(ARROW):
        return "ipc"
    if lower.endswith(TEXT):
        return "csv"
    if "://" in path:
        return "gdal"
    local = Path(path)
    if local.is_dir():
        return "gdal"
    if local.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    with local.open("rb") as file:
        head = file.read(2048)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "ipc"
    if b"<OGRVRTDataSource" in head and "VRT" not in allowed:
        raise ValueError(
            f"{path}: VRT files name other files and addresses to read, and are not opened; "
            "allow_drivers=['VRT'] (--allow-driver VRT) does"
        )
    if head.startswith(b"PK\x03\x04"):
        _check_zip(local)
    if lower.endswith(".shp"):
        _check_shape(local, head)
    return "gdal"


def _check_shape(path: Path, head: bytes) -> None:
    """A shapefile says how long its parts are; GDAL reads what is missing as empty."""
    if len(head) < 100 or int.from_bytes(head[:4], "big") != 9994:
        raise ValueError(f"{path}: it is not a shapefile")
    says = 2 * int.from_bytes(head[24:28], "big")
    if says != path.stat().st_size:
        raise ValueError(f"{path}: it says that it has {says:,} bytes, and has {path.stat().st_size:,}")
    index, table = path.with_suffix(".shx"), path.with_suffix(".dbf")
    if not table.exists():
        return
    with table.open("rb") as file:
        start = file.read(12)
    rows = int.from_bytes(start[4:8], "little")
    least = int.from_bytes(start[8:10], "little") + rows * int.from_bytes(start[10:12], "little")
    if len(start) < 12 or table.stat().st_size < least:
        raise ValueError(f"{table}: it says that it has {least:,} bytes, and has {table.stat().st_size:,}")
    if index.exists() and (index.stat().st_size - 100) // 8 != rows:
        raise ValueError(f"{path}: {index.name} has {(index.stat().st_size - 100) // 8:,} rows, {table.name} {rows:,}")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(each.file_size for each in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: {error}") from None
    if claimed > ZIP_FREE_BYTES and claimed > ZIP_RATIO_MAX * path.stat().st_size:
        raise ValueError(
            f"{path}: unpacked it would have {claimed:,} bytes, {claimed // path.stat().st_size} times its size; "
            "if that is right, unpack it and ingest the folder"
        )
