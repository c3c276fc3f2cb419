"""Whose entries they are: a key of 32 bytes that makes names and checksums nobody else can make.

On a server each (organisation, owner of the code) has one; it comes with the run and lies in no file that functions can
read. Elsewhere it is in ``~/.fused/cache_key`` (mode 0600).
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import stat
from pathlib import Path

from blake3 import blake3

from fused._cache.errors import say_once

LENGTH = 32
_NAMES_CONTEXT = "fused function cache 1: names of entries"
_CHECK_CONTEXT = "fused function cache 1: checksums of entries"
_kept: dict[bytes, Keys] = {}
_files: dict[str, bytes] = {}


class Keys:
    """Two keys from one secret: for names, and for checksums."""

    __slots__ = ("check", "name", "name_tag")

    def __init__(self, secret: bytes) -> None:
        self.name = blake3(secret, derive_key_context=_NAMES_CONTEXT).digest()
        self.name_tag = self.name.hex()[:16]  # of the owner's lock files
        self.check = blake3(secret, derive_key_context=_CHECK_CONTEXT).digest()


def keys() -> Keys:
    """Of whoever runs this code."""
    secret = _secret()
    found = _kept.get(secret)
    if found is None:
        _kept.clear()  # a worker serves one owner; elsewhere there is one user
        found = _kept[secret] = Keys(secret)
    return found


def _secret() -> bytes:
    from fused.context import get_global_context

    run = get_global_context()
    if run is None:
        return _of_file(_path())
    text = run.values.get("cache_secret")
    if isinstance(text, str):
        with contextlib.suppress(ValueError):
            secret = bytes.fromhex(text)
            if len(secret) == LENGTH:
                return secret
    say_once(
        "no secret", "@fused.cache: this server gives functions no key for their entries; they last for one process"
    )
    return _files.setdefault("", secrets.token_bytes(LENGTH))


def _path() -> Path:
    return _path_of(os.environ.get("FUSED_HOME"), os.environ.get("HOME"))


@functools.lru_cache(4)
def _path_of(fused_home: str | None, home: str | None) -> Path:
    """For these values of the environment."""
    from fused import _settings_file

    return _settings_file.settings_path().parent / "cache_key"


def _of_file(path: Path) -> bytes:
    kept = _files.get(str(path))
    if kept is None:
        try:
            kept = _read(path) or _write(path)
        except OSError as error:
            say_once(
                f"key {path}",
                f"@fused.cache: {str(path)!r} cannot be kept ({error.strerror}); entries last for one process",
            )
            kept = secrets.token_bytes(LENGTH)
        kept = _files.setdefault(str(path), kept)
    return kept


def _read(path: Path) -> bytes | None:
    """The key; None where there is none that only this user could have read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file)
        key = os.read(file, LENGTH + 1)
    finally:
        os.close(file)
    own = found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return key if own and len(key) == LENGTH else None


def _write(path: Path) -> bytes:
    """A new key; of several processes that begin at once, one wins and all use its key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(LENGTH)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, key)
        os.fsync(file)
    finally:
        os.close(file)
    try:
        try:
            os.link(draft, path)
        except FileExistsError:
            theirs = _read(path)
            if theirs is not None:
                return theirs
            os.replace(draft, path)  # damaged, or others could read it
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
    return _read(path) or key
