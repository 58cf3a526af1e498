"""The ServingCheck node: a model and real records in, an InfraBlessing with every number out."""

from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.serving_check.executor import Executor


class ServingCheckSpec(component_spec.ComponentSpec):
    """Inputs, outputs and settings of the ServingCheck node."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "task": component_spec.ExecutionParameter(type=str),
        "batch_1_p99_ms": component_spec.ExecutionParameter(type=float),
        "batch_64_p99_ms": component_spec.ExecutionParameter(type=float),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)
    }


class ServingCheck(base_component.BaseComponent):
    """Asks the exported model in a fresh process. The output `blessing` has custom property `blessed`, 1 or 0."""

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        *,
        task: str,
        batch_1_p99_ms: float,
        batch_64_p99_ms: float,
        model: channel.BaseChannel,
        examples: channel.BaseChannel,
        schema: channel.BaseChannel,
    ) -> None:
        """Build the node.

        Args:
            task: name of the task, for the ledger.
            batch_1_p99_ms: the largest p99 of a call with 1 record, in milliseconds; of 64 in `batch_64_p99_ms`.
            model: Model of a Trainer (`Format-Serving` in it).
            examples: Examples with a split `eval` of raw tf.Examples.
            schema: of the raw records.
        """
        spec = ServingCheckSpec(
            task=task,
            batch_1_p99_ms=float(batch_1_p99_ms),
            batch_64_p99_ms=float(batch_64_p99_ms),
            model=model,
            examples=examples,
            schema=schema,
            blessing=channel.OutputChannel(standard_artifacts.InfraBlessing, self, "blessing"),
        )
        super().__init__(spec=spec)
