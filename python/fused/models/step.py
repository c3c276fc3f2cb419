"""``UdfJobStepConfig``: a function with its arguments, ready to run (seed: ``job = udf()``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fused._run.evaluation import UdfEvaluationResult
from fused.models.udf import Udf


@dataclass(repr=False)
class UdfJobStepConfig:
    """``udf`` holds its parameters; ``input``: a list of argument dictionaries, one run for each, or None for one
    run.
    """

    type: ClassVar[str] = "udf"

    udf: Udf | None = None
    input: list[dict[str, Any]] | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None
    ignore_chunk_error: bool = False
    n_processes: int | None = None

    def run(self, **kwargs: Any) -> Any:
        """``fused.run(self, …)``."""
        from fused._run.run import run

        return run(self, **kwargs)

    def run_local(self, validate_output: bool = False, **kwargs: Any) -> UdfEvaluationResult:
        """Runs once in this process, with these parameters beneath ``kwargs``; gives value, output and schema."""
        return self._udf().run_local(validate_output=validate_output, **kwargs)

    def set_udf(
        self,
        udf: Udf,
        parameters: Mapping[str, Any] | None = None,
        replace_parameters: bool = False,
        inplace: bool = False,
    ) -> UdfJobStepConfig:
        """Puts another function in; ``parameters`` are stored in it."""
        chosen = udf.set_parameters(parameters or {}, replace_parameters)
        if not inplace:
            return replace(self, udf=chosen)
        self.udf = chosen
        return self

    def set_input(self, input: Any, inplace: bool = False) -> UdfJobStepConfig:
        """Puts a list of arguments in, in any of the forms of ``arg_list``."""
        items = None if input is None else arguments_of_list(input, self._udf())
        if not inplace:
            return replace(self, input=items)
        self.input = items
        return self

    def _udf(self) -> Udf:
        if self.udf is None:
            raise ValueError("this UdfJobStepConfig holds no function yet; give it one with set_udf(udf)")
        return self.udf

    def to_json(self) -> dict[str, Any]:
        """The step as it travels (client-protocol.md §3)."""
        from fused._run.parameters import encode_parameters

        return {
            "type": self.type,
            "name": self.name or self._udf().name,
            "metadata": self.metadata,
            "ignore_chunk_error": self.ignore_chunk_error,
            "n_processes": self.n_processes,
            "udf": self._udf().to_json(),
            "input": None if self.input is None else [encode_parameters(item) for item in self.input],
        }

    model_dump = to_json

    def model_dump_json(self) -> str:
        """``to_json`` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> UdfJobStepConfig:
        """From such a record; ``KeyError`` without ``udf``."""
        return cls(
            udf=Udf.of_json(value["udf"]),
            input=value.get("input"),
            name=value.get("name"),
            metadata=value.get("metadata"),
            ignore_chunk_error=bool(value.get("ignore_chunk_error", False)),
            n_processes=value.get("n_processes"),
        )

    def __repr__(self) -> str:
        from fused._show import step_text

        return step_text(self)

    def _repr_html_(self) -> str:
        from fused._show import step_html

        return step_html(self)


def arguments_of_list(arg_list: Any, udf: Udf) -> list[dict[str, Any]]:
    """``arg_list`` as dictionaries: a list of values for the first parameter, a list of dictionaries, or a DataFrame.

    A dictionary whose keys are all parameters is a set of arguments; any other is a value for the first parameter.
    """
    if hasattr(arg_list, "to_dict") and hasattr(arg_list, "columns"):
        udf.check_names({str(name): None for name in arg_list.columns})
        rows = [{str(key): value for key, value in row.items()} for row in arg_list.to_dict(orient="records")]
        if not rows:
            raise ValueError("arg_list is empty: there is nothing to run")
        return rows
    if isinstance(arg_list, str | bytes | Mapping) or not isinstance(arg_list, Iterable):
        raise TypeError(f"arg_list is a list of values, a list of dictionaries or a DataFrame, not {arg_list!r}")
    described = udf.described
    items = []
    for item in arg_list:
        if isinstance(item, Mapping) and (described.takes_any_keyword or set(item) <= set(described.parameters)):
            items.append(dict(item))
        elif not described.parameters:
            raise ValueError(f"{udf.name!r} has no parameters, so {item!r} of arg_list cannot be given to it")
        else:
            items.append({described.parameters[0]: item})
    if not items:
        raise ValueError("arg_list is empty: there is nothing to run")
    return items
