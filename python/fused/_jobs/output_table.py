"""``run_remote(output_table=…)``: what the tasks of a job return becomes one table, in a step more.

Beside the table lies a folder ``TABLE.parts-…`` with a folder for each job that makes parts for it: the first, and its
retries. A task writes its part when it ends; an attempt more of it finds that part. The last step makes the table of
the parts, notes that it has, and removes them; killed anywhere it is started again without loss:

- a retry has fewer tasks than the function had items; what it lacks are parts of the jobs before it;
- a rerun has all, and uses only its own: it is another job with the same folder in its text.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fused.models.job import JobConfig
from fused.models.step import UdfJobStepConfig
from fused.models.udf import Udf

if TYPE_CHECKING:
    from pyarrow import fs

MISSING = "\0not given"  # JSON carries it, and no caller writes it
NUMBER = "fused_part_number"  # of an item among all, which keeps it in a retry; two may be equal otherwise
MADE = "_made"  # the note that the table is whole
_WRITE = """

@fused.udf
def fused_write_part({signature}):
    from fused._jobs.output_table import write_part
    return write_part({entry}, dict({arguments}), {parts!r}, {number})
"""
_MAKE = """\
@fused.udf
def make_table(parts: str, table: str, overwrite: bool = False, items: int = 0, all_needed: bool = True):
    from fused._jobs.output_table import make_table
    return make_table(parts, table, overwrite, items, all_needed)
"""


def with_output(step: UdfJobStepConfig, table: str, overwrite: bool) -> JobConfig:
    """The step and the one that makes ``table`` of what its tasks return."""
    if step.udf is None:
        raise ValueError("output_table needs a function, and this step holds none; give it one with set_udf(udf)")
    parts = f"{table.rstrip('/')}.parts-{uuid.uuid4().hex[:12]}"
    described = step.udf.described
    names = [name for name in described.parameters if name.isidentifier()]
    if NUMBER in names:
        raise ValueError(f"with output_table a parameter cannot be named {NUMBER!r}; give it another name")
    any_keyword = "more" if "more" not in names else "more_arguments"
    signature = [f"{name}={MISSING!r}" for name in names]
    arguments = [f"{name}={name}" for name in names]
    signature.append(f"{NUMBER}=0")
    if described.takes_any_keyword:
        signature.append(f"**{any_keyword}")
        arguments.append(f"**{any_keyword}")
    code = step.udf.code + _WRITE.format(
        signature=", ".join(signature),
        entry=step.udf.entrypoint,
        arguments=", ".join(arguments),
        parts=parts,
        number=NUMBER,
    )
    writer = step.udf.copy()
    writer.code = code
    writer._entrypoint = "fused_write_part"
    items = None if step.input is None else [_numbered(item, at, names) for at, item in enumerate(step.input)]
    first = UdfJobStepConfig(
        writer, items, step.name or step.udf.name, step.metadata, step.ignore_chunk_error, step.n_processes
    )
    maker = Udf("make_table", _MAKE, entrypoint="make_table")
    maker.parameters = {
        "parts": parts,
        "table": table,
        "overwrite": overwrite,
        "items": 1 if items is None else len(items),
        "all_needed": not step.ignore_chunk_error,
    }
    return JobConfig([first, UdfJobStepConfig(maker)])


def _numbered(item: Any, at: int, names: list[str]) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return {**item, NUMBER: at}
    if not names:
        raise ValueError(f"item {at} of the input is {item!r}, and the function has no parameter to take it")
    return {names[0]: item, NUMBER: at}


def write_part(udf: Any, arguments: Mapping[str, Any], parts: str, number: int) -> dict[str, Any]:
    """In a task: runs the function with what was given and writes what it returns, unless an attempt of this task
    before it has.
    """
    import fused

    given = {name: value for name, value in arguments.items() if not (isinstance(value, str) and value == MISSING)}
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:16]
    filesystem, base = _open(parts)
    folder = f"{base}/{_job()}"
    path = f"{folder}/{number:09}-{digest}"
    if _is_there(filesystem, f"{path}.parquet") or _is_there(filesystem, f"{path}.none"):
        return {"part": path, "rows": None}
    value = fused.run(udf, engine="local", parameters=given)
    if value is None:
        _put(filesystem, f"{path}.none", b"")
        return {"part": None, "rows": 0}
    if not hasattr(value, "to_parquet"):
        raise TypeError(
            f"with output_table the function returns a DataFrame or a GeoDataFrame, not {type(value).__name__}"
        )
    buffer = io.BytesIO()
    value.to_parquet(buffer, index=False)
    _put(filesystem, f"{path}.parquet", buffer.getbuffer())
    return {"part": f"{path}.parquet", "rows": len(value)}


def make_table(parts: str, table: str, overwrite: bool, items: int, all_needed: bool) -> dict[str, Any]:
    """In the last step: one table of all parts, in the order of the items; geodata where they have geometries."""
    filesystem, base = _open(parts)
    tasks = _context("task")
    is_retry = tasks is not None and int(tasks) < items  # this step's number: how many tasks the job has before it
    made = _made(filesystem, base, is_retry)
    if made is None:
        made = _make(filesystem, base, parts, table, overwrite, is_retry, items if all_needed else None)
    _remove(filesystem, base, made["folders"])
    return {"table": table, "parts": made["parts"], "rows": made["rows"]}


def _make(
    filesystem: fs.FileSystem,
    base: str,
    parts: str,
    table: str,
    overwrite: bool,
    is_retry: bool,
    needed: int | None,
) -> dict[str, Any]:
    import pyarrow.parquet as pq

    import fused
    from fused._jobs.steps import _was_made_before

    found = _parts(filesystem, base, is_retry)
    if not found and _was_made_before(table):  # also the note was removed; of the folder itself only its end is left
        return {"parts": None, "rows": None, "folders": [_job()]}
    if needed is not None and len(found) != needed:
        raise ValueError(
            f"{len(found)} of {needed} parts are in {parts!r}: somebody removed the others; run the whole again with "
            "`fused jobs rerun`"
        )
    files = [path for _, path in sorted(found.items()) if path.endswith(".parquet")]
    if not files:
        raise ValueError(f"no task returned a table, so there is nothing to put into {table!r}")
    scheme = parts.partition("://")[0] + "://" if "://" in parts else ""
    is_geo = b"geo" in (pq.read_schema(files[0], filesystem=filesystem).metadata or {})
    step: Any = fused.ingest if is_geo else fused.ingest_nongeospatial
    rows = None
    try:
        result = step([scheme + file for file in files], table, overwrite=overwrite).run_local()
        rows = result.summary.get("rows")
    except FileExistsError:
        if not _was_made_before(table):
            raise
        print(f"an earlier attempt of this task had made {table!r}")
    folders = sorted({path.rsplit("/", 2)[-2] for path in found.values()} | {_job()})
    made = {"parts": len(files), "rows": rows, "folders": folders}
    _put(filesystem, f"{base}/{_job()}/{MADE}", json.dumps(made).encode())
    return made


def _made(filesystem: fs.FileSystem, base: str, is_retry: bool) -> dict[str, Any] | None:
    """The note of this job; for a retry also that of a job before it, which may have failed after it."""
    for folder in _folders(filesystem, base) if is_retry else [_job()]:
        if _is_there(filesystem, f"{base}/{folder}/{MADE}"):
            with filesystem.open_input_stream(f"{base}/{folder}/{MADE}") as stream:
                made: dict[str, Any] = json.loads(stream.read())
            return {**made, "folders": sorted({*made["folders"], folder})}
    return None


def _parts(filesystem: fs.FileSystem, base: str, is_retry: bool) -> dict[str, str]:
    """The paths of the parts by name: this job's, and for a retry those of the jobs before it that this has not."""
    found: dict[str, tuple[bool, int, str]] = {}
    for folder in _folders(filesystem, base) if is_retry else [_job()]:
        for each in _files(filesystem, f"{base}/{folder}"):
            name, _, kind = each.base_name.rpartition(".")
            if kind not in ("parquet", "none"):
                continue  # one that was being written when its task was ended
            rank = (folder == _job(), each.mtime_ns or 0, each.path)
            found[name] = max(found.get(name, rank), rank)
    return {name: path for name, (_, _, path) in found.items()}


def _remove(filesystem: fs.FileSystem, base: str, folders: list[str]) -> None:
    """Removes the parts; the note that the table is whole goes last."""
    try:
        notes = []
        for folder in folders:
            for each in _files(filesystem, f"{base}/{folder}"):
                if each.base_name == MADE:
                    notes.append(each.path)
                else:
                    filesystem.delete_file(each.path)
        for note in notes:
            filesystem.delete_file(note)
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_dir(f"{base}/{folder}")
        if not _folders(filesystem, base):
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_dir(base)
    except OSError as error:
        print(f"note: the table is whole; its parts in {base!r} could not be removed: {error}")


def _job() -> str:
    return str(_context("job_id") or "here")


def _context(name: str) -> Any:
    from fused.context import get_global_context

    run = get_global_context()
    return None if run is None else run.values.get(name)


def _folders(filesystem: fs.FileSystem, base: str) -> list[str]:
    from pyarrow import fs

    listed = filesystem.get_file_info(fs.FileSelector(base, allow_not_found=True))
    return sorted(each.base_name for each in listed if each.type == fs.FileType.Directory)


def _files(filesystem: fs.FileSystem, folder: str) -> list[Any]:
    from pyarrow import fs

    listed = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    return [each for each in listed if each.type == fs.FileType.File]


def _put(filesystem: fs.FileSystem, path: str, data: bytes | memoryview) -> None:
    """Whole or not at all."""
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    unfinished = f"{path}.{uuid.uuid4().hex}"
    with filesystem.open_output_stream(unfinished) as stream:
        stream.write(data)
    filesystem.move(unfinished, path)


def _open(url: str) -> tuple[fs.FileSystem, str]:
    from pyarrow import fs

    if "://" in url:
        filesystem, path = fs.FileSystem.from_uri(url)
        return filesystem, path
    return fs.LocalFileSystem(), url


def _is_there(filesystem: fs.FileSystem, path: str) -> bool:
    from pyarrow import fs

    return bool(filesystem.get_file_info(path).type == fs.FileType.File)
