"""The statistics node of one span."""

from typing import ClassVar

from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, Channel, standard_artifacts
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_component_specs import StatisticsGenSpec
from tfx.utils import json_utils

from components.statistics_gen.executor import IN_MEMORY_MIB, Executor

__all__ = ["SpanStatisticsGen", "span_statistics"]


class _SpanStatisticsSpec(StatisticsGenSpec):
    PARAMETERS: ClassVar = {**StatisticsGenSpec.PARAMETERS, IN_MEMORY_MIB: ExecutionParameter(type=int)}


class SpanStatisticsGen(StatisticsGen):
    """StatisticsGen with the executor of `components.statistics_gen.executor`."""

    SPEC_CLASS = _SpanStatisticsSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, in_memory_mib: int, schema: BaseChannel | None = None) -> None:
        """As StatisticsGen's; Examples of more than `in_memory_mib` MiB (gzip, all splits) are counted in Beam."""
        spec = _SpanStatisticsSpec(
            examples=examples,
            schema=schema,
            exclude_splits=json_utils.dumps([]),
            in_memory_mib=in_memory_mib,
            statistics=Channel(type=standard_artifacts.ExampleStatistics),
        )
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)  # StatisticsGen's own fixes the spec class


def span_statistics(
    examples: BaseChannel, span: int, schema: BaseChannel | None = None, in_memory_mib: int = 64
) -> SpanStatisticsGen:
    """The node `StatisticsGen-span-<span>`; its `statistics` has one `FeatureStats.pb` a split.

    Args:
        examples: the span's Examples.
        span: its number.
        schema: the curated schema, where whole numbers are categories by it (`is_categorical`): only then are they
            counted by value, which an L-infinity comparator of drift needs. A change of it counts every span again.
        in_memory_mib: larger Examples (MiB of gzip files, all splits) are counted in Beam.
    """
    node = SpanStatisticsGen(examples, in_memory_mib, schema=schema)
    node.with_id(f"StatisticsGen-span-{span}")
    return node
