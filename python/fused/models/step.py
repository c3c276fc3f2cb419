"""``UdfJobStepConfig``: a function with its arguments, ready to run (seed: ``job = udf()``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from fused._run.evaluation import UdfEvaluationResult
from fused.models.udf import Udf

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse


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

    def run_remote(
        self,
        output_table: str | None = None,
        instance_type: str | None = None,
        region: str | None = None,
        disk_size_gb: int | None = None,
        additional_env: Sequence[str] | None = None,
        image_name: str | None = None,
        ignore_no_udf: bool = False,
        ignore_no_output: bool = False,
        validate_imports: bool | None = None,
        validate_inputs: bool = True,
        overwrite: bool | None = None,
        **options: Any,
    ) -> RunResponse:
        """Runs as a job on the server: one task, or one for each item of ``arg_list``. Returns at once.

        ``output_table``: what the tasks return, tables all, becomes one table there, in a step more.
        ``instance_type``, ``region``, ``disk_size_gb``: as the function's decorator says where they are not given. The
        other parameters: ``JobConfig.run_remote``; ``options`` are its newer ones (``name``, ``send_status_email``,
        ``n_processes``, ``cache_max_age``, ``priority``, ``max_retry``, ``on_finish``).
        """
        from fused.models.job import JobConfig

        config = JobConfig([self])
        if output_table is not None:
            from fused._jobs.output_table import with_output

            config = with_output(self, str(output_table), bool(overwrite))
            overwrite = None
        udf = self.udf
        if udf is not None:
            stated = udf.instance_type or (udf.engine if udf.engine not in ("local", "remote", "realtime") else None)
            instance_type = instance_type or (None if stated == "realtime" else stated)
            region = region or udf.region
            disk_size_gb = udf.disk_size_gb if disk_size_gb is None else disk_size_gb
        return config.run_remote(
            instance_type,
            region,
            disk_size_gb,
            additional_env,
            image_name,
            ignore_no_udf,
            ignore_no_output,
            validate_imports,
            validate_inputs,
            overwrite,
            **options,
        )

    def run_batch(self, instance_type: str | None = None, **options: Any) -> RunResponse:
        """``run_remote`` by its newer name."""
        return self.run_remote(None, instance_type, **options)

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
            "name": self.name or (None if self.udf is None else self.udf.name),
            "metadata": self.metadata,
            "ignore_chunk_error": self.ignore_chunk_error,
            "n_processes": self.n_processes,
            "udf": None if self.udf is None else self.udf.to_json(),
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


def arguments_of_list(arg_list: Any, udf: Udf, shared: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """``arg_list`` as dictionaries: a list of values for the first parameter, a list of dictionaries, or a DataFrame.

    As ``fused.submit`` reads it, with its errors. ``shared``: what every call is given beside its own.
    """
    from fused._submit.arguments import read_arguments

    called = f"{udf.name}(arg_list=…, {{}})"
    arguments = read_arguments(arg_list, udf, udf.name, {**udf.parameters, **(shared or {})}, called)
    return [arguments.own(index) for index in range(arguments.count)]
