"""``fused.load``: a function from text, a file, a folder, a zip, a name, an id, a token or an address."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

from fused._code import CodeDescription, describe_code
from fused._duration import parse_duration
from fused._run.arguments import is_token, is_uuid
from fused.errors import SourceError
from fused.models.header import read_headers
from fused.models.schema import Schema
from fused.models.udf import Udf

FILE_BYTES_MAX = 16 << 20
_remembered: dict[tuple[Any, str], Udf] = {}


def load(url_or_udf: str | Path, *, cache_key: Any = None, collection_name: str | None = None) -> Udf:
    """Loads a function; its code is not run by that (seed 000, ``load``).

    Tried in this order: a text of several lines is code; ``https://github.com/…`` is fetched by the server; ``….py``,
    ``….zip`` and folders are read here; then a share token, ``"email/name"`` (``"team/name"``), an id, and a name of
    one's own. ``cache_key``: with the same key and source, what was loaded before in this process is given again.

    Raises ``FileNotFoundError`` for a path that is not there, ``ValueError`` for a source that cannot be understood,
    ``NotFoundError`` for a name the server does not have.
    """
    if not isinstance(url_or_udf, str | Path):
        raise TypeError(f"fused.load takes a text or a Path, not {type(url_or_udf).__name__}: {url_or_udf!r:.100}")
    if cache_key is None:
        return _load(url_or_udf, collection_name)
    key = (cache_key, f"{collection_name}\0{url_or_udf}")
    if key not in _remembered:
        _remembered[key] = _load(url_or_udf, collection_name)
    return _remembered[key].copy()


async def load_async(url_or_udf: str | Path, *, cache_key: Any = None, collection_name: str | None = None) -> Udf:
    """``fused.load`` for event loops."""
    from fused._run.threads import in_thread

    return await in_thread(lambda: load(url_or_udf, cache_key=cache_key, collection_name=collection_name), "fused.load")


def _load(source: str | Path, collection: str | None) -> Udf:
    if isinstance(source, Path):
        return load_path(source)
    text = source.strip()
    if not text:
        raise ValueError("fused.load was given an empty text")
    if "\n" in source:
        return udf_of_code(textwrap.dedent(source).strip("\n"))
    from fused import _saved

    if text.startswith(("https://", "http://")):
        if not text.startswith("https://github.com/"):
            raise ValueError(
                f"{text!r} is no GitHub address; functions are loaded from https://github.com/…, files and names"
            )
        return _saved.load_by_url(text)
    if _looks_like_path(text):
        return load_path(Path(text).expanduser())
    if is_token(text):
        return _saved.load_by_token(text)
    if "/" in text:
        owner, _, name = text.partition("/")
        if not owner or not name or "/" in name:
            raise ValueError(f"{text!r} is neither a path that exists nor 'email/name'")
        return _saved.load_by_name(owner, name, collection)
    if is_uuid(text):
        return _saved.load_by_id(text)
    return _saved.load_by_name(None, text, collection)


def _looks_like_path(text: str) -> bool:
    return text.endswith((".py", ".zip", os.sep)) or text.startswith(("/", "./", "../", "~")) or Path(text).is_dir()


def load_path(path: Path) -> Udf:
    """A ``.py`` file, a ``.zip`` or a folder; ``FileNotFoundError`` when there is nothing."""
    from fused._export import load_folder, load_zip

    if not path.exists():
        raise FileNotFoundError(f"{str(path)!r} is not there (looked in {Path.cwd()})")
    if path.is_dir():
        return load_folder(path)
    if path.stat().st_size > FILE_BYTES_MAX:
        raise SourceError(f"{str(path)!r} is larger than {FILE_BYTES_MAX >> 20} MiB")
    if path.suffix == ".zip":
        return load_zip(path)
    try:
        code = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{str(path)!r} is not UTF-8 text: {error}") from None
    return udf_of_code(code.strip("\n"), file=path)


def udf_of_code(code: str, name: str | None = None, entrypoint: str | None = None, file: Path | None = None) -> Udf:
    """A Udf of a text. What its decorator says in literals is taken over; the text is not run.

    The name: ``name``, else the decorator's, else the function's, else (for a function called ``udf``) the file's.
    """
    described = describe_code(code, entrypoint, name or (file.stem if file else "udf"))
    said = described.keywords
    stored = said.get("default_parameters") or said.get("parameters")
    return Udf(
        name or _name(described, file),
        code,
        entrypoint=described.entrypoint,
        headers=read_headers(said.get("headers"), str(file.resolve()) if file else None),
        parameters=stored if isinstance(stored, dict) else None,
        cache_max_age=parse_duration(said["cache_max_age"]) if said.get("cache_max_age") is not None else None,
        table_schema=Schema.parse(said["schema"]) if said.get("schema") is not None else None,
        metadata={},
        engine=said.get("engine"),
        instance_type=said.get("instance_type"),
        disk_size_gb=said.get("disk_size_gb"),
        region=said.get("region"),
    )


def _name(described: CodeDescription, file: Path | None) -> str:
    stated = described.keywords.get("name")
    if isinstance(stated, str) and stated:
        return stated
    if described.entrypoint == "udf" and file is not None:
        return file.stem
    return described.entrypoint
