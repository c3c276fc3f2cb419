"""Tables: reading what ``fused.ingest`` wrote. ``fused.read_table`` and its siblings are here too."""

from __future__ import annotations

from fused._table import get_chunk_from_table, get_chunks_metadata, read_table
from fused._table_check import describe, verify
from fused._table_to_tile import estimate_zoom, table_to_tile

__all__ = [
    "describe",
    "estimate_zoom",
    "get_chunk_from_table",
    "get_chunks_metadata",
    "read_table",
    "table_to_tile",
    "verify",
]
