"""Names of column types: Arrow's, in lower case, with the usual aliases; nested ones as text and as JSON.

Text: ``int64``, ``timestamp[us, tz=UTC]``, ``decimal128(10, 2)``, ``list<int64>``, ``fixed_size_list<float64, 4>``,
``struct<a:int64, b:string>``. JSON of the nested ones: ``{"type": "list", "element_type": "int64"}`` and the like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

DataType = str | dict[str, Any]

PLAIN = [
    "null",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "string",
    "large_string",
    "binary",
    "large_binary",
    "date32",
    "date64",
    "time32",
    "time64",
    "timestamp",
    "duration",
    "interval",
    "month_day_nano_interval",
    "geometry",
]
ALIASES = {
    "boolean": "bool", "halffloat": "float16", "half": "float16", "float": "float32", "double": "float64",
    "utf8": "string", "str": "string", "large_utf8": "large_string", "int": "int64", "long": "int64", "bytes": "binary",
    "object": "string", "datetime": "timestamp[ns]", "date": "date32",
}  # fmt: skip
_UNITS = {"time32": "s|ms", "time64": "us|ns", "timestamp": "s|ms|us|ns", "duration": "s|ms|us|ns"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_type(value: Any, column: str) -> DataType:
    """The canonical form of a type given as text or as JSON; ``ValueError`` names column and type."""
    if isinstance(value, str):
        parser = TypeParser(value, column)
        kind = parser.kind()
        if not parser.at_end():
            raise ValueError(f"column {column!r}: {value!r} is not a type: {parser.rest()!r} is left over")
        return kind
    if isinstance(value, Mapping):
        return _check_nested(value, column)
    if isinstance(value, type) and value in (bool, int, float, str, bytes):
        return {bool: "bool", int: "int64", float: "float64", str: "string", bytes: "binary"}[value]
    raise ValueError(f"column {column!r}: {value!r} is not a type; types are {', '.join(PLAIN)}, list<…>, struct<…>")


def _check_nested(value: Mapping[str, Any], column: str) -> DataType:
    kind = value.get("type")
    if kind in ("list", "large_list"):
        return {"type": kind, "element_type": check_type(value.get("element_type"), column)}
    if kind == "fixed_size_list":
        return {
            "type": kind,
            "element_type": check_type(value.get("element_type"), column),
            "inner_size": int(value.get("inner_size", 0)),
        }
    if kind == "fixed_size_binary":
        return {"type": kind, "byte_width": int(value.get("byte_width", 0))}
    if kind == "struct":
        fields = [
            {"name": str(each["name"]), "type": check_type(each["type"], f"{column}.{each['name']}")}
            for each in value.get("fields", [])
        ]
        return {"type": kind, "fields": fields}
    if isinstance(kind, str) and set(value) == {"type"}:
        return check_type(kind, column)
    raise ValueError(
        f"column {column!r}: type {kind!r} is unknown; nested types are list, large_list, fixed_size_list, "
        "fixed_size_binary, struct"
    )


def type_text(kind: DataType) -> str:
    """The short text of a type."""
    if isinstance(kind, str):
        return kind
    name = kind["type"]
    if name == "fixed_size_binary":
        return f"fixed_size_binary[{kind['byte_width']}]"
    if name == "struct":
        return f"struct<{', '.join(each['name'] + ':' + type_text(each['type']) for each in kind['fields'])}>"
    inner = type_text(kind["element_type"])
    return f"fixed_size_list<{inner}, {kind['inner_size']}>" if name == "fixed_size_list" else f"{name}<{inner}>"


class TypeParser:
    """Reads ``name:type`` fields and types from text, left to right."""

    def __init__(self, text: str, column: str = "") -> None:
        self.text = text
        self.at = 0
        self.column = column

    def at_end(self) -> bool:
        """Is there nothing left but spaces."""
        self._space()
        return self.at >= len(self.text)

    def rest(self) -> str:
        """What is left."""
        return self.text[self.at :].strip()

    def skip_separator(self) -> None:
        """Columns are separated by spaces, a comma, or both."""
        self._space()
        self._take(",")

    def field(self) -> tuple[str, DataType]:
        """Reads ``name:type``; the name may stand in double quotes. ``ValueError`` says what is missing."""
        self._space()
        if self.text.startswith('"', self.at):
            try:
                name, end = json.JSONDecoder().raw_decode(self.text, self.at)
            except ValueError:
                raise self._error("a column's name in quotes does not end") from None
            self.at = end
        else:
            match = re.compile(r"[^\s:<>,]+").match(self.text, self.at)
            if match is None:
                raise self._error("a column's name is missing")
            name, self.at = match[0], match.end()
        self.column = str(name)
        self._space()
        if not self._take(":"):
            raise self._error(f"{name!r} has no type (write {name}:int64)")
        return str(name), self.kind()

    def kind(self) -> DataType:
        """Reads one type and gives its canonical form; ``ValueError`` lists the types."""
        self._space()
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self._error("a type is missing")
        self.at = match.end()
        name = match[0].lower()
        if name in ("list", "large_list"):
            return {"type": name, "element_type": self._inside(self._element)}
        if name == "fixed_size_list":
            element, size = self._inside(lambda: (self._element(), self._size()))
            return {"type": name, "element_type": element, "inner_size": size}
        if name == "struct":
            return {"type": name, "fields": self._inside(self._struct_fields)}
        if name == "fixed_size_binary":
            return {"type": name, "byte_width": int(self._matching(r"\[\s*(\d+)\s*\]", "its width, as [16]")[1])}
        if name in ("decimal128", "decimal256", "decimal"):
            digits = self._matching(r"[\[(]\s*(\d+)\s*,\s*(-?\d+)\s*[\])]", "its digits, as decimal128(10, 2)")
            return f"{'decimal128' if name == 'decimal' else name}({digits[1]}, {digits[2]})"
        name = ALIASES.get(name, name)
        if name.split("[")[0] not in PLAIN:
            raise self._error(f"type {match[0]!r} is unknown; types are {', '.join(PLAIN)}, list<…>, struct<…>")
        return self._unit(name)

    def _unit(self, name: str) -> str:
        if name not in _UNITS or not self.text.startswith("[", self.at):
            return name
        zone = r"(?:\s*,\s*tz\s*=\s*([^\]\s]+))?" if name == "timestamp" else "()"
        match = self._matching(rf"\[\s*({_UNITS[name]})\s*{zone}\s*\]", f"a unit of {_UNITS[name]}")
        return f"{name}[{match[1]}, tz={match[2]}]" if match[2] else f"{name}[{match[1]}]"

    def _element(self) -> DataType:
        named = re.compile(r"\s*[A-Za-z_]\w*\s*:").match(self.text, self.at)  # Arrow prints list<item: int64>
        self.at = named.end() if named else self.at
        return self.kind()

    def _size(self) -> int:
        return int(self._matching(r"\s*,\s*(\d+)", "its size, as fixed_size_list<float64, 4>")[1])

    def _struct_fields(self) -> list[dict[str, Any]]:
        fields = []
        while not self.text.startswith(">", self.at):
            name, kind = self.field()
            fields.append({"name": name, "type": kind})
            self.skip_separator()
            self._space()
        return fields

    def _inside(self, read: Any) -> Any:
        self._space()
        if not self._take("<"):
            raise self._error("a nested type is written with <…>, as list<int64>")
        value = read()
        self._space()
        if not self._take(">"):
            raise self._error("'>' is missing")
        return value

    def _matching(self, pattern: str, what: str) -> re.Match[str]:
        match = re.compile(pattern).match(self.text, self.at)
        if match is None:
            raise self._error(f"{what} is missing")
        self.at = match.end()
        return match

    def _take(self, mark: str) -> bool:
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _error(self, what: str) -> ValueError:
        where = f"column {self.column!r}: " if self.column else ""
        return ValueError(f"schema {self.text!r}: {where}{what}")
