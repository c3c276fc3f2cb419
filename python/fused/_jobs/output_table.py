"""``run_remote(output_table=…)``: what the tasks of a job return becomes one table, in a step more.

Each task writes its part beside the table; a part that is there is not made again, so that a retry goes on where the
job before it ended. The last step makes the table of the parts and removes them.
"""

from __future__ import annotations

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
_WRITE = """

@fused.udf
def fused_write_part({signature}):
    from fused._jobs.output_table import write_part
    return write_part({entry}, dict({arguments}), {parts!r})
"""
_MAKE = """\
@fused.udf
def make_table(parts: str, table: str, overwrite: bool = False):
    from fused._jobs.output_table import make_table
    return make_table(parts, table, overwrite)
"""


def with_output(step: UdfJobStepConfig, table: str, overwrite: bool) -> JobConfig:
    """The step and the one that makes ``table`` of what its tasks return."""
    if step.udf is None:
        raise ValueError("output_table needs a function, and this step holds none; give it one with set_udf(udf)")
    parts = f"{table.rstrip('/')}.parts-{uuid.uuid4().hex[:12]}"
    described = step.udf.described
    names = [name for name in described.parameters if name.isidentifier()]
    any_keyword = "more" if "more" not in names else "more_arguments"
    signature = [f"{name}={MISSING!r}" for name in names]
    arguments = [f"{name}={name}" for name in names]
    if described.takes_any_keyword:
        signature.append(f"**{any_keyword}")
        arguments.append(f"**{any_keyword}")
    code = step.udf.code + _WRITE.format(
        signature=", ".join(signature),
        entry=step.udf.entrypoint,
        arguments=", ".join(arguments),
        parts=parts,
    )
    writer = step.udf.copy()
    writer.code = code
    writer._entrypoint = "fused_write_part"
    first = UdfJobStepConfig(
        writer, step.input, step.name or step.udf.name, step.metadata, step.ignore_chunk_error, step.n_processes
    )
    maker = Udf("make_table", _MAKE, entrypoint="make_table")
    maker.parameters = {"parts": parts, "table": table, "overwrite": overwrite}
    return JobConfig([first, UdfJobStepConfig(maker)])


def write_part(udf: Any, arguments: Mapping[str, Any], parts: str) -> dict[str, Any]:
    """In a task: runs the function with what was given and writes what it returns, unless that is there already."""
    import fused

    given = {name: value for name, value in arguments.items() if not (isinstance(value, str) and value == MISSING)}
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:32]
    filesystem, folder = _open(parts)
    path = f"{folder}/{digest}.parquet"
    if _is_there(filesystem, path):
        return {"part": path, "rows": None}
    value = fused.run(udf, engine="local", parameters=given)
    if value is None:
        return {"part": None, "rows": 0}
    if not hasattr(value, "to_parquet"):
        raise TypeError(
            f"with output_table the function returns a DataFrame or a GeoDataFrame, not {type(value).__name__}"
        )
    buffer = io.BytesIO()
    value.to_parquet(buffer, index=False)
    filesystem.create_dir(folder, recursive=True)
    unfinished = f"{path}.{uuid.uuid4().hex}"
    with filesystem.open_output_stream(unfinished) as stream:
        stream.write(buffer.getbuffer())
    filesystem.move(unfinished, path)
    return {"part": path, "rows": len(value)}


def make_table(parts: str, table: str, overwrite: bool) -> dict[str, Any]:
    """In the last step: one table of all parts; geodata where they have geometries."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    import fused

    filesystem, folder = _open(parts)
    listed = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    files = sorted(each.path for each in listed if each.path.endswith(".parquet"))
    if not files:
        raise ValueError(f"no task returned a table, so there is nothing to put into {table!r}")
    scheme = parts.partition("://")[0] + "://" if "://" in parts else ""
    inputs = [scheme + file for file in files]
    is_geo = b"geo" in (pq.read_schema(files[0], filesystem=filesystem).metadata or {})
    step: Any = fused.ingest if is_geo else fused.ingest_nongeospatial
    result = step(inputs, table, overwrite=overwrite).run_local()
    filesystem.delete_dir(folder)
    return {"table": table, "parts": len(files), "rows": result.summary.get("rows")}


def _open(url: str) -> tuple[fs.FileSystem, str]:
    from pyarrow import fs

    if "://" in url:
        filesystem, path = fs.FileSystem.from_uri(url)
        return filesystem, path
    return fs.LocalFileSystem(), url


def _is_there(filesystem: fs.FileSystem, path: str) -> bool:
    from pyarrow import fs

    return bool(filesystem.get_file_info(path).type == fs.FileType.File)
