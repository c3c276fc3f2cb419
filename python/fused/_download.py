"""``fused.download``: a file from elsewhere, fetched once however many ask for it (seed 000, ``download``)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from fused import _download_http as web
from fused._download_address import only_public
from fused._file_path import make_folder, target_of
from fused._used_files import used
from fused.errors import FusedError

ATTEMPTS = 6
WAIT_BETWEEN_S = 0.5
WAIT_BETWEEN_S_MAX = 10.0
TIMEOUT_S = 3600
ASK_LOCK_S = 0.01
SCHEMES = ("http", "https", "file", "s3", "gs")
STALE_PART_S = 7 * 86_400


class DownloadError(FusedError, OSError, ValueError):
    """A file could not be had; the message holds its address, what happened and what to do."""


def download(
    url: str,
    file_path: str,
    storage: str = "auto",
    *,
    timeout: str | float = TIMEOUT_S,
    max_size: str | int | None = None,
) -> str:
    """Fetches ``url`` into ``file_path`` the first time, and gives the path; later calls find it there.

    Of many callers at once, in threads, processes and functions on a server, one fetches and the others wait for it.
    ``file_path`` is relative to the folder of ``fused.file_path`` (``/mount`` on a server, ``/tmp/fused`` here); one
    that ends in ``/`` is a folder, and the file has the name in the address. ``url``: ``http(s)://``, ``s3://``,
    ``gs://``, ``file://``. When the same path was fetched from another address before, it is fetched anew.

    ``timeout``: seconds, or ``"10m"``, for all attempts together; ``max_size``: bytes, or ``"2GB"``. Broken connections
    are resumed where the server allows it. A file is there whole or not at all. Serves seed 000, ``download``.

    ``DownloadError`` (an ``OSError`` and a ``ValueError``) when it cannot be had; ``ValueError`` for an address or a
    path that cannot be.
    """
    from fused._cache.settings import CHECKS

    check(url)
    seconds = CHECKS["concurrent_lock_timeout"](timeout, "timeout")
    bytes_max = CHECKS["max_size"](max_size, "max_size")
    target = _target(url, file_path, storage)
    if _is_there(target, url):
        used(target)
        return str(target)
    make_folder(target.parent, storage)
    deadline = time.monotonic() + seconds
    with _alone(target, url, deadline, seconds) as ours:
        if ours:
            _fetch(url, target, bytes_max, deadline)
    used(target)
    return str(target)


def check(url: object) -> None:
    """``ValueError`` for what cannot be an address."""
    if not isinstance(url, str):
        raise TypeError(f"url is a text, not {type(url).__name__}: {url!r:.100}")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"{url!r:.100} is no address: {error}") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{web.shown(url)!r} cannot be downloaded; addresses begin with {', '.join(SCHEMES)}://")
    if parts.scheme in ("http", "https"):
        web.check_url(url)
    elif parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError(f"{url!r:.300} is no local file: write file:///absolute/path")
    elif not parts.netloc or not parts.path.strip("/"):
        raise ValueError(f"{url!r:.300} names no object: write {parts.scheme}://bucket/key")


def _target(url: str, path: str, storage: str) -> Path:
    if isinstance(path, str) and (path.endswith("/") or path in ("", ".")):
        name = PurePosixPath(unquote(urlsplit(url).path)).name
        if not name or "/" in name or "\0" in name or name == "..":
            raise ValueError(f"{web.shown(url)!r} has no file name in it: give one, as {path}data.csv")
        path = f"{path}{name}" if path != "." else name
    target = target_of(path, storage)
    if target.is_dir():
        raise IsADirectoryError(f"{str(target)!r} is a folder; end the path with '/' to put the file into it")
    return target


# --- what is known of a download ------------------------------------------------------------------------------------


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _beside(target: Path, what: str) -> Path:
    """A hidden file beside the target."""
    return target.with_name(f".{target.name[:200]}.{what}")


def _is_there(target: Path, url: str) -> bool:
    """Is the file there, and from this address as far as one knows."""
    try:
        found = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    known = _known(target)
    return known.get("url") in (None, _hash(url)) or known.get("size") != found.st_size


def _known(target: Path) -> dict[str, Any]:
    """Of the file that lies there: who was killed before the rename has left the earlier one beside a newer note."""
    known = _read_json(_beside(target, "from"))
    before = known.pop("before", None) or {}
    try:
        here = target.stat().st_ino
    except OSError:
        return known
    return known if known.get("inode") in (None, here) else before


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_name(f"{path.name}.{os.urandom(6).hex()}")
    draft.write_text(json.dumps(value))
    draft.replace(path)


# --- one at a time --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(target: Path, url: str, deadline: float, seconds: float) -> Iterator[bool]:
    """True inside for the one who is to fetch, False for those for whom it was done meanwhile.

    The lock is the kernel's: when its holder dies, the next has it within milliseconds. Who waited while the holder
    failed gets the same error instead of trying it again.
    """
    from fused._cache.entry import clocks
    from fused._cache.locks import FileLock

    asked_ns = clocks.boot_ns()
    lock = FileLock(target.parent, _hash(target.name), "download")
    waited = False
    try:
        while not lock.try_acquire():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{web.shown(url)}: somebody else has been fetching it for more than {seconds:g} s")
            waited = True
            time.sleep(ASK_LOCK_S)
        if _is_there(target, url):
            yield False
            return
        failed = _read_json(_beside(target, "failed"))
        same = failed.get("boot") == clocks.boot_id.hex() and failed.get("url") == _hash(url)
        if waited and same and failed.get("ns", 0) >= asked_ns:
            raise DownloadError(str(failed.get("message")))
        with contextlib.suppress(FileNotFoundError):
            _beside(target, "failed").unlink()
        try:
            yield True
        except DownloadError as error:
            with contextlib.suppress(OSError):
                known = {
                    "url": _hash(url),
                    "boot": clocks.boot_id.hex(),
                    "ns": clocks.boot_ns(),
                    "message": error.message,
                }
                _write_json(_beside(target, "failed"), known)
            raise
    finally:
        lock.release()


def _fetch(url: str, target: Path, bytes_max: int | None, deadline: float) -> None:
    """Into a partial file, which takes the target's place when it is complete and on the disk."""
    partial = _beside(target, f"part-{_hash(url)[:16]}")
    _remove_stale(target, partial)
    try:
        file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(file, "r+b", buffering=0) as stream:
            progress = _Progress(target.name)
            try:
                _source(url)(url, stream, partial, bytes_max, deadline, progress)
            finally:
                progress.end()
            os.fsync(stream.fileno())
            size = os.fstat(stream.fileno()).st_size
        inode = os.stat(partial).st_ino
        _write_json(
            _beside(target, "from"), {"url": _hash(url), "size": size, "inode": inode, "before": _known(target)}
        )
        os.replace(partial, target)
        _sync(target.parent)
    except (web.Refused, web.Broken) as error:
        _drop_unless_resumable(partial)
        raise DownloadError(f"{web.shown(url)}: {error}") from None
    except TimeoutError:
        raise
    except DownloadError:
        raise
    except ValueError as error:  # an address that may not be asked
        _drop_unless_resumable(partial)
        raise DownloadError(f"{web.shown(url)}: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                partial.unlink()
        _drop_unless_resumable(partial)
        raise DownloadError(f"{web.shown(url)}: {error.strerror or error} (writing {str(target)!r})") from None
    with contextlib.suppress(FileNotFoundError):
        _beside(partial, "json").unlink()


def _drop_unless_resumable(partial: Path) -> None:
    with contextlib.suppress(OSError):
        if partial.stat().st_size == 0 or not _beside(partial, "json").exists():
            partial.unlink()
            _beside(partial, "json").unlink()


def _remove_stale(target: Path, keep: Path) -> None:
    """Parts of other addresses, and of long ago."""
    prefix = _beside(target, "part-").name
    for name in os.listdir(target.parent):
        if not name.startswith(prefix) and not name.startswith("." + prefix):
            continue
        path = target.parent / name
        with contextlib.suppress(OSError):
            if (
                not name.lstrip(".").startswith(keep.name.lstrip("."))
                or time.time() - path.stat().st_mtime > STALE_PART_S
            ):
                path.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- from where -----------------------------------------------------------------------------------------------------

Source = Callable[[str, BinaryIO, Path, int | None, float, web.Progress], None]


def _source(url: str) -> Source:
    scheme = urlsplit(url).scheme
    return _from_web if scheme in ("http", "https") else _from_file if scheme == "file" else _from_objects


def _from_web(
    url: str, file: BinaryIO, partial: Path, bytes_max: int | None, deadline: float, progress: web.Progress
) -> None:
    """Tries again after broken connections, from where it came to; how far that is survives this process."""
    note = _beside(partial, "json")
    part = web.Part()
    kept = _read_json(note)
    size = os.fstat(file.fileno()).st_size
    if isinstance(kept.get("validator"), str) and size > 0:
        part = web.Part(size, kept["validator"])
    wait = WAIT_BETWEEN_S
    for attempt in range(1, ATTEMPTS + 1):
        file.seek(part.size)
        file.truncate()
        try:
            web.fetch(url, file, part, bytes_max, deadline, _Noting(note, part, progress))
            web.check_digests(file, part)
            return
        except web.Broken as error:
            if part.validator is None:
                part.size = 0
            pause = min(
                WAIT_BETWEEN_S_MAX, error.after_s if error.after_s is not None else wait * random.uniform(0.8, 1.2)
            )
            if attempt == ATTEMPTS or time.monotonic() + pause >= deadline:
                tries = f" ({attempt} attempts)" if attempt > 1 else ""
                raise web.Refused(f"{error}{tries}; try later, or check the address") from None
            time.sleep(pause)
            wait *= 2


class _Noting:
    """Progress that also writes down which version of the file the part is of."""

    def __init__(self, note: Path, part: web.Part, progress: web.Progress) -> None:
        self._note, self._part, self._progress = note, part, progress
        self._noted: str | None = None

    def __call__(self, have: int, total: int | None) -> None:
        if self._part.validator != self._noted:
            self._noted = self._part.validator
            with contextlib.suppress(OSError):
                _write_json(self._note, {"validator": self._noted})
        self._progress(have, total)


def _from_file(
    url: str, file: BinaryIO, partial: Path, bytes_max: int | None, deadline: float, progress: web.Progress
) -> None:
    path = unquote(urlsplit(url).path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise web.Refused(f"{path!r}: {error.strerror}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise web.Refused(f"{path!r} is no regular file")
    with os.fdopen(descriptor, "rb") as source:
        if bytes_max is not None and found.st_size > bytes_max:
            raise web.Refused(f"it has {found.st_size} bytes; max_size allows {bytes_max}")
        file.seek(0)
        file.truncate()
        shutil.copyfileobj(source, file, 1 << 20)


def _from_objects(
    url: str, file: BinaryIO, partial: Path, bytes_max: int | None, deadline: float, progress: web.Progress
) -> None:
    """S3 and Google storage by Arrow, with the credentials and the endpoint of the environment."""
    import pyarrow
    from pyarrow import fs

    from fused import _object_store

    try:
        if url.startswith("s3://") and _object_store.endpoint() and "?" not in url:
            system: Any = _object_store.object_store()
            key = url.removeprefix("s3://")
        elif urlsplit(url).query and only_public():
            raise web.Refused(
                "an address with options (?endpoint_override=…) is not asked in functions on a server; the store "
                "is the one of `fused serve --s3-endpoint`"
            )
        else:
            system, key = fs.FileSystem.from_uri(url)
        found = system.get_file_info(key)
        if found.type != fs.FileType.File:
            raise web.Refused("there is no such object, or it may not be read; check bucket, key and credentials")
        if bytes_max is not None and found.size > bytes_max:
            raise web.Refused(f"it has {found.size} bytes; max_size allows {bytes_max}")
        file.seek(0)
        file.truncate()
        with system.open_input_stream(key) as source:
            while data := source.read(web.CHUNK_BYTES):
                if time.monotonic() > deadline:
                    raise web.Refused("it took longer than timeout= allows")
                file.write(data)
                progress(file.tell(), found.size)
        if file.tell() != found.size:
            raise web.Refused(f"{file.tell()} bytes came and {found.size} were announced; try again")
    except (OSError, pyarrow.ArrowException) as error:
        raise web.Refused(f"{str(error).splitlines()[0]}; check bucket, key and credentials") from None


class _Progress:
    """A line on a terminal for what takes longer than a second."""

    EVERY_S = 0.2

    def __init__(self, name: str) -> None:
        self._name = "".join(letter if letter.isprintable() else "?" for letter in name)
        self._began = time.monotonic()
        self._shown = 0.0
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, have: int, total: int | None) -> None:
        now = time.monotonic()
        if not self._terminal or now - self._began < 1 or now - self._shown < self.EVERY_S:
            return
        self._shown = now
        speed = have / (now - self._began) / 1e6
        if total:
            width = 30
            done = int(width * have / total)
            text = f"[{'=' * done}{' ' * (width - done)}] {100 * have // total}% of {total / 1e6:.1f} MB"
        else:
            text = f"{have / 1e6:.1f} MB"
        print(f"\r{self._name} {text}, {speed:.1f} MB/s ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print(file=sys.stderr)
