"""Ingests in notebooks and as pictures."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fused._ingest.result import IngestResult
    from fused.models.ingest import GeospatialPartitionJobStepConfig

COLOURS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#9c755f")
SHOWN_MAX = 5000  # boxes in a notebook's picture


def config_html(config: GeospatialPartitionJobStepConfig) -> str:
    """The settings that are not the default, as a table."""
    text = html.escape(repr(config))
    return f"<div><b>ingest</b>, not started: <code>.run_local()</code> starts it<pre>{text}</pre></div>"


def result_html(result: IngestResult) -> str:
    """Summary and a picture of the chunks' boxes."""
    lines = "<br>".join(html.escape(line) for line in result.lines())
    return f"<div>{lines}</div>{_svg(result)}"


def _svg(result: IngestResult) -> str:
    boxes = [box for box in result.chunks if not math.isnan(box[0])]
    if not boxes:
        return ""
    west, south = min(box[0] for box in boxes), min(box[1] for box in boxes)
    east, north = max(box[2] for box in boxes), max(box[3] for box in boxes)
    width, height = max(east - west, 1e-9), max(north - south, 1e-9)
    colours = _colours(boxes)
    shapes = "".join(
        f'<rect x="{box[0] - west:.6g}" y="{north - box[3]:.6g}" width="{max(box[2] - box[0], width / 400):.6g}" '
        f'height="{max(box[3] - box[1], height / 400):.6g}" stroke="{colours[box[5]]}" fill="{colours[box[5]]}"/>'
        for box in boxes[:SHOWN_MAX]
    )
    return (
        f'<svg viewBox="0 0 {width:.6g} {height:.6g}" style="max-width:640px;max-height:480px" fill-opacity="0.15" '
        f'stroke-width="{width / 800:.6g}">{shapes}</svg>'
    )


def _colours(boxes: list[Any]) -> dict[str, str]:
    files = dict.fromkeys(box[5] for box in boxes)
    return {file: COLOURS[at % len(COLOURS)] for at, file in enumerate(files)}


def plot_chunks(result: IngestResult, path: str) -> None:
    """Needs matplotlib (``pip install 'fused-server[geo]'``)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import PatchCollection
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise ValueError("a picture needs matplotlib: pip install matplotlib") from None
    boxes = [box for box in result.chunks if not math.isnan(box[0])]
    figure = Figure(figsize=(12, 7), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = _colours(boxes)
    patches = [Rectangle((box[0], box[1]), box[2] - box[0], box[3] - box[1]) for box in boxes]
    edges = [colours[box[5]] for box in boxes]
    axes.add_collection(PatchCollection(patches, facecolor=edges, edgecolor=edges, alpha=0.3, linewidth=0.6))
    axes.autoscale_view()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(result.lines()[0])
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    figure.savefig(path, bbox_inches="tight")
