"""``engine="local"``: the function runs in this process and its value is returned as it is.

Serves the seed's "running locally with the ``local`` engine does not validate and will instead return any output".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fused._inside import local_depth, local_run
from fused._options import options
from fused._parameters import plan
from fused._run.arguments import Tile
from fused._run.evaluation import UdfEvaluationResult
from fused.errors import UdfRuntimeError
from fused.models.udf import Udf
from fused.warnings import FusedTypeWarning, warn_caller


def call_local(udf: Udf, parameters: Mapping[str, Any], tile: Tile | None = None) -> Any:
    """Runs once and returns whatever the function returns; its exceptions come through as they are.

    Parameters are read by annotation exactly as a worker reads them; ``tile`` is z, x, y.
    """
    if local_depth() >= options.max_recursion_factor:
        raise UdfRuntimeError(
            f"{udf.name!r} runs inside {local_depth()} other functions; the limit is {options.max_recursion_factor} "
            "(fused.options.max_recursion_factor)",
            child_exception_class="RecursionError",
        )
    fn = udf.fn
    args, kwargs = plan(fn).bind(typed=parameters, beneath=udf.parameters, tile=tile)
    with udf.header_modules(), local_run():
        return fn(*args, **kwargs)


def run_local(
    udf: Udf, parameters: Mapping[str, Any], *, inplace: bool = False, validate_output: bool = False
) -> UdfEvaluationResult:
    """``udf.run_local()``: one run with its time; a failure is raised."""
    udf.check_names(parameters)
    started = time.monotonic()
    data = call_local(udf, parameters)
    result = UdfEvaluationResult(data=data, udf=udf, time_taken_seconds=time.monotonic() - started)
    schema = result.schema
    if validate_output and udf.table_schema is not None:
        differences = ["it is no table"] if schema is None else udf.table_schema.differences(schema)
        if differences:
            message = f"the result of {udf.name!r} does not have the schema of its decorator: {'; '.join(differences)}"
            warn_caller(message, FusedTypeWarning)
    if inplace and schema is not None:
        udf.table_schema = schema
    return result
