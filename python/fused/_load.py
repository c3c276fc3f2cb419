"""``fused.load``: functions from text, files, folders, zips, git repositories, names, ids and tokens."""

from __future__ import annotations

import contextlib
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fused._code import CodeDescription, describe_code
from fused._duration import parse_duration
from fused._load_registry import UdfRegistry
from fused._run.arguments import is_token, is_uuid
from fused._used_files import used
from fused.errors import SourceError
from fused.models.header import Header, read_headers
from fused.models.schema import Schema
from fused.models.udf import Udf

if TYPE_CHECKING:
    import zipfile

FILE_BYTES_MAX = 16 << 20
_remembered: dict[tuple[Any, str], Udf | UdfRegistry] = {}


def load(
    url_or_udf: str | Path,
    *,
    cache_key: Any = None,
    import_globals: bool | None = None,
    collection_name: str | None = None,
    revision: str | int | None = None,
) -> Udf:
    """Loads a function; its code is not run by that (seed 000, ``load``).

    Tried in this order: a text of several lines is code; ``….py``, ``….zip`` and folders are read here; addresses of
    git repositories (``https://github.com/owner/repository/tree/reference/folder``,
    ``git+https://host/x.git@reference#folder``, ``git@host:x.git``, ``file:///x.git``) are fetched by ``git``, and
    ``metadata["fused:git"]`` names the commit; then a share token, ``"email/name"`` (``"team/name"``), an id, and a
    name of one's own.

    A folder, zip or repository with several functions gives a ``UdfRegistry``: ``functions["name"]``,
    ``functions.name``. What the code defines can be used like a module's, ``udf.helper(3)``: its code is run here when
    such a name is first asked for; ``import_globals=False`` forbids that. ``cache_key``: with the same key and source,
    what was loaded before in this process is given again. ``revision``: a saved function as it was; its number, or its
    id or how that begins (``udf.history()`` lists them).

    Raises ``FileNotFoundError`` for a path that is not there, ``ValueError`` for a source that cannot be understood,
    ``NotFoundError`` for a name the server does not have, ``SourceError`` (a ``ValueError``) for what holds no
    function.
    """
    if not isinstance(url_or_udf, str | Path):
        raise TypeError(f"fused.load takes a text or a Path, not {type(url_or_udf).__name__}: {url_or_udf!r:.100}")
    if import_globals not in (None, True, False):
        raise TypeError(f"import_globals={import_globals!r} is not True or False")
    if cache_key is None:
        found = _load_revision(url_or_udf, collection_name, revision)
    else:
        try:
            key = (cache_key, f"{collection_name}\0{revision}\0{url_or_udf}")
            if key not in _remembered:
                _remembered[key] = _load_revision(url_or_udf, collection_name, revision)
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            raise TypeError(f"cache_key={cache_key!r:.100} cannot be a key: give a text, a number or a tuple") from None
        found = _remembered[key].copy()
    if import_globals is not None and isinstance(found, Udf):
        found.import_globals = import_globals
    return cast("Udf", found)  # a UdfRegistry where there are several


async def load_async(
    url_or_udf: str | Path,
    *,
    cache_key: Any = None,
    import_globals: bool | None = None,
    collection_name: str | None = None,
    revision: str | int | None = None,
) -> Udf:
    """``fused.load`` for event loops."""
    from fused._run.threads import in_thread

    keywords: Any = {
        "cache_key": cache_key,
        "import_globals": import_globals,
        "collection_name": collection_name,
        "revision": revision,
    }
    return await in_thread(lambda: load(url_or_udf, **keywords), "fused.load")


def _load_revision(source: str | Path, collection: str | None, revision: str | int | None) -> Udf | UdfRegistry:
    found = _load(source, collection)
    if revision is None:
        return found
    if not isinstance(found, Udf) or found.id is None:
        raise ValueError(
            f"revision={revision!r}: {str(source)[:100]!r} is no saved function; only those have revisions"
        )
    from fused._revisions import load_revision

    return load_revision(found, revision)


def _load(source: str | Path, collection: str | None) -> Udf | UdfRegistry:
    if isinstance(source, Path):
        found: Udf | UdfRegistry = load_path(source)
        return found
    text = source.strip()
    if not text:
        raise ValueError("fused.load was given an empty text")
    if "\n" in source:
        return udf_of_code(textwrap.dedent(source).strip("\n"))
    from fused import _load_git, _saved

    if _load_git.is_git(text):
        return _load_git.load_git(text)
    if _looks_like_path(text):
        return _load(Path(text).expanduser(), collection)
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


def load_path(path: Path) -> Any:
    """A ``.py`` file, a ``.zip`` or a folder; ``FileNotFoundError`` when there is nothing. Several functions: all."""
    from fused._load_tree import FolderTree, ZipTree, load_tree

    if not path.exists():
        raise FileNotFoundError(f"{str(path)!r} is not there (looked in {Path.cwd()})")
    if path.is_dir():
        return load_tree(FolderTree(path))
    used(path)
    if path.suffix == ".zip":
        return _load_zip(path, lambda archive: load_tree(ZipTree(archive, str(path))))
    if path.stat().st_size > FILE_BYTES_MAX:
        raise SourceError(f"{str(path)!r} is larger than {FILE_BYTES_MAX >> 20} MiB")
    try:
        code = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{str(path)!r} is not UTF-8 text: {error}") from None
    return udf_of_code(code.strip("\n"), file=path)


def _load_zip(path: Path, read: Callable[[zipfile.ZipFile], Udf | UdfRegistry]) -> Udf | UdfRegistry:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            found = read(archive)
            if isinstance(found, UdfRegistry):
                for name in found:  # the archive is closed afterwards
                    with contextlib.suppress(SourceError):
                        found[name]
            return found
    except zipfile.BadZipFile as error:
        raise SourceError(f"{str(path)!r} is not a zip file: {error}") from None


def udf_of_code(
    code: str,
    name: str | None = None,
    entrypoint: str | None = None,
    file: Path | None = None,
    headers: Callable[[Any], list[Header]] | None = None,
) -> Udf:
    """A Udf of a text. What its decorator says in literals is taken over; the text is not run.

    ``headers`` reads the headers that the decorator names; without it they are looked for beside ``file``.

    The name: ``name``, else the decorator's, else the function's, else (for a function called ``udf``) the file's.
    """
    described = describe_code(code, entrypoint, name or (file.stem if file else "udf"))
    said = described.keywords
    stored = said.get("default_parameters") or said.get("parameters")
    return Udf(
        name or _name(described, file),
        code,
        entrypoint=described.entrypoint,
        headers=(
            headers(said.get("headers"))
            if headers is not None
            else read_headers(said.get("headers"), str(file.resolve()) if file else None)
        ),
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
