"""In which folder entries lie (seed 004, ``cached_data/``; design §5, "Local cache").

In a function on a server: ``/mount/fused-system/cached_data/{udf_name}/``. Elsewhere:
``fused.options.cache_directory``, ``FUSED_CACHE_DIR``, else ``$TMPDIR/fused/cached_data/{module}/``. ``path`` takes
the place of the last level, except below ``/mount/``, where it is the folder itself.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import types
from pathlib import Path

from fused._cache.errors import say_once

DEFAULT_PATH = "tmp"  # the seed's default: no folder of one's own
STORAGES = ("auto", "mount", "local", "object")
_SENT_MODULE = re.compile(r"fused_udf_[0-9a-f]{16}\Z")
_NAME_LENGTH_MAX = 200


class NoFolder(OSError):
    """There is no folder to keep entries in; the message says why."""


def run_of_server() -> object | None:
    """The run that goes on in this worker; None outside of one."""
    from fused.context import get_global_context

    return get_global_context()


def mount() -> Path | None:
    """Where ``/mount`` is for this process, or None."""
    for candidate in ("/mount", os.environ.get("FUSED_MOUNT", "")):
        if candidate and os.path.isdir(candidate):
            return Path(candidate)
    return None


def base(storage: str = "auto") -> Path:
    """The folder that holds one folder for each function."""
    from fused._options import options

    inside = run_of_server() is not None
    if storage == "mount" or (storage in ("auto", "object") and inside and options.cache_directory is None):
        found = mount()
        if found is None:
            raise NoFolder("storage='mount': there is no /mount here; it exists in functions on a server")
        return found / "fused-system" / "cached_data"
    if options.cache_directory is not None:
        return Path(os.path.abspath(options.cache_directory))
    return own_temporary_folder() / "cached_data"


def own_temporary_folder() -> Path:
    """``$TMPDIR/fused``; ``$TMPDIR/fused-{uid}`` where somebody else has that."""
    root = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for name in ("fused", f"fused-{os.getuid()}"):
        folder = root / name
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            return folder
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            return folder
    raise NoFolder(
        f"{str(root / 'fused')!r} belongs to somebody else; set fused.options.cache_directory or FUSED_CACHE_DIR"
    )


def level_of(fn: types.FunctionType) -> str:
    """The ``{udf_name}`` level: the running function's name on a server, else the module's."""
    module = fn.__module__ or "udf"
    run = run_of_server()
    if run is not None and (_SENT_MODULE.match(module) or not module.startswith("fused_udf_")):
        name = str(getattr(run, "udf_record", {}).get("name") or "udf")
    else:
        name = module.removeprefix("fused_udf_")
    name = re.sub(r"[/\x00-\x1f\x7f]", "_", name)
    while len(name.encode("utf-8", "replace")) > _NAME_LENGTH_MAX:
        name = name[:-1]
    return "_" if name in ("", ".", "..") or name.startswith(".") else name


def check_path(path: object) -> str:
    """``path`` as it was given, if it can be one; ``ValueError`` says what is wrong."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={path!r} is not a folder's path")
    text = os.fspath(path)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(f"path={text!r} is not a folder's path")
    if ".." in text.split("/"):
        raise ValueError(f"path={text!r} leads out of the cache folder: '..' is not allowed")
    return text


def folder_of(fn: types.FunctionType, path: str, storage: str) -> Path:
    """The folder of one function's entries; it may not exist yet."""
    if path == DEFAULT_PATH:
        return base(storage) / level_of(fn)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/mount/") and storage != "local":
        found = mount()
        if found is not None:
            return found.joinpath(*parts[1:])
    return base(storage).joinpath(*parts)


_ready: set[str] = set()


def make(folder: Path, storage: str) -> None:
    """Makes the folder. ``NoFolder`` where that cannot be; nothing below the base may be a link."""
    text = str(folder)
    if text in _ready:
        return
    top = _top_of(folder, storage)
    try:
        missing = []
        walk = folder
        while walk != top and walk != walk.parent:
            missing.append(walk)
            walk = walk.parent
        if not top.is_dir():
            top.parent.mkdir(parents=True, exist_ok=True)
            top.mkdir(mode=0o700, exist_ok=True)
        for part in reversed(missing):
            try:
                part.mkdir(mode=0o700)
            except FileExistsError:
                found = os.lstat(part)
                if not stat.S_ISDIR(found.st_mode):
                    kind = "a link" if stat.S_ISLNK(found.st_mode) else "no folder"
                    raise NoFolder(f"{str(part)!r} is {kind}") from None
    except NoFolder:
        raise
    except OSError as error:
        raise NoFolder(f"{text!r} cannot be made: {error.strerror or error}") from error
    _check_owner(top)
    _ready.add(text)


def gone(folder: Path) -> None:
    """Somebody removed the folder: it is made again."""
    _ready.discard(str(folder))


def _top_of(folder: Path, storage: str) -> Path:
    try:
        top = base(storage)
    except NoFolder:
        return folder
    found = mount()
    if folder.is_relative_to(top):
        return top
    return found if found is not None and folder.is_relative_to(found) else folder


def _check_owner(top: Path) -> None:
    """The default local folder lies where everybody may write: what others made there is not used."""
    try:
        own = own_temporary_folder() / "cached_data"
    except NoFolder:
        return
    if top != own:
        return
    found = os.lstat(top)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise NoFolder(f"{str(top)!r} belongs to somebody else; set fused.options.cache_directory")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(top, 0o700)


def not_kept(folder: Path, error: BaseException) -> None:
    """Says once for each folder that results are computed but not kept."""
    reason = getattr(error, "strerror", None) or str(error)
    say_once(
        f"folder {folder}",
        f"@fused.cache: results are computed but not kept in {str(folder)!r}: {reason}. "
        "Free or change it, or name another by path=, fused.options.cache_directory or FUSED_CACHE_DIR",
    )
