"""A dict of results as a zip: one member a key, and ``meta.json`` with the content type of each."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from .base import CONTENT_TYPES, Encoded, NotSerialisable, Request

DEPTH_MAX = 16
_ALREADY_SMALL = frozenset({"parquet", "png", "jpeg", "webp", "gif", "apng", "tiff", "zip", "xlsx"})


def encode(value: Mapping[Any, Any], request: Request, member: Callable[[Any, Request], Encoded]) -> Encoded:
    """``member`` encodes one value; its formats are those of the request, with JSON behind them."""
    if request.depth >= DEPTH_MAX:
        raise NotSerialisable(f"the value is nested deeper than {DEPTH_MAX} dicts of results, or contains itself")
    formats = [name for name in request.formats if name != "zip"] if len(request.formats) > 1 else []
    inner = Request(
        formats or ["npy", "tiff", "parquet", "json"],
        request.tile,
        request.async_client,
        request.bytes_max,
        request.depth + 1,
    )
    out = io.BytesIO()
    files: dict[str, dict[str, str]] = {}
    with zipfile.ZipFile(out, "w") as archive:
        for key, item in value.items():
            name = str(key)
            if name in files or name == "meta.json":
                raise NotSerialisable(f"the dict has the key '{name}' twice, or it is 'meta.json'; rename it")
            encoded = member(item, inner)
            files[name] = {"content_type": encoded.content_type}
            how = zipfile.ZIP_STORED if encoded.format in _ALREADY_SMALL else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), bytes(encoded.body), compress_type=how, compresslevel=1)
        archive.writestr(zipfile.ZipInfo("meta.json"), json.dumps({"files": files}))
    return Encoded(CONTENT_TYPES["zip"], "zip", out.getvalue(), rows=len(files))
