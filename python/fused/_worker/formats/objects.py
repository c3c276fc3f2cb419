"""Values that bring their own form: text, bytes, HTML and figure objects, Response objects."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

from . import rasters, values
from .base import CONTENT_TYPES, Encoded, NotSerialisable, Request, Unsuited, remembered_by_type, type_name

TEXT_FORMATS = ("html", "json", "txt", "csv", "xml", "svg", "geojson")
_FIGURE_FORMATS = ("png", "svg", "jpeg", "webp", "tiff", "html")
_IMAGES = ("png", "jpeg", "webp", "gif", "tiff")
_GEOJSON_TYPES = frozenset(
    [
        "FeatureCollection",
        "Feature",
        "Point",
        "MultiPoint",
        "LineString",
        "MultiLineString",
        "Polygon",
        "MultiPolygon",
        "GeometryCollection",
    ]
)
_HOP_BY_HOP = frozenset(
    [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


# --- text and bytes


def text_formats(text: str) -> list[str]:
    """What a text may be served as: any of the text formats that it does not contradict."""
    start = text.lstrip("\ufeff \t\r\n")[:256].lower()
    found = ["html", "json", "txt", "csv"]
    if start.startswith("<"):
        found.append("xml")
    if "<svg" in start:
        found.append("svg")
    if start.startswith("{") and _geojson_type(_loaded(text)):
        found.append("geojson")
    return found


def encode_text(text: str, name: str, request: Request) -> Encoded:
    if name == "json":
        return Encoded(CONTENT_TYPES["json"], "json", values.dumps(text))
    if name not in text_formats(text):
        raise Unsuited(f"this text is no {name}")
    return Encoded(CONTENT_TYPES[name], name, text.encode("utf-8", "replace"))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _geojson_type(value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") in _GEOJSON_TYPES


def is_geojson(value: Any) -> bool:
    return type(value) is dict and isinstance(value.get("type"), str) and _geojson_type(value)


_SIGNATURES: list[tuple[bytes, str, str]] = [
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpeg", "image/jpeg"),
    (b"GIF8", "gif", "image/gif"),
    (b"II*\x00", "tiff", "image/tiff"),
    (b"MM\x00*", "tiff", "image/tiff"),
    (b"II+\x00", "tiff", "image/tiff"),
    (b"PAR1", "parquet", CONTENT_TYPES["parquet"]),
    (b"ARROW1", "feather", CONTENT_TYPES["feather"]),
    (b"\x93NUMPY", "npy", CONTENT_TYPES["npy"]),
    (b"%PDF-", "pdf", "application/pdf"),
    (b"\x1f\x8b", "gz", "application/gzip"),
]


def sniff(data: bytes) -> tuple[str, str] | None:
    """Format and content type of bytes that begin with a known signature."""
    for signature, name, content_type in _SIGNATURES:
        if data.startswith(signature):
            return name, content_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp", "image/webp"
    if data[:4] == b"PK\x03\x04":
        if b"xl/" in data[:4096] or b"[Content_Types].xml" in data[:128]:
            return "xlsx", CONTENT_TYPES["xlsx"]
        return "zip", CONTENT_TYPES["zip"]
    return None


def to_bytes(value: Any) -> bytes:
    return value.getvalue() if isinstance(value, io.BytesIO) else bytes(value)


def byte_formats(data: bytes) -> list[str]:
    known = sniff(data)
    if known is None:
        return list(CONTENT_TYPES)
    return [known[0], *(name for name in _IMAGES if known[0] in _IMAGES and name != known[0])]


def byte_preference(data: bytes, names: list[str]) -> list[str]:
    """Bytes go as they are, but a picture whose type the list does not name is brought into one that it does: a caller
    with a list reads nothing else. PNG every caller reads."""
    known = sniff(data)
    if known is None or known[0] in names or known[0] == "png" or known[0] not in _IMAGES:
        return ["bin"]
    return [*(name for name in names if name in rasters.FORMATS), "bin"]


def encode_bytes(data: bytes, name: str | None, request: Request) -> Encoded:
    """As they are, under the type their signature tells; bytes that tell nothing are what the caller asked for."""
    known = sniff(data)
    if name is None:
        name, content_type = known or ("bin", CONTENT_TYPES["bin"])
        return Encoded(content_type, name, data)
    if known is None:
        return Encoded(CONTENT_TYPES[name], name, data)
    if known[0] == name or (name == "bin"):
        return Encoded(known[1], known[0], data)
    if known[0] in _IMAGES and name in rasters.FORMATS:
        return rasters.from_bytes(data, name, request)
    raise Unsuited(f"these bytes are {known[0]}, not {name}")


# --- pages and figures


@remembered_by_type
def family(kind: type) -> str | None:
    """ "response", "figure" (draws itself into files), "page" (has HTML), or None."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        name = base.__name__
        if package == "matplotlib" and name in ("Figure", "Artist"):
            return "figure"
        if package in ("starlette", "fastapi") and name == "Response":
            return "response"
    if all(hasattr(kind, name) for name in ("render", "init_headers")):
        return "response"
    if any(hasattr(kind, name) for name in ("_repr_html_", "_repr_png_", "_repr_svg_", "to_html")):
        return "page"
    return None


def is_response(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("status_code", "headers", "media_type"))


def page_formats(value: Any) -> list[str]:
    names = []
    if hasattr(value, "_repr_html_") or hasattr(value, "to_html"):
        names.append("html")
    if hasattr(value, "_repr_png_") and _package(value) not in ("folium", "branca"):  # theirs needs a browser
        names.append("png")
    if hasattr(value, "_repr_svg_"):
        names.append("svg")
    if hasattr(value, "to_json") and _package(value) in ("plotly", "altair", "pydeck"):
        names.append("json")
    if "html" not in names:
        names.append("html")
    return names


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def encode_page(value: Any, name: str, request: Request) -> Encoded:
    body: Any = None
    if name == "html":
        body = _page_html(value)
    elif name == "png" and hasattr(value, "_repr_png_"):
        body = value._repr_png_()
    elif name == "svg" and hasattr(value, "_repr_svg_"):
        body = value._repr_svg_()
    elif name == "json" and "json" in page_formats(value):
        body = value.to_json()
    if isinstance(body, tuple):  # (data, metadata) as IPython allows
        body = body[0]
    if body is None:
        raise Unsuited(f"a {type_name(value)} gives no {name}")
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    return Encoded(CONTENT_TYPES[name], name, body)


def _page_html(value: Any) -> Any:
    package = _package(value)
    if package == "plotly" and hasattr(value, "to_html"):
        return value.to_html(full_html=True, include_plotlyjs=True)  # works without the internet
    if package in ("folium", "branca") and hasattr(value, "get_root"):
        return value.get_root().render()
    if package == "altair" and hasattr(value, "to_html"):
        return value.to_html()
    if package == "pydeck" and hasattr(value, "to_html"):
        return value.to_html(as_string=True)
    for method in ("_repr_html_", "to_html"):
        if hasattr(value, method):
            found = getattr(value, method)()
            if found is not None:
                return found
    if hasattr(value, "_repr_svg_"):
        return value._repr_svg_()
    if hasattr(value, "_repr_png_") and _package(value) not in ("folium", "branca"):  # theirs needs a browser
        data = base64.b64encode(value._repr_png_()).decode()
        return f'<!DOCTYPE html><img alt="result" src="data:image/png;base64,{data}">'
    return None


def encode_figure(value: Any, name: str, request: Request) -> Encoded:
    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if figure is None or not hasattr(figure, "savefig"):
        raise NotSerialisable(f"a {type_name(value)} belongs to no figure; return the figure")
    drawn = "svg" if name == "html" else name
    out = io.BytesIO()
    figure.savefig(out, format=drawn, bbox_inches="tight")
    body = out.getvalue()
    if name == "html":
        from .documents import PAGE

        body = PAGE.format(body[body.find(b"<svg") :].decode()).encode()
    return Encoded(CONTENT_TYPES[name], name, body)


FIGURE_FORMATS = list(_FIGURE_FORMATS)


# --- responses


def encode_response(value: Any) -> Encoded:
    """Body, status and headers of a starlette or fastapi Response, whatever format was asked for."""
    headers = {str(name).lower(): str(text) for name, text in dict(value.headers or {}).items()}
    content_type = headers.pop("content-type", None) or value.media_type or "application/octet-stream"
    kept = {name: text for name, text in headers.items() if name not in _HOP_BY_HOP}
    body = _response_body(value)
    name = next(
        (known for known, text in CONTENT_TYPES.items() if text.split(";")[0] == content_type.split(";")[0]), "bin"
    )
    return Encoded(content_type, name, body, status=int(value.status_code), headers=kept)


def _response_body(value: Any) -> bytes:
    body = getattr(value, "body", None)
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    path = getattr(value, "path", None)
    if path is not None:
        return Path(path).read_bytes()
    parts: Any = getattr(value, "body_iterator", None)
    if parts is None:
        raise NotSerialisable(f"a {type_name(value)} has neither body, path nor body_iterator")
    if hasattr(parts, "__aiter__"):
        import asyncio

        async def read() -> list[Any]:
            return [part async for part in parts]

        parts = asyncio.run(read())
    return b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts)


def escaped_page(text: str) -> bytes:
    from .documents import PAGE

    return PAGE.format(f"<pre>{html.escape(text)}</pre>").encode("utf-8", "replace")
