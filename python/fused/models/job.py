"""``JobConfig``: the steps of one job, run one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fused.models.ingest import (
    GeospatialPartitionJobStepConfig,
    JobStepConfig,
    NonGeospatialPartitionJobStepConfig,
    PartitionJobStepConfig,
)
from fused.models.step import UdfJobStepConfig

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse

Step = UdfJobStepConfig | JobStepConfig
_KINDS: dict[str, Any] = {
    "udf": UdfJobStepConfig,
    "partition_geospatial": GeospatialPartitionJobStepConfig,
    "partition_nongeospatial": NonGeospatialPartitionJobStepConfig,
}


@dataclass
class JobConfig:
    """Several steps as one job: ``JobConfig([fused.ingest(…), summary()]).run_remote()``.

    A step begins when the one before it has ended. ``name``: of the job; by default that of its first step.
    """

    steps: Sequence[Step | JobConfig] = field(default_factory=list)
    name: str | None = None
    metadata: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        from fused._jobs.run_remote import STEPS_MAX, check_name, name_from

        if isinstance(self.steps, UdfJobStepConfig | JobStepConfig):
            self.steps = [self.steps]
        flat: list[Step] = []
        for step in self.steps:
            flat += step.steps if isinstance(step, JobConfig) else [step]  # type: ignore[arg-type]
        for at, step in enumerate(flat):
            if not isinstance(step, UdfJobStepConfig | JobStepConfig):
                raise TypeError(f"step {at} of the job is {step!r}; a step is what udf(…) or fused.ingest(…) gives")
        if not flat or len(flat) > STEPS_MAX:
            raise ValueError(f"a job has 1 to {STEPS_MAX} steps, not {len(flat)}")
        self.steps = flat
        if self.name is None:
            first = flat[0]
            udf_name = first.udf.name if isinstance(first, UdfJobStepConfig) and first.udf is not None else None
            self.name = name_from(first.name or udf_name or first.type)
        check_name(self.name)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, at: int) -> Step:
        return self.steps[at]  # type: ignore[return-value]

    def __add__(self, other: JobConfig | Step) -> JobConfig:
        return JobConfig([*self.steps, other], self.name, self.metadata)

    def to_json(self) -> dict[str, Any]:
        """As it travels, and as ``job-configs/…/file.json`` holds it."""
        steps = [step.to_json() for step in self.steps]
        return {"name": self.name, "steps": steps, "metadata": self.metadata}

    model_dump = to_json

    def model_dump_json(self) -> str:
        """``to_json`` as text."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> JobConfig:
        """From such a record, or from ``{"version", "job_config"}``; ``ValueError`` names what is no step."""
        inner = value.get("job_config", value)
        listed = inner.get("steps") if isinstance(inner, Mapping) else None
        if not isinstance(listed, list):
            raise ValueError('a job\'s config is {"name", "steps": [step, …]}; it has no list \'steps\'')
        steps = []
        for at, step in enumerate(listed):
            kind = _KINDS.get(str(step.get("type"))) if isinstance(step, Mapping) else None
            if kind is None:
                seen = step.get("type") if isinstance(step, Mapping) else step
                raise ValueError(f"steps[{at}].type is {seen!r}; it is one of {', '.join(_KINDS)}")
            steps.append(_nongeospatial(step) if kind is NonGeospatialPartitionJobStepConfig else kind.of_json(step))
        return cls(steps, inner.get("name"), inner.get("metadata"))

    model_validate = of_json

    @classmethod
    def of_file(cls, path: str | Path) -> JobConfig:
        """From a ``file.json`` or ``meta.json``."""
        try:
            return cls.of_json(json.loads(Path(path).read_text("utf-8")))
        except json.JSONDecodeError as error:
            raise ValueError(f"{str(path)!r} is not JSON: {error}") from None

    def check_inputs(self) -> None:
        """``TypeError`` for names that a step's function does not have, and for values that cannot travel;
        ``ValueError`` for a required parameter that is not given, and values that its annotations cannot read.
        """
        from fused._argument_check import ArgumentCheck
        from fused._run.parameters import encode_parameters

        for step in self.steps:
            if not isinstance(step, UdfJobStepConfig) or step.udf is None:
                continue
            check = ArgumentCheck(step.udf)
            if step.input is None:
                check.check({})
            for at, item in enumerate(step.input or []):
                if not isinstance(item, Mapping):
                    continue  # a value for the first parameter
                try:
                    encode_parameters(item)
                    check.check(item)
                except (TypeError, ValueError) as error:
                    kind = TypeError if isinstance(error, TypeError) else ValueError
                    raise kind(f"item {at} of arg_list: {error}") from None

    def run_remote(
        self,
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
        *,
        name: str | None = None,
        send_status_email: bool | None = None,
        n_processes: int | None = None,
        cache_max_age: int | str | None = None,
        priority: int | None = None,
        max_retry: int | None = None,
        on_finish: Any = None,
    ) -> RunResponse:
        """Starts the job on the server and returns at once (docs/reference/jobs.md).

        ``instance_type``: the most that it may use, of the server's list; ``disk_size_gb``: of disk. ``region`` and
        ``image_name`` are noted and said in the log. ``additional_env``: ``["NAME=value"]`` for its functions.
        ``ignore_no_udf``, ``ignore_no_output``: a step without a function, or without a place for its table, is left
        for the server to judge. ``validate_imports``: asks the server first whether it has the modules that the
        functions import. ``validate_inputs``: looks at names and values of ``arg_list`` here. ``overwrite``: of tables.
        ``n_processes``: tasks of a step at a time. ``max_retry``: how often a task whose function failed is tried
        again. ``on_finish``: who is told: ``"https://…"``, ``"mailto:…"``, a saved function.
        """
        from fused._jobs.run_remote import start_job, whole_number

        whole_number("n_processes", n_processes, 1, 1024)
        steps = [
            prepared(step, ignore_no_udf, ignore_no_output, overwrite, n_processes)  # type: ignore[arg-type]
            for step in self.steps
        ]
        return start_job(
            JobConfig(steps, name or self.name, self.metadata),
            instance_type=instance_type,
            region=region,
            disk_size_gb=disk_size_gb,
            additional_env=additional_env,
            image_name=image_name,
            send_status_email=send_status_email,
            cache_max_age=cache_max_age,
            priority=priority,
            max_retry=max_retry,
            on_finish=on_finish,
            validate_imports=validate_imports,
            validate_inputs=validate_inputs,
        )

    run_batch = run_remote

    def __repr__(self) -> str:
        kinds = ", ".join(str(step.name or step.type) for step in self.steps)  # type: ignore[union-attr]
        return f"<JobConfig {self.name!r}: {len(self.steps)} steps ({kinds})>"


def prepared(
    step: Step, ignore_no_udf: bool, ignore_no_output: bool, overwrite: bool | None, n_processes: int | None
) -> Step:
    """The step as it is sent; ``ValueError`` for one that could not run."""
    from fused._jobs.run_remote import warn_ignored, warn_local_path

    if isinstance(step, UdfJobStepConfig):
        if step.udf is None and not ignore_no_udf:
            raise ValueError("a step holds no function; give it one with set_udf(udf), or pass ignore_no_udf=True")
        if overwrite is not None:
            warn_ignored("overwrite", "a function decides itself what it writes over")
    elif isinstance(step, PartitionJobStepConfig):
        if hasattr(step.input, "geometry"):
            raise ValueError(
                "the input is a GeoDataFrame, which lives in this process and is not sent to the server. Save it where "
                "the server reads: frame.to_parquet('s3://…/towns.parquet'), or into the folder that is the server's "
                "/mount (DIR/mount on its machine), and ingest that path; or have a function on the server make it: "
                "udf.run_remote(output_table=…); or make the table here, fused.ingest(frame, output='s3://…').run_local()"
            )
        if step.output is None and step.output_metadata is None and not ignore_no_output:
            raise ValueError(
                "the ingest has no output: say where its table goes (fused.ingest(…, output=…), or "
                "run_remote(output_table=…)), or pass ignore_no_output=True"
            )
        warn_local_path(step.input)
        if overwrite is not None:
            step = replace(step, overwrite=overwrite)
    return step if n_processes is None else replace(step, n_processes=n_processes)


def _nongeospatial(value: Mapping[str, Any]) -> NonGeospatialPartitionJobStepConfig:
    given = {key: each for key, each in value.items() if key != "type"}
    unknown = set(given) - set(NonGeospatialPartitionJobStepConfig.__dataclass_fields__)
    if unknown:
        raise ValueError(f"an ingest step has unknown keys {sorted(unknown)}")
    return NonGeospatialPartitionJobStepConfig(**given)
