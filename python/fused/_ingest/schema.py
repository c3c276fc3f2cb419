"""``Schema`` as Arrow has it."""

from __future__ import annotations

from typing import Any

from fused.models.data_type import type_text
from fused.models.schema import Schema


def arrow_schema(schema: Schema) -> Any:
    """A pyarrow schema; ``ValueError`` names a column whose type Arrow does not have."""
    import pyarrow as pa

    fields = []
    for each in schema.fields:
        if each.type == "geometry":
            continue  # the geometry is what it is
        try:
            fields.append(pa.field(each.name, _type(pa, each.type), each.nullable))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"schema: column {each.name!r} cannot have type {type_text(each.type)}") from None
    return pa.schema(fields)


def _type(pa: Any, kind: Any) -> Any:
    if isinstance(kind, dict):
        name = kind["type"]
        if name == "struct":
            return pa.struct([pa.field(each["name"], _type(pa, each["type"])) for each in kind["fields"]])
        if name == "fixed_size_list":
            return pa.list_(_type(pa, kind["element_type"]), int(kind["inner_size"]))
        if name == "fixed_size_binary":
            return pa.binary(int(kind["byte_width"]))
        if name in ("list", "large_list"):
            return (pa.list_ if name == "list" else pa.large_list)(_type(pa, kind["element_type"]))
        raise KeyError(name)
    name, _, rest = str(kind).partition("[")
    if name == "timestamp":
        unit, _, zone = rest.rstrip("]").partition(",")
        return pa.timestamp(unit.strip() or "us", zone.partition("=")[2].strip() or None)
    if rest:
        return getattr(pa, name)(rest.rstrip("]"))
    if name.startswith("decimal"):
        head, _, numbers = name.partition("(")
        return getattr(pa, head)(*[int(each) for each in numbers.rstrip(")").split(",")])
    return pa.type_for_alias(name)
