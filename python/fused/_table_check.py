"""What a table holds, and whether all of it is as its ``_sample`` says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

PROBLEMS_MAX = 100


@dataclass
class Checked:
    """The result of ``verify``: sound when ``problems`` is empty."""

    rows: int = 0
    chunks: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)


def describe(url: str) -> dict[str, Any]:
    """Rows, chunks, files, bounds and columns of a table; only its chunk list and one footer are read."""
    import pyarrow as pa

    from fused._table import get_chunks_metadata, native

    chunks = get_chunks_metadata(url)
    counted = "num_rows" in chunks.columns and chunks["num_rows"].notna().all()
    columns: list[dict[str, str]] = []
    if len(chunks):
        schema = pa.table(native("table_read", url, [1e9] * 4, [], "", -1)).schema
        columns = [{"name": entry.name, "type": str(entry.type)} for entry in schema]
    boxes = chunks.geometry.dropna()
    return {
        "url": url,
        "rows": int(chunks["num_rows"].sum()) if counted else None,
        "chunks": len(chunks),
        "files": int(chunks["file_id"].nunique()),
        "bounds": [float(side) for side in boxes.total_bounds] if len(boxes) else None,
        "columns": columns,
    }


def verify(url: str, progress: bool = False) -> Checked:
    """Reads every chunk (page checksums are compared) and looks whether rows, positions and boxes are what the chunk
    list says, rows lie in the boxes of their bbox column, and the list names every row group of its files, in order.
    Problems name file and chunk."""
    from fused._table import get_chunk_from_table, get_chunks_metadata

    chunks = get_chunks_metadata(url)
    found = Checked(chunks=len(chunks), files=int(chunks["file_id"].nunique()))
    found.problems += _order(url, chunks)
    for number, said in enumerate(chunks.to_dict("records")):
        if progress:
            print(f"\r{number + 1} of {len(chunks)} chunks", end="", file=sys.stderr)
        where = f"file {said['file_id']}, chunk {said['chunk_id']}"
        try:
            frame = get_chunk_from_table(url, said["file_id"], said["chunk_id"])
        except (OSError, ValueError, RuntimeError) as error:
            found.problems.append(f"{where}: {error}")
        else:
            found.rows += len(frame)
            found.problems += [f"{where}: {problem}" for problem in _differences(said, frame)]
            found.problems += [f"{where}: {problem}" for problem in _outside(url, said, frame)]
        if len(found.problems) >= PROBLEMS_MAX:
            found.problems.append(f"… and perhaps more: stopped after {number + 1} of {len(chunks)} chunks")
            break
    if progress:
        print(file=sys.stderr)
    return found


def _differences(said: dict[str, Any], frame: Any) -> list[str]:
    problems = []
    if said.get("num_rows", -1) >= 0 and said["num_rows"] != len(frame):
        problems.append(f"it has {len(frame)} rows, the chunk list says {said['num_rows']}")
    if not hasattr(frame, "geometry"):
        return problems
    shapes = frame.geometry[frame.geometry.notna() & ~frame.geometry.is_empty]
    box = [said[side] for side in ("bbox_minx", "bbox_miny", "bbox_maxx", "bbox_maxy")]
    if len(shapes) and box[0] == box[0]:
        true = shapes.total_bounds
        if true[0] < box[0] or true[1] < box[1] or true[2] > box[2] or true[3] > box[3]:
            problems.append(f"its geometries reach to {tuple(true.round(6))}, out of its box {tuple(box)}")
    elif len(shapes):
        problems.append(f"it holds {len(shapes)} geometries and has no box")
    if said.get("num_coords", -1) >= 0 and (count := int(shapes.count_coordinates().sum())) != said["num_coords"]:
        problems.append(f"it has {count} positions, the chunk list says {said['num_coords']}")
    return problems


def _order(url: str, chunks: Any) -> list[str]:
    """Chunks of a file stand together, from 0 on; a file has no row group that the list does not name."""
    from fused._table import get_chunk_from_table

    problems = []
    for file, ids in chunks.groupby("file_id", sort=False)["chunk_id"]:
        if list(ids) != list(range(len(ids))):
            problems.append(f"file {file}: its chunks stand in the list as {list(ids)[:10]}, not from 0 in order")
            continue
        try:
            get_chunk_from_table(url, file, len(ids), columns=None)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RuntimeError):
            continue  # told when its chunks are read
        problems.append(f"file {file}: it has more row groups than the {len(ids)} chunks of the list")
    return problems


def _outside(url: str, said: dict[str, Any], frame: Any) -> list[str]:
    """Rows that reach out of their own box: readers that prune by it would not find them."""
    from fused._table import get_chunk_from_table

    if not hasattr(frame, "geometry") or not len(frame):
        return []
    try:
        boxes = get_chunk_from_table(url, said["file_id"], said["chunk_id"], columns=["bbox"])["bbox"]
        sides = [[None if box is None else box[side] for box in boxes] for side in ("xmin", "ymin", "xmax", "ymax")]
    except (FileNotFoundError, KeyError, TypeError):
        return []  # no such column, or not a covering
    import numpy as np

    low_x, low_y, high_x, high_y = (np.array(each, dtype=float) for each in sides)
    true = frame.geometry.bounds.to_numpy()
    has = ~np.isnan(true[:, 0])
    good = (low_x <= true[:, 0]) & (low_y <= true[:, 1]) & (high_x >= true[:, 2]) & (high_y >= true[:, 3])
    wrong = np.flatnonzero(has & ~good)
    return [] if not len(wrong) else [f"row {wrong[0]} (and {len(wrong) - 1} others) reach out of their bbox"]
