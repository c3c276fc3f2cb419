"""``Schema``: the columns of a table that a function returns (seed, ``udf``: "The schema for the DataFrame returned
by the UDF").

Four forms are read: the text ``"name:DataType name2:DataType"``, JSON text, a dictionary, and a ``Schema``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fused.models.data_type import DataType, TypeParser, check_type, type_text

SHAPES = (
    '"name:DataType name2:DataType" (as "id:int64 label:string"), JSON text, a dictionary {"id": "int64"} or '
    '{"fields": [{"name": "id", "type": "int64"}]}, or a fused.models.Schema'
)


@dataclass(frozen=True)
class Field:
    """One column: ``type`` is an Arrow type's name, or a dictionary for a nested one."""

    name: str
    type: DataType
    nullable: bool = True
    metadata: dict[str, str] | None = None

    def __str__(self) -> str:
        name = self.name if re.fullmatch(r"[^\s:\"<>,\[\]{}]+", self.name) else json.dumps(self.name)
        return f"{name}:{type_text(self.type)}"

    def to_json(self) -> dict[str, Any]:
        """As it travels in ``Schema.to_json``."""
        return {"name": self.name, "type": self.type, "nullable": self.nullable, "metadata": self.metadata}


@dataclass(frozen=True)
class Schema:
    """Columns in order. ``str(schema)`` is the short text that can be pasted into ``@fused.udf(schema="…")``."""

    fields: list[Field] = field(default_factory=list)
    metadata: dict[str, str] | None = None

    @classmethod
    def parse(cls, value: Schema | Mapping[str, Any] | str) -> Schema:
        """Any of the four forms; ``ValueError`` names what is wrong, ``TypeError`` any other type of object."""
        if isinstance(value, Schema):
            return value
        if isinstance(value, str):
            text = value.strip()
            if not text.startswith(("{", "[")):
                return cls._of_fields(_parse_text(text), None)
            try:
                value = json.loads(text)
            except ValueError as error:
                raise ValueError(f"schema is not JSON: {error}; it may be {SHAPES}") from None
        if isinstance(value, Mapping):
            return cls._of_mapping(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return cls._of_fields([_field(item) for item in value], None)
        raise TypeError(f"schema is a {type(value).__name__}; it may be {SHAPES}")

    @classmethod
    def _of_mapping(cls, value: Mapping[str, Any]) -> Schema:
        fields = value.get("fields")
        if isinstance(fields, Sequence) and not isinstance(fields, str):
            unknown = set(value) - {"fields", "metadata"}
            if unknown:
                raise ValueError(f"schema has unknown keys {sorted(unknown)}; known are 'fields' and 'metadata'")
            return cls._of_fields([_field(item) for item in fields], value.get("metadata"))
        return cls._of_fields([Field(str(name), check_type(kind, str(name))) for name, kind in value.items()], None)

    @classmethod
    def _of_fields(cls, fields: list[Field], metadata: dict[str, str] | None) -> Schema:
        names = [each.name for each in fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"schema names {', '.join(map(repr, twice))} twice")
        return cls(fields, metadata)

    @classmethod
    def of_value(cls, value: Any) -> Schema | None:
        """The schema of a DataFrame, GeoDataFrame, Series or Arrow table; None for anything that is no table."""
        from fused.models.table_schema import schema_of_value

        return schema_of_value(value)

    def __str__(self) -> str:
        return " ".join(map(str, self.fields))

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [each.name for each in self.fields]

    def to_json(self) -> dict[str, Any]:
        """As it travels: ``{"fields": [{"name", "type", "nullable", "metadata"}], "metadata"}``."""
        return {"fields": [each.to_json() for each in self.fields], "metadata": self.metadata}

    model_dump = to_json

    def differences(self, other: Schema) -> list[str]:
        """What ``other`` (a result's schema) lacks or has otherwise, as sentences; empty when it agrees."""
        seen = {each.name: each for each in other.fields}
        found = []
        for each in self.fields:
            if each.name not in seen:
                found.append(f"column {each.name!r} ({type_text(each.type)}) is missing")
            elif seen[each.name].type != each.type:
                found.append(f"column {each.name!r} is {type_text(seen[each.name].type)}, not {type_text(each.type)}")
        extra = [name for name in other.names if name not in self.names]
        if extra:
            found.append(f"columns {', '.join(map(repr, extra))} are not in the schema")
        return found


def _field(item: Any) -> Field:
    if isinstance(item, Field):
        return Field(item.name, check_type(item.type, item.name), item.nullable, item.metadata)
    if not isinstance(item, Mapping) or "name" not in item or "type" not in item:
        raise ValueError(f"a schema's field is {{'name': …, 'type': …}}, not {item!r}")
    unknown = set(item) - {"name", "type", "nullable", "metadata"}
    if unknown:
        raise ValueError(f"field {item['name']!r} has unknown keys {sorted(unknown)}")
    name = str(item["name"])
    nullable = item.get("nullable")
    return Field(
        name, check_type(item["type"], name), True if nullable is None else bool(nullable), item.get("metadata")
    )


def _parse_text(text: str) -> list[Field]:
    parser = TypeParser(text)
    fields = []
    while not parser.at_end():
        name, kind = parser.field()
        fields.append(Field(name, kind))
        parser.skip_separator()
    return fields
