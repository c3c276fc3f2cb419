"""The types that functions, steps and tokens are made of; the seed's names and the newer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fused._jobs.response import RunResponse as RunResponse
    from fused._run.evaluation import UdfEvaluationResult as UdfEvaluationResult
    from fused.models.access_token import UdfAccessToken as UdfAccessToken
    from fused.models.access_token import UdfAccessTokenList as UdfAccessTokenList
    from fused.models.header import Header as Header
    from fused.models.ingest import GDALOpenConfig as GDALOpenConfig
    from fused.models.ingest import GeospatialPartitionJobStepConfig as GeospatialPartitionJobStepConfig
    from fused.models.ingest import JobStepConfig as JobStepConfig
    from fused.models.ingest import NonGeospatialPartitionJobStepConfig as NonGeospatialPartitionJobStepConfig
    from fused.models.ingest import PartitionJobStepConfig as PartitionJobStepConfig
    from fused.models.job import JobConfig as JobConfig
    from fused.models.schema import Field as Field
    from fused.models.schema import Schema as Schema
    from fused.models.step import UdfJobStepConfig as UdfJobStepConfig
    from fused.models.udf import AnyBaseUdf as AnyBaseUdf
    from fused.models.udf import GeoPandasUdfV2 as GeoPandasUdfV2
    from fused.models.udf import GeoPandasUdfV2Callable as GeoPandasUdfV2Callable
    from fused.models.udf import Udf as Udf

_HOME = {
    "GDALOpenConfig": "fused.models.ingest",
    "GeospatialPartitionJobStepConfig": "fused.models.ingest",
    "JobConfig": "fused.models.job",
    "JobStepConfig": "fused.models.ingest",
    "NonGeospatialPartitionJobStepConfig": "fused.models.ingest",
    "PartitionJobStepConfig": "fused.models.ingest",
    "AnyBaseUdf": "fused.models.udf",
    "Field": "fused.models.schema",
    "GeoPandasUdfV2": "fused.models.udf",
    "GeoPandasUdfV2Callable": "fused.models.udf",
    "Header": "fused.models.header",
    "RunResponse": "fused._jobs.response",
    "Schema": "fused.models.schema",
    "Udf": "fused.models.udf",
    "UdfAccessToken": "fused.models.access_token",
    "UdfAccessTokenList": "fused.models.access_token",
    "UdfEvaluationResult": "fused._run.evaluation",
    "UdfJobStepConfig": "fused.models.step",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fused.models' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
