"""The window node: every span's Examples in, one Examples out."""

from collections.abc import Mapping
from typing import ClassVar

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.span_window.executor import INPUT_PREFIX, Executor

__all__ = ["SpanWindowExamples"]


class _WindowSpec(ComponentSpec):
    PARAMETERS: ClassVar = {"newest": ExecutionParameter(type=int)}
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS: ClassVar = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class SpanWindowExamples(base_component.BaseComponent):
    """`examples`: split `train` of every span, split `eval` of the newest.

    A spec names its inputs and each carries one artifact, so a window of n spans has a spec of its own.
    """

    SPEC_CLASS = _WindowSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, examples: Mapping[int, BaseChannel]) -> None:
        """Build the node `SpanWindow`.

        Args:
            examples: the `examples` channel of each span, by span; at least one.

        Raises:
            ValueError: there is none.
        """
        if not examples:
            raise ValueError("a window needs at least one span")
        inputs = {f"{INPUT_PREFIX}{span}": channel for span, channel in sorted(examples.items())}
        parameters = {key: ChannelParameter(type=standard_artifacts.Examples) for key in inputs}
        spec_class = type("SpanWindowSpec", (_WindowSpec,), {"INPUTS": parameters})
        output = Channel(type=standard_artifacts.Examples)
        super().__init__(spec=spec_class(newest=max(examples), examples=output, **inputs))
        self.with_id("SpanWindow")
