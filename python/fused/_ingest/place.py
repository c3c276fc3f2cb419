"""Where a table is made and how it gets to its place: staging folder, lock, publishing, cleaning up."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fused.models.ingest import PartitionJobStepConfig


def shown(place: str) -> str:
    """A path, or a URL without what may hold keys: user and query."""
    scheme, found, rest = place.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else place


class Place:
    """``target`` is what the native writer gets: a folder, or an s3:// URL."""

    def __init__(self, config: PartitionJobStepConfig, staging: Path) -> None:
        self.config = config
        self.staging = staging
        self.resumes = False
        self.file_prefix = ""
        self.remote = bool(config.output) and _is_remote(str(config.output))
        self.old_objects: list[str] = []
        self.sample_begun = False  # from then on the new table may be what readers see

    @classmethod
    @contextmanager
    def take(cls, config: PartitionJobStepConfig, fingerprint: str, *, dry_run: bool, resume: bool) -> Iterator[Place]:
        """The place, locked; afterwards nothing of the staging folder is left, unless the process was killed."""
        if config.output is not None:
            config.output = str(config.output).removeprefix("file://")
        if dry_run or _is_remote(str(config.output)):
            with tempfile.TemporaryDirectory(prefix="fused-ingest-") as folder:
                place = cls(config, Path(folder))
                if dry_run:
                    yield place
                    return
                place._look_at_objects()
                try:
                    yield place
                except BaseException:
                    place.give_up()
                    raise
            return
        output = Path(str(config.output)).absolute()
        _check_output(output, config.overwrite)
        staging = output.parent / f".{output.name}.ingest"
        staging.parent.mkdir(parents=True, exist_ok=True)
        with _locked(staging, str(config.output)):
            place = cls(config, staging)
            place._clear_or_resume(fingerprint, resume)  # a refusal leaves what a killed ingest has done
            try:
                yield place
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    @property
    def target(self) -> str:
        """Folder or URL for data files and ``_sample``."""
        return str(self.config.output) if self.remote else str(self.staging / "table")

    def _clear_or_resume(self, fingerprint: str, resume: bool) -> None:
        mark = self.staging / "fingerprint"
        known = mark.read_text() if mark.exists() else ""
        self.resumes = resume and known == fingerprint
        if resume and known and not self.resumes:
            raise ValueError(
                "--resume: the interrupted ingest had other options or inputs; begin anew without --resume"
            )
        if not self.resumes:
            for each in self.staging.iterdir():
                if each.name == "lock":
                    continue
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        (self.staging / "table").mkdir(exist_ok=True)
        mark.write_text(fingerprint)

    def publish(self, metadata: bytes | None) -> None:
        """The table takes its place, then the table of chunks, which was made beside its own place before."""
        where = str(self.config.output_metadata)
        prepared = None if metadata is None or _is_remote(where) else _prepare(where, metadata)
        try:
            if self.remote:
                self._remove_old_objects()
            else:
                from fused import _native

                for left in (self.staging / "table").glob(".writing-*"):
                    left.unlink()
                _native.publish_folder(str(self.staging / "table"), str(Path(str(self.config.output)).absolute()))
            if prepared is not None:
                prepared.replace(_file_of(where))
            elif metadata is not None:
                _upload(where, metadata)
        except BaseException:
            if prepared is not None:
                prepared.unlink(missing_ok=True)
            raise

    def give_up(self) -> None:
        """After a failure on S3, before ``_sample`` was begun: removes what was uploaded, as far as S3 lets us."""
        if not self.remote or self.sample_begun:
            return
        from pyarrow import fs

        try:
            system, key = fs.FileSystem.from_uri(str(self.config.output))
            found = system.get_file_info(fs.FileSelector(key, recursive=True, allow_not_found=True))
            for each in found:
                own = Path(each.path).name.startswith(self.file_prefix) and each.path not in self.old_objects
                if each.type == fs.FileType.File and own and each.path.endswith(".parquet"):
                    system.delete_file(each.path)
        except OSError:
            pass  # the error that ended the ingest is the one to tell; the next ingest removes what is left

    def _look_at_objects(self) -> None:
        """What lies at an S3 output; file names that it has not used."""
        from pyarrow import fs

        system, key = fs.FileSystem.from_uri(str(self.config.output))
        found = system.get_file_info(fs.FileSelector(key, recursive=True, allow_not_found=True))
        names = [each.path for each in found if each.type == fs.FileType.File]
        if names and not self.config.overwrite:
            raise FileExistsError(
                f"{shown(str(self.config.output))} is not empty; overwrite=True replaces the table there"
            )
        self.old_objects = names
        used = {Path(each).name for each in names}
        generation = 0
        while any(each.startswith(self.file_prefix) and each.endswith(".parquet") for each in used):
            generation += 1
            self.file_prefix = f"g{generation}-"

    def _remove_old_objects(self) -> None:
        if not self.old_objects:
            return
        from pyarrow import fs

        system, _ = fs.FileSystem.from_uri(str(self.config.output))
        for path in self.old_objects:
            if Path(path).name != "_sample":
                system.delete_file(path)


def _locked(staging: Path, output: str) -> IO[str]:
    """The lock file of ``staging``, which is made, held. ``OSError`` when somebody else holds it."""
    while True:
        staging.mkdir(exist_ok=True)
        try:
            lock = (staging / "lock").open("w")
        except FileNotFoundError:  # who ended just now has removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(staging / "lock")):
                return lock
        except BlockingIOError:
            lock.close()
            raise OSError(f"another ingest into {output!r} is running") from None
        except FileNotFoundError:
            pass
        lock.close()  # it was removed between its opening and its lock: it locks nobody out


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise FileExistsError(f"{output} is a file; a table is a folder")
    names = [each.name for each in output.iterdir()]
    if not names:
        return
    if not overwrite:
        raise FileExistsError(f"{output} is not empty; overwrite=True (--overwrite) replaces the table there")
    foreign = [name for name in names if name != "_sample" and not name.endswith(".parquet")]
    if foreign:
        raise FileExistsError(
            f"{output} holds what no table holds ({', '.join(map(repr, sorted(foreign)[:3]))}); it is not replaced"
        )


def _is_remote(where: str) -> bool:
    return "://" in where and not where.startswith("file://")


def _file_of(where: str) -> Path:
    """The GeoParquet of the chunks: at the path itself when it ends so, else ``0.parquet`` in that folder."""
    path = Path(where.removeprefix("file://"))
    return path if path.suffix == ".parquet" else path / "0.parquet"


def _prepare(where: str, data: bytes) -> Path:
    """The file under a temporary name beside its own, safe on disk."""
    path = _file_of(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _upload(where: str, data: bytes) -> None:
    from pyarrow import fs

    system, key = fs.FileSystem.from_uri(where)
    try:
        with system.open_output_stream(key if key.endswith(".parquet") else f"{key}/0.parquet") as out:
            out.write(data)
    except OSError as error:
        raise OSError(f"the table is in its place; its output_metadata could not be written: {error}") from None
