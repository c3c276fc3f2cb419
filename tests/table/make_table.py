"""A table as ``ingest`` writes it, made by pyarrow alone: so that reads are tested without the writer."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COVERING = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}


def polygons(rows: int, seed: int = 1, spread: float = 10.0) -> gpd.GeoDataFrame:
    """Small turned rectangles around 8° E, 47° N; every 50th a line, every 70th without geometry."""
    import shapely

    random = np.random.default_rng(seed)
    x, y = 8 + random.normal(0, spread / 3, rows), 47 + random.normal(0, spread / 3, rows)
    turn, wide, high = (
        random.uniform(0, np.pi, rows),
        random.uniform(0.001, 0.05, rows),
        random.uniform(0.001, 0.05, rows),
    )
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2
    rings = np.empty((rows, 5, 2))
    for i, (a, b) in enumerate(corners):
        rings[:, i, 0] = x + a * wide * np.cos(turn) - b * high * np.sin(turn)
        rings[:, i, 1] = y + a * wide * np.sin(turn) + b * high * np.cos(turn)
    shapes = shapely.polygons(rings)
    shapes[::50] = shapely.linestrings(rings[::50, :3])
    shapes[::70] = None
    return gpd.GeoDataFrame(
        {
            "id": np.arange(rows),
            "height": random.uniform(2, 40, rows).round(2),
            "cls": random.choice(["house", "shed", "shop"], rows),
            "note": [None if i % 3 else f"note {i}" for i in range(rows)],
            "tags": [["a"] * (i % 4) for i in range(rows)],
        },
        geometry=shapes,
        crs=4326,
    )


def _with_boxes(frame: gpd.GeoDataFrame) -> pa.Table:
    """Arrow columns, WKB, and the covering as floats rounded outwards."""
    table = pa.table(frame.to_arrow(index=False, geometry_encoding="WKB"))
    bounds = frame.geometry.bounds.to_numpy()
    low = np.nextafter(bounds[:, :2].astype("float32"), np.float32(-np.inf))
    high = np.nextafter(bounds[:, 2:].astype("float32"), np.float32(np.inf))
    sides = {"xmin": low[:, 0], "ymin": low[:, 1], "xmax": high[:, 0], "ymax": high[:, 1]}
    missing = np.isnan(bounds[:, 0])
    box = pa.StructArray.from_arrays(
        [pa.array(values, pa.float32()) for values in sides.values()], names=list(sides), mask=pa.array(missing)
    )
    at = table.schema.get_field_index("geometry")
    plain = table.set_column(at, "geometry", table.column("geometry").cast(pa.binary()))
    return plain.append_column("bbox", box)


def _geo(covering: bool) -> bytes:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": []}
    if covering:
        column["covering"] = COVERING
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}).encode()


def sample_of(rows: Sequence[dict[str, Any]], version: str = "5") -> bytes:
    """The bytes of a `_sample`, written by hand from the reference's description."""
    inner = io.BytesIO()
    names = ("file_id", "chunk_id", "bbox_minx", "bbox_miny", "bbox_maxx", "bbox_maxy", "sum_area", "sum_length",
             "num_coords", "num_rows")  # fmt: skip
    kinds = [pa.string(), pa.int64(), *[pa.float64()] * 6, pa.int64(), pa.int64()]
    pq.write_table(
        pa.table([pa.array([row[name] for row in rows], kind) for name, kind in zip(names, kinds, strict=True)], names),
        inner,
    )
    blob = inner.getvalue()
    if version == "4":
        blob = blob[:20] + bytes(20) + blob[20:]
    metadata = {"fused:format_version": version, "fused:_metadata": base64.encodebytes(blob)}
    outer = io.BytesIO()
    pq.write_table(pa.schema([("fused_index", pa.int64())], metadata=metadata).empty_table(), outer)
    return outer.getvalue()


def chunk_row(frame: gpd.GeoDataFrame, file_id: str, chunk_id: int) -> dict[str, Any]:
    shapes = frame.geometry.dropna().set_crs(None, allow_override=True)
    box = shapes.total_bounds
    return {
        "file_id": file_id, "chunk_id": chunk_id,
        "bbox_minx": box[0], "bbox_miny": box[1], "bbox_maxx": box[2], "bbox_maxy": box[3],
        "sum_area": float(shapes.area.sum()), "sum_length": float(shapes.length.sum()),
        "num_coords": int(shapes.count_coordinates().sum()), "num_rows": len(frame),
    }  # fmt: skip


def write_table(
    frame: gpd.GeoDataFrame,
    folder: Path,
    *,
    files: int = 3,
    chunks: int = 4,
    page_rows: int | None = 100,
    covering: bool = True,
    version: str = "5",
    page_bytes: int | None = None,
) -> gpd.GeoDataFrame:
    """Sorts the rows along a Hilbert curve and writes `files` × `chunks`; gives the frame in the table's order."""
    folder.mkdir(parents=True, exist_ok=True)
    nowhere = frame.geometry.isna() | frame.geometry.is_empty
    anywhere = gpd.GeoSeries.from_wkt(["POINT (8 47)"], crs=4326)[0]
    order = np.argsort(frame.geometry.mask(nowhere, anywhere).hilbert_distance(), kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    rows = []
    for f, part in enumerate(np.array_split(np.arange(len(frame)), files)):
        schema, writer = None, None
        for c, piece in enumerate(np.array_split(part, chunks)):
            of_chunk = frame.iloc[piece]
            table = _with_boxes(of_chunk)
            if not covering:
                table = table.drop_columns(["bbox"])
            if writer is None:
                schema = table.schema.with_metadata({b"geo": _geo(covering)})
                paging: dict[str, Any] = {}
                if page_rows:
                    paging = {"write_page_index": True, "max_rows_per_page": page_rows}
                if page_bytes:  # pages of the columns do not begin at the same rows then
                    paging = {"write_page_index": True, "data_page_size": page_bytes, "write_batch_size": 32}
                writer = pq.ParquetWriter(
                    folder / f"{f}.parquet", schema, compression="zstd", use_dictionary=["cls"], **paging
                )
            writer.write_table(table.cast(schema), row_group_size=max(len(piece), 1))
            rows.append(chunk_row(of_chunk, str(f), c))
        if writer is not None:
            writer.close()
    (folder / "_sample").write_bytes(sample_of(rows, version))
    return frame


if __name__ == "__main__":
    import sys

    write_table(polygons(3_000), Path(sys.argv[1]))
