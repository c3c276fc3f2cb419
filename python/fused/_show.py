"""How objects of the SDK look in a terminal and in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from fused._duration import format_duration
from fused.errors import FusedError

if TYPE_CHECKING:
    from fused._run.evaluation import UdfEvaluationResult
    from fused.models.step import UdfJobStepConfig
    from fused.models.udf import Udf

LINES_MAX = 40


def udf_text(udf: Udf) -> str:
    """``<Udf 'hello': udf(n, tag), cache_max_age='1h', headers=['utils'], id=…>``: what is stated, nothing else."""
    parts = [f"Udf {udf.name!r}: {_call(udf)}"]
    if udf.parameters:
        parts.append(f"parameters={udf.parameters!r}")
    if udf.cache_max_age is not None:
        parts.append(f"cache_max_age={format_duration(udf.cache_max_age)!r}")
    if udf.headers:
        parts.append(f"headers={[header.module_name for header in udf.headers]!r}")
    if udf.table_schema is not None:
        parts.append(f"schema={str(udf.table_schema)!r}")
    if udf.id:
        parts.append(f"id={udf.id}")
    return f"<{', '.join(parts)}>"


def _call(udf: Udf) -> str:
    try:
        described = udf.described
    except FusedError:
        return "its code cannot be read"
    return f"{described.entrypoint}({', '.join(described.parameters)}{', **' if described.takes_any_keyword else ''})"


def udf_html(udf: Udf) -> str:
    """Name, call, document string and code, for notebooks; everything from outside is escaped."""
    try:
        code = udf.code
        document = udf.described.docstring
    except FusedError as error:
        code, document = str(error), None
    about = f"<p>{html.escape(document)}</p>" if document else ""
    headers = "".join(
        f"<details><summary>{html.escape(header.module_name)}.py</summary><pre>{html.escape(header.source_code)}</pre></details>"
        for header in udf.headers
    )
    return (
        f"<div><b>{html.escape(udf.name)}</b> <code>{html.escape(_call(udf))}</code>{about}"
        f"<details><summary>code</summary><pre><code>{html.escape(code)}</code></pre></details>{headers}</div>"
    )


def step_text(step: UdfJobStepConfig) -> str:
    """What it would run, and how to run it."""
    udf = step.udf
    name = "None" if udf is None else repr(udf.name)
    lines = [f"UdfJobStepConfig(udf={name}, parameters={dict(udf.parameters) if udf is not None else {}!r}"]
    if step.input is not None:
        lines[0] += f", input={len(step.input)} items"
    lines[0] += ")"
    lines.append("  nothing has run yet; run it with fused.run(job), or here with fused.run(job, engine='local')")
    return "\n".join(lines)


def step_html(step: UdfJobStepConfig) -> str:
    """The same for notebooks."""
    return f"<pre>{html.escape(step_text(step))}</pre>"


def evaluation_text(result: UdfEvaluationResult) -> str:
    """Time, output, value or error, and the schema of a table to paste into the decorator."""
    name = getattr(result.udf, "name", result.udf)
    lines = [f"{name}: {'failed' if result.has_exception else 'done'} in {result.time_taken_seconds:.3f} s"]
    if result.is_cached:
        lines[0] += f" (from cache{': ' + result.cache_source if result.cache_source else ''})"
    lines += _stream("stdout", result.stdout) + _stream("stderr", result.stderr)
    if result.has_exception:
        lines.append(str(result.error_message))
    else:
        lines.append(repr(result.data))
    schema = result.schema
    if schema is not None:
        lines.append(f'schema: paste it as @fused.udf(schema="{str(schema).replace(chr(34), chr(92) + chr(34))}")')
    return "\n".join(lines)


def evaluation_html(result: UdfEvaluationResult) -> str:
    """The same for notebooks: a table as the notebook shows tables."""
    data: Any = result.data
    if result.has_exception or not hasattr(data, "_repr_html_"):
        return f"<pre>{html.escape(evaluation_text(result))}</pre>"
    schema = result.schema
    pasted = "" if schema is None else f"<p><code>@fused.udf(schema={html.escape(repr(str(schema)))})</code></p>"
    printed = f"<pre>{html.escape(result.stdout)}</pre>" if result.stdout else ""
    return f"{printed}{data._repr_html_()}{pasted}"


def _stream(name: str, text: str) -> list[str]:
    if not text:
        return []
    lines = text.rstrip("\n").split("\n")
    cut = [f"… {len(lines) - LINES_MAX} lines before"] if len(lines) > LINES_MAX else []
    return [f"{name}:", *(f"  {line}" for line in cut + lines[-LINES_MAX:])]
