"""The data gate's node: every span's statistics in, anomalies out, or the line stops."""

from collections.abc import Mapping
from typing import ClassVar

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.data_gate.executor import INPUT_PREFIX, NEWEST_EXAMPLES, Executor

__all__ = ["DataGate"]


class _GateSpec(ComponentSpec):
    PARAMETERS: ClassVar = {
        "task": ExecutionParameter(type=str),
        "label": ExecutionParameter(type=str),
        "environment": ExecutionParameter(type=str),
        "drift_error_factor": ExecutionParameter(type=float),
    }
    INPUTS: ClassVar = {
        "schema": ChannelParameter(type=standard_artifacts.Schema),
        NEWEST_EXAMPLES: ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS: ClassVar = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class DataGate(base_component.BaseComponent):
    """`anomalies`: what `components.data_gate.gate.judge` found in the window; the execution fails on an error.

    A spec names its inputs and each carries one artifact, so a window of n spans has a spec of its own.
    """

    SPEC_CLASS = _GateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: Mapping[int, BaseChannel],
        schema: BaseChannel,
        newest_examples: BaseChannel,
        task: str,
        label: str,
        environment: str = "TRAINING",
        drift_error_factor: float = 2.0,
    ) -> None:
        """Build the node `DataGate`.

        Args:
            statistics: the `statistics` channel of each span of the window, by span; at least one.
            schema: the curated schema.
            newest_examples: the newest span's Examples, to count and show the records that an anomaly is about.
            task: name of the task, for the report and the ledger.
            label: the raw feature that holds the answer.
            environment: one of the schema's default environments; empty where it declares none.
            drift_error_factor: drift above this many times its threshold is an error (at least 1).

        Raises:
            ValueError: no span, or a factor below 1.
        """
        if not statistics:
            raise ValueError("the data gate needs the statistics of at least one span")
        if drift_error_factor < 1:
            raise ValueError(f"drift_error_factor is at least 1; got {drift_error_factor}")
        inputs = {f"{INPUT_PREFIX}{span}": channel for span, channel in sorted(statistics.items())}
        parameters = {key: ChannelParameter(type=standard_artifacts.ExampleStatistics) for key in inputs}
        spec_class = type("DataGateSpec", (_GateSpec,), {"INPUTS": {**_GateSpec.INPUTS, **parameters}})
        spec = spec_class(
            task=task,
            label=label,
            environment=environment,
            drift_error_factor=drift_error_factor,
            schema=schema,
            newest_examples=newest_examples,
            anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
            **inputs,
        )
        super().__init__(spec=spec)
        self.with_id("DataGate")
