"""Writes web/docs.html, the page at /docs, from api/openapi.yaml: plain HTML, no script, nothing from elsewhere.

Run it after a change of api/openapi.yaml; tests/contract compares.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("get", "post", "put", "patch", "delete")
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8884; }
details { border-bottom: 1px solid #8882; padding: .3rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 4.2rem; font: 600 .85em ui-monospace, monospace; }
summary span { opacity: .75; }
code, pre { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
table { border-collapse: collapse; margin: .5rem 0 .5rem 1.5rem; }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; }
td:first-child > code { white-space: nowrap; }
details > p, details > div { margin: .4rem 0 .4rem 1.5rem; }
"""


def text(value: object) -> str:
    """As HTML, with `code` between backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(str(value)))


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def type_name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f'<a href="#{name}">{name}</a>'
    if "enum" in schema:
        return " | ".join(text(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return "list of " + type_name(schema.get("items", {}))
    return " | ".join(kind) if isinstance(kind, list) else text(kind)


def content_text(node: dict[str, Any]) -> str:
    parts = []
    for media, content in node.get("content", {}).items():
        schema = content.get("schema")
        parts.append(f"<code>{text(media)}</code>" + (f" {type_name(schema)}" if schema else ""))
    return ", ".join(parts)


def operation_html(document: dict[str, Any], method: str, path: str, item: dict[str, Any]) -> str:
    operation = item[method]
    rows = []
    for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]:
        parameter = resolve(document, parameter)
        about = text(parameter.get("description", ""))
        rows.append(
            f"<tr><td><code>{text(parameter['name'])}</code></td><td>{parameter['in']}</td><td>{about}</td></tr>"
        )
    if "requestBody" in operation:
        rows.append(f"<tr><td>body</td><td></td><td>{content_text(operation['requestBody'])}</td></tr>")
    for status, reply in operation["responses"].items():
        reply = resolve(document, reply)
        about = text(reply["description"])
        if content := content_text(reply):
            about += f" ({content})"
        rows.append(f"<tr><td>{'other' if status == 'default' else status}</td><td></td><td>{about}</td></tr>")
    about = f"<p>{text(operation['description'])}</p>" if "description" in operation else ""
    return (
        f'<details id="{operation["operationId"]}"><summary><b>{method.upper()}</b> <code>{text(path)}</code> '
        f"<span>{text(operation['summary'])} · {operation['x-access']}</span></summary>{about}"
        f"<table>{''.join(rows)}</table></details>\n"
    )


def schema_html(name: str, schema: dict[str, Any]) -> str:
    rows = []
    for member, of_member in schema.get("properties", {}).items():
        needed = "required" if member in schema.get("required", []) else ""
        about = text(of_member.get("description", ""))
        rows.append(
            f"<tr><td><code>{text(member)}</code></td><td>{type_name(of_member)}</td><td>{needed}</td><td>{about}</td></tr>"
        )
    body = f"<table>{''.join(rows)}</table>" if rows else f"<div>{type_name(schema)}</div>"
    return f'<details id="{name}" open><summary><code>{name}</code></summary>{body}</details>\n'


def render(document: dict[str, Any]) -> str:
    info = document["info"]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(info['title'])}: API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{text(info['title'])} {text(info['version'])}: API</h1>\n"
    ]
    parts.extend(f"<p>{text(paragraph)}</p>\n" for paragraph in info["description"].strip().split("\n\n"))
    parts.append('<p><a href="/openapi.yaml">openapi.yaml</a> · <a href="/">Functions</a></p>\n')
    for tag in document["tags"]:
        parts.append(f"<h2>{text(tag['name'])}</h2>\n<p>{text(tag['description'])}</p>\n")
        for path, item in document["paths"].items():
            parts.extend(
                operation_html(document, method, path, item)
                for method in METHODS
                if method in item and tag["name"] in item[method]["tags"]
            )
    parts.append("<h2>Schemas</h2>\n")
    parts.extend(schema_html(name, schema) for name, schema in document["components"]["schemas"].items())
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def main() -> int:
    document = yaml.safe_load((ROOT / "api" / "openapi.yaml").read_text())
    (ROOT / "web" / "docs.html").write_text(render(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
