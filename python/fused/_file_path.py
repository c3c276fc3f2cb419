"""``fused.file_path``: the right folder for files, wherever the code runs (seed 000, ``file_path``)."""

from __future__ import annotations

import os
from pathlib import Path

STORAGES = ("auto", "mount", "local")


def file_path(file_path: str, mkdir: bool = True, storage: str = "auto") -> str:
    """The absolute path of ``file_path`` below the folder for files, which is

    ====================================  ==================
    in a notebook, script, local run      ``/tmp/fused``
    in a function on a server             ``/mount``
    in a batch job                        the job's own folder
    ====================================  ==================

    (``$TMPDIR/fused`` where ``TMPDIR`` is set.) With ``mkdir`` the folder is made: the path itself, or what is above it
    when its last part has a suffix, as ``data/towns.csv``. An absolute path below that folder is taken as it is.
    ``storage="mount"`` or ``"local"`` chooses one of the first two.

    ``ValueError`` for what leads out of the folder: ``..``, another absolute path, a link.
    """
    target = target_of(file_path, storage)
    if mkdir:
        make_folder(target if not target.suffix else target.parent, storage)
    return str(target)


def root(storage: str = "auto") -> Path:
    """The folder for files of whoever runs this."""
    from fused._cache import place
    from fused.context import get_global_context, in_batch

    if storage not in STORAGES:
        raise ValueError(f"storage={storage!r} is unknown; it is 'auto', 'mount' or 'local'")
    run = get_global_context()
    if storage == "auto" and run is not None and in_batch():
        return Path(run.values.get("job_folder") or os.getcwd())
    if storage == "mount" or (storage == "auto" and run is not None):
        found = place.mount()
        if found is None:
            raise ValueError("storage='mount': there is no /mount here; it exists in functions on a server")
        return found
    return place.own_temporary_folder()


def target_of(path: object, storage: str = "auto") -> Path:
    """``path`` below the root; nothing is made. ``ValueError`` where it leads out."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"file_path is a text, not {type(path).__name__}: {path!r:.100}")
    text = os.fspath(path)
    if "\0" in text:
        raise ValueError(f"{text!r} is no path: it holds a NUL character")
    folder = root(storage)
    given = Path(text)
    if ".." in given.parts:
        raise ValueError(f"{text!r} leads out of {str(folder)!r}: '..' is not allowed")
    target = given if given.is_absolute() else folder / given
    if not target.is_relative_to(folder):
        raise ValueError(
            f"{text!r} is not below {str(folder)!r}, where files go here; give a relative path, as {given.name!r}"
        )
    check_inside(target, folder, text)
    return target


def check_inside(target: Path, folder: Path, text: str) -> None:
    """No link on the way may lead out of the folder."""
    real = os.path.realpath(folder)
    found = os.path.realpath(target)
    if found != real and not found.startswith(real.rstrip("/") + "/"):
        raise ValueError(f"{text!r} leads out of {str(folder)!r} by a link, to {found!r}")


def make_folder(folder: Path, storage: str = "auto") -> None:
    """Makes the folder and those above it; the root for its owner alone."""
    top = root(storage)
    if not top.is_dir():
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileExistsError(f"{str(folder)!r} is there and is no folder") from None
    check_inside(folder, top, str(folder))
