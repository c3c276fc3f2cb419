"""Geodata becomes a table: ``fused.ingest`` and what it does around the native part (``core/ingest``)."""
