"""What GDAL reads: layers as Arrow streams, through pyogrio."""

from __future__ import annotations

import csv
import fnmatch
import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused.models.ingest import GDALOpenConfig

BATCH_ROWS = 32_768
# Drivers that read what a file names elsewhere (files, services, addresses), load libraries or start programs.
FILES_ELSEWHERE = ("VRT", "OGR_VRT", "GDALG")
NETWORK = (
    *("ADBC", "AmigoCloud", "Carto", "CSW", "EEDA", "Elasticsearch", "GMLAS", "HTTP", "NGW", "OAPIF", "OGCAPI"),
    *("PLScenes", "PostgreSQL", "MySQL", "MSSQLSpatial", "ODBC", "WFS"),
)
PROGRAMS = ("GPSBabel",)
SKIPPED = (*FILES_ELSEWHERE, *NETWORK, *PROGRAMS)
# CSV options that the native reader understands; with any other GDAL reads.
NATIVE_CSV = {"X_POSSIBLE_NAMES", "Y_POSSIBLE_NAMES", "KEEP_GEOM_COLUMNS", "SEPARATOR", "AUTODETECT_TYPE"}
# Set by the command, whose process reads streams only: half a second of imports less.
lean = False
HEAVY = ("geopandas", "pandas", "shapely")
SEPARATORS = {"COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "SPACE": " ", "PIPE": "|"}


@dataclass(frozen=True)
class PointColumns:
    """A delimited file that the native reader takes: where its points are."""

    longitude: str
    latitude: str
    delimiter: str
    keep: bool


def point_columns(path: str, config: GDALOpenConfig, lonlat: tuple[str, str] | None) -> PointColumns | None:
    """None when GDAL has to read the file. Names are compared without case, as GDAL does."""
    options = {key.upper(): value for key, value in config.open_options.items()}
    if config.layer is not None or not set(options) <= NATIVE_CSV:
        return None
    with Path(path).open("rb") as file:
        line = file.readline(1 << 20).decode("utf-8-sig", "replace")
    delimiter = SEPARATORS.get(options.get("SEPARATOR", "").upper(), "")
    if not delimiter:
        delimiter = max(",;\t|", key=line.count)
    header = next(csv.reader([line], delimiter=delimiter), [])
    if lonlat is not None:
        return PointColumns(*lonlat, delimiter, True)
    found = [_matching(options.get(f"{axis}_POSSIBLE_NAMES", ""), header) for axis in "XY"]
    if found[0] is None or found[1] is None:
        return None
    keep = options.get("KEEP_GEOM_COLUMNS", "YES").upper() not in ("NO", "FALSE", "OFF")
    return PointColumns(found[0], found[1], delimiter, keep)


def _matching(patterns: str, header: list[str]) -> str | None:
    for pattern in filter(None, patterns.split(",")):
        for name in header:
            if fnmatch.fnmatchcase(name.lower(), pattern.strip().lower()):
                return name
    return None


def check_drivers(names: Sequence[str]) -> frozenset[str]:
    """The drivers that a caller asks for beyond the usual ones; ``ValueError`` names those that can be asked for."""
    if isinstance(names, str):
        raise TypeError(f"allow_drivers is a list of names, not the text {names!r}")
    known = {each.upper(): each for each in SKIPPED}
    for name in names:
        if str(name).upper() not in known:
            raise ValueError(
                f"allow_drivers names {name!r}; it is for what is off without being asked for: {', '.join(SKIPPED)}"
            )
    asked = {known[str(name).upper()] for name in names}
    return frozenset(asked | {"VRT", "OGR_VRT"} if asked & {"VRT", "OGR_VRT"} else asked)


@functools.cache
def _compiled() -> frozenset[str]:
    """The drivers of this GDAL, in upper case; it warns of others that shall be skipped."""
    from pyogrio import list_drivers

    return frozenset(name.upper() for name in list_drivers())


@contextmanager
def drivers(allowed: frozenset[str]) -> Iterator[None]:
    """GDAL without the drivers of ``SKIPPED`` that are not allowed; afterwards as it was, for others in the process."""
    from pyogrio import get_gdal_config_option, set_gdal_config_options
    from pyogrio._ogr import _register_drivers

    network = bool(allowed & set(NETWORK))
    wanted: dict[str, Any] = {
        "GDAL_SKIP": " ".join(each for each in SKIPPED if each not in allowed and each.upper() in _compiled()),
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": None if network else "{none}",
        "GML_DOWNLOAD_WFS_SCHEMA": None if network else "NO",
        "GDAL_HTTP_MAX_RETRY": "2" if network else None,
    }
    before = {name: get_gdal_config_option(name) for name in wanted}
    set_gdal_config_options(wanted)
    _register_drivers()
    try:
        yield
    finally:
        set_gdal_config_options(before)
        _register_drivers()


@contextmanager
def open_layer(
    path: str, config: GDALOpenConfig, allowed: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Any, str, str, int]]:
    """``(name for messages, stream, geometry column, CRS, rows or -1)``; errors name file and layer."""
    raw = _pyogrio()
    with drivers(allowed), _opened(raw, path, config) as layer:
        yield layer


@contextmanager
def _opened(raw: Any, path: str, config: GDALOpenConfig) -> Iterator[tuple[str, Any, str, str, int]]:
    layer = _choose_layer(raw, path, config)
    name = path if layer is None else f"{path}, layer {layer!r}"
    try:
        with raw.open_arrow(
            path,
            layer=layer,
            use_pyarrow=False,
            batch_size=BATCH_ROWS,
            **config.open_options,
        ) as (meta, stream):
            geometry = meta.get("geometry_name") or "wkb_geometry"
            yield name, stream, geometry, meta.get("crs") or "", -1
    except _errors() as error:
        raise ValueError(f"{name}: {error}") from None


def _choose_layer(raw: Any, path: str, config: GDALOpenConfig) -> str | int | None:
    import pyogrio

    try:
        layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
    except _errors() as error:
        raise ValueError(f"{path}: {error}") from None
    names = [name for name, _ in layers]
    if config.layer is not None:
        known = config.layer in names if isinstance(config.layer, str) else 0 <= config.layer < len(names)
        if not known:
            raise ValueError(f"{path}: there is no layer {config.layer!r}; it has {', '.join(map(repr, names))}")
        return config.layer
    spatial = [name for name, kind in layers if kind is not None]
    if not spatial:
        raise ValueError(f"{path}: no layer has a geometry; name columns of coordinates with lonlat_cols")
    if len(spatial) == 1:
        return spatial[0]
    filled = [name for name in spatial if _features(path, name) != 0]
    if len(filled) == 1:
        return filled[0]
    raise ValueError(
        f"{path}: it has {len(spatial)} layers ({', '.join(map(repr, spatial))}); choose one with "
        "gdal_config={'layer': …}"
    )


def _features(path: str, layer: str) -> int:
    import pyogrio

    return int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])


def _pyogrio() -> Any:
    with _without(HEAVY) if lean and "pyogrio" not in sys.modules else nullcontext():
        import pyogrio.raw

    return pyogrio.raw


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """pyogrio takes what it finds of these, and does without what it does not find."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def _errors() -> tuple[type[Exception], ...]:
    from pyogrio.errors import DataSourceError, FieldError, GeometryError

    return (DataSourceError, FieldError, GeometryError, RuntimeError)
