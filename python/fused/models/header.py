"""``Header``: a module that travels with a function, so that ``import my_header`` works inside it (seed, ``udf``:
``headers``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fused.errors import SourceError

HEADER_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Header:
    """``module_name`` is what is imported, ``source_code`` its text, ``source_file`` where it was read from."""

    module_name: str
    source_code: str
    source_file: str | None = None

    def __post_init__(self) -> None:
        if not self.module_name.isidentifier():
            raise ValueError(
                f"header {self.module_name!r} cannot be imported: a module's name is letters, digits and _"
            )

    def to_json(self) -> dict[str, Any]:
        """As it travels with a function."""
        return {"module_name": self.module_name, "source_code": self.source_code, "source_file": self.source_file}

    model_dump = to_json

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Header:
        """From that; ``KeyError`` without ``module_name``."""
        return cls(str(value["module_name"]), str(value.get("source_code") or ""), value.get("source_file"))


def read_headers(headers: Sequence[str | Path | Header | dict[str, Any]] | None, beside: str | None) -> list[Header]:
    """Header files read now: paths (looked for beside the function's file, then in the working directory), URLs,
    objects.

    The module's name is the file's name up to its first dot. ``SourceError`` names a file that is not there, a
    ``ValueError`` two headers of one name.
    """
    if headers is None:
        return []
    if isinstance(headers, str | Path | Header):
        raise TypeError(f"headers is a list of files, as headers=['my_header.py'], not {headers!r}")
    found = [_read(header, beside) for header in headers]
    names = [header.module_name for header in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two headers are called {name!r}; `import {name}` could mean either")
    return found


def _read(header: str | Path | Header | dict[str, Any], beside: str | None) -> Header:
    if isinstance(header, Header):
        return header
    if isinstance(header, dict):
        return Header.of_json(header)
    if not isinstance(header, str | Path):
        raise TypeError(
            f"a header is a file's path, a URL or a fused.models.Header, not {type(header).__name__}: {header!r}"
        )
    text = str(header)
    name = text.rstrip("/").rsplit("/", 1)[-1].split("?")[0].split(".")[0]
    if text.startswith(("https://", "http://")):
        return Header(name, _fetch(text), text)
    tried = []
    for folder in ([Path(beside).parent] if beside else []) + [Path.cwd()]:
        path = folder / Path(text).expanduser()
        tried.append(str(path))
        if path.is_file():
            if path.stat().st_size > HEADER_BYTES_MAX:
                raise SourceError(f"header {text!r} is larger than {HEADER_BYTES_MAX >> 20} MiB")
            try:
                return Header(name, path.read_text(encoding="utf-8"), text)
            except UnicodeDecodeError as error:
                raise SourceError(f"header {text!r} is not UTF-8 text: {error}") from None
    raise SourceError(f"header {text!r} is not there; looked for {' and '.join(dict.fromkeys(tried))}")


def _fetch(url: str) -> str:
    from fused._transport import fetch_public

    return fetch_public(url, HEADER_BYTES_MAX).decode("utf-8")
