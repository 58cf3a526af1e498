"""The Verdict node: TFMA's evaluation and the task's gates in, a ModelVerdict with every number out."""

import dataclasses
import json
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.verdict.artifact import ModelVerdict
from components.verdict.executor import Executor
from components.verdict.gates import Gate


class VerdictSpec(component_spec.ComponentSpec):
    """Inputs, outputs and settings of the Verdict node."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "task": component_spec.ExecutionParameter(type=str),
        "gates": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, Any]] = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {"verdict": component_spec.ChannelParameter(type=ModelVerdict)}


class Verdict(base_component.BaseComponent):
    """Judges the candidate."""

    SPEC_CLASS = VerdictSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        task: str,
        gates: tuple[Gate, ...],
        code: str,
        evaluation: channel.BaseChannel,
        model: channel.BaseChannel,
        baseline_model: channel.BaseChannel,
    ) -> None:
        spec = VerdictSpec(
            task=task,
            gates=json.dumps([dataclasses.asdict(gate) for gate in gates], sort_keys=True),
            code=code,
            evaluation=evaluation,
            model=model,
            baseline_model=baseline_model,
            verdict=channel.OutputChannel(ModelVerdict, self, "verdict"),
        )
        super().__init__(spec=spec)
