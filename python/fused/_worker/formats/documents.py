"""Tables for people and office programs: xlsx, xml, html."""

from __future__ import annotations

import datetime
import html
import io
import json
import re
from typing import Any

from . import columns, tables
from .base import CONTENT_TYPES, Encoded, Request, Unsuited

_XLSX_ROWS_MAX = 1_048_575  # and the header line
_XLSX_COLUMNS_MAX = 16_384
_XLSX_TEXT_MAX = 32_767
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>body{{font:14px system-ui,sans-serif;margin:1rem}}table{{border-collapse:collapse}}\
td,th{{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:left}}img,svg{{max-width:100%}}</style></head>
<body>
{}
</body></html>
"""


def encode(table: Any, name: str, request: Request) -> Encoded:
    table = _with_text_geometry(table)
    body: Any
    if name == "html":
        frame = table if hasattr(table, "_mgr") else table.to_pandas()
        import pandas

        with pandas.option_context("display.max_seq_items", None, "display.max_colwidth", None):
            text = frame.to_html(escape=True, border=0, float_format=str)  # whole: pandas cuts and rounds for terminals
        body, rows, schema = PAGE.format(text).encode(), len(frame), None
    else:
        text_request = Request(["json"], bytes_max=request.bytes_max)
        native, _ = columns.make_frame(table, "json", text_request)
        records = json.loads(bytes(tables.write(native, "json", "", text_request)))
        names = list(records[0]) if records else _names(table)
        body = _xlsx(table, names, records) if name == "xlsx" else _xml(names, records)
        rows, schema = native.rows, native.schema
    return Encoded(CONTENT_TYPES[name], name, body, rows=rows, schema=schema)


def _names(table: Any) -> list[str]:
    return [str(label) for label in (table.columns if hasattr(table, "_mgr") else table.schema.names)]


def _with_text_geometry(table: Any) -> Any:
    """Geometry as WKT: these formats have nothing better."""
    return table.to_wkt() if hasattr(table, "to_wkt") else table


def text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)


def _xlsx(table: Any, names: list[str], records: list[dict[str, Any]]) -> bytes:
    try:
        from openpyxl import Workbook  # type: ignore[import-untyped]
        from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]
    except ImportError:
        raise Unsuited("xlsx needs the package openpyxl, which is not installed") from None
    if len(records) > _XLSX_ROWS_MAX or len(names) > _XLSX_COLUMNS_MAX:
        raise Unsuited(
            f"a sheet of Excel has {_XLSX_ROWS_MAX} rows and {_XLSX_COLUMNS_MAX} columns; this table has "
            f"{len(records)} and {len(names)}"
        )
    dates = _date_columns(table)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("udf")

    def text_cell(text: str) -> Any:
        if len(text) > _XLSX_TEXT_MAX:
            raise Unsuited(f"a cell of Excel holds {_XLSX_TEXT_MAX} characters; this table has one of {len(text)}")
        cell = WriteOnlyCell(sheet, value="")
        cell.value = _NOT_XML.sub("\ufffd", text)
        cell.data_type = "s"  # a text that begins with "=" stays a text
        return cell

    def cell(name: str, value: Any) -> Any:
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if abs(value) < 1 << 53 else text_cell(str(value))
        if name in dates and isinstance(value, str):
            return datetime.datetime.fromisoformat(value).replace(tzinfo=None)
        return text_cell(text_of(value))

    sheet.append([text_cell(name) for name in names])
    for record in records:
        sheet.append([cell(name, record[name]) for name in names])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _date_columns(table: Any) -> set[str]:
    """Columns of times that Excel can hold: after 1900, and without a zone as Excel knows none (UTC stays as text)."""
    if not hasattr(table, "_mgr"):
        return set()
    found = set()
    for label, dtype in table.dtypes.items():
        if getattr(dtype, "kind", "") == "M" and getattr(dtype, "tz", None) is None:
            column = table[label]
            if column.isna().all() or (column.min().year >= 1900 and column.max().year <= 9999):
                found.add(str(label))
    return found


def _xml(names: list[str], records: list[dict[str, Any]]) -> bytes:
    """``<data><row><column>…`` as pandas writes it."""
    tags = _unique([_tag(name) for name in names])
    lines = ["<?xml version='1.0' encoding='utf-8'?>", "<data>"]
    for record in records:
        cells = []
        for name, tag in zip(names, tags, strict=True):
            value = record[name]
            if value is None:
                cells.append(f"<{tag}/>")
                continue
            text = html.escape(_NOT_XML.sub("\ufffd", text_of(value)), quote=False)
            cells.append(f"<{tag}>{text}</{tag}>")
        lines.append(f"<row>{''.join(cells)}</row>")
    lines.append("</data>")
    return "\n".join(lines).encode("utf-8", "replace")


def _tag(name: str) -> str:
    tag = re.sub(r"[^\w.\-]", "_", name)
    return tag if tag[:1].isalpha() or tag[:1] == "_" else f"_{tag}"


def _unique(tags: list[str]) -> list[str]:
    seen: set[str] = set()
    for at, tag in enumerate(tags):
        while tag in seen:
            tag += "_"
        seen.add(tag)
        tags[at] = tag
    return tags
