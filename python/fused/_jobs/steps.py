"""The steps of a job that are no function of a user's: an ingest, run by the function that the server puts in its
place (``core/jobs/job_content.cpp``)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

_QUIET_SECONDS = 5.0  # between two lines of progress


def run_partition(step: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the table that the step describes, and prints how far it is; gives the summary.

    A task that is started again begins anew, and finds out whether the attempt before it had finished the table.
    """
    from fused.models.ingest import GeospatialPartitionJobStepConfig, NonGeospatialPartitionJobStepConfig

    kind = step.get("type")
    cls: type[Any] = (
        GeospatialPartitionJobStepConfig if kind == "partition_geospatial" else NonGeospatialPartitionJobStepConfig
    )
    known = {each.name for each in dataclasses.fields(cls)}
    unknown = sorted(set(step) - known - {"type"})
    if unknown:
        print(f"left out, because this server does not know them: {', '.join(unknown)}")
    # A client sends null where it leaves the choice to us.
    given = {name: value for name, value in step.items() if name in known and value is not None}
    if given.get("partitioning_force_utm") is None and "partitioning_force_utm" in step:
        given["partitioning_force_utm"] = None
    for name in ("input", "output", "output_metadata"):
        if name in given:
            given[name] = _path_of(given[name])
    print(f"ingest of {_shown(given.get('input'))} into {given.get('output')!r}", flush=True)
    try:
        if cls is GeospatialPartitionJobStepConfig:
            result = cls.of_json({"type": kind, **given}).run_local(on_progress=_Progress())
        else:
            result = cls(**given).run_local()
    except FileExistsError:
        output = given.get("output")
        if not _was_made_before(output):
            raise
        print(f"an earlier attempt of this task had made {output!r}")
        return {"output": output, "summary": {}, "notes": ["an earlier attempt had made the table"]}
    for note in result.notes:
        print(f"note: {note}")
    summary = dict(result.summary)
    print(", ".join(f"{name} {value}" for name, value in summary.items() if isinstance(value, int | float | str)))
    return {"output": result.output, "summary": summary, "notes": list(result.notes)}


def _was_made_before(output: Any) -> bool:
    """Is there a finished table that is younger than this job, where this is not the task's first attempt."""
    from pyarrow import fs

    from fused.context import get_global_context

    run = get_global_context()
    if run is None or int(run.values.get("attempt") or 1) < 2 or not isinstance(output, str):
        return False
    filesystem, path = fs.FileSystem.from_uri(output if "://" in output else f"file://{output}")
    sample = filesystem.get_file_info(f"{path.rstrip('/')}/_sample")
    made = sample.mtime_ns
    return made is not None and made // 1_000_000 >= int(run.values.get("submitted_ms") or 0)


class _Progress:
    """Prints a stage when it begins, and every few seconds how far it is."""

    def __init__(self) -> None:
        self._stage = ""
        self._at = 0.0

    def __call__(self, stage: str, done: int, of: int) -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._at < _QUIET_SECONDS:
            return
        self._stage, self._at = stage, now
        share = f" of {of:,}" if of else ""
        print(f"{stage}: {done:,}{share} rows", flush=True)


def _path_of(value: Any) -> Any:
    """``file:///mount/a`` is a path here."""
    if isinstance(value, list):
        return [_path_of(each) for each in value]
    return value.removeprefix("file://") if isinstance(value, str) and value.startswith("file:///") else value


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{len(value)} files, the first {value[0]!r}"
    return repr(value)
