"""What an ingest did, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Box = tuple[float, float, float, float, int, str]


@dataclass(repr=False)
class IngestResult:
    """``summary``: counts by name. ``chunks``: box, rows and file of each chunk. ``notes``: what to know."""

    summary: dict[str, Any]
    output: str | None
    chunks: list[Box] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dry_run: bool = False

    @property
    def rows(self) -> int:
        """Of the table."""
        return int(self.summary["rows"])

    def lines(self) -> list[str]:
        """The summary as text."""
        said = self.summary
        filled = sorted(said["chunk_rows"])
        verb = "would be written to" if self.dry_run else "written to"
        lines = [
            f"{said['rows']:,} rows {verb} {self.output or 'a table'}: "
            f"{said['files']:,} files, {said['chunks']:,} chunks"
        ]
        if filled:
            middle = filled[len(filled) // 2]
            lines.append(f"rows a chunk: {filled[0]:,} … {filled[-1]:,}, half have at least {middle:,}")
        if not self.dry_run:
            rate = said["rows"] / max(said["seconds"], 1e-9)
            lines.append(f"{said['bytes'] / 1e6:,.1f} MB in {said['seconds']:.2f} s, {rate:,.0f} rows/s")
        if said["scratch_bytes"]:
            lines.append(
                f"the rows did not fit into memory: {said['scratch_bytes'] / 1e6:,.0f} MB of scratch were used"
            )
        counts = {
            "out_of_bounds": "rows lie outside of the world's bounds: left out (drop_out_of_bounds=False keeps them)",
            "partly_outside": "rows reach beyond longitude ±180 or latitude ±90",
            "without_geometry": "rows have no geometry, or an empty one: they stand in chunks of their own",
            "subdivided": "geometries were divided",
        }
        lines += [f"{said[key]:,} {text}" for key, text in counts.items() if said[key]]
        return lines + self.notes

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from fused._ingest.show import result_html

        return result_html(self)

    def plot(self, path: str) -> None:
        """A picture (PNG, SVG, PDF by the name) of the chunks' boxes, a colour for each file."""
        from fused._ingest.show import plot_chunks

        plot_chunks(self, path)
