"""The Evaluator node, columnar where the held-out records fit in memory."""

from typing import ClassVar

import tensorflow_model_analysis as tfma
from tfx.components.evaluator.component import Evaluator
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, Channel, standard_artifacts
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_component_specs import EvaluatorSpec
from tfx.utils import json_utils

from components.evaluator.executor import IN_MEMORY_EXAMPLES, Executor

__all__ = ["ColumnarEvaluator"]


class _ColumnarEvaluatorSpec(EvaluatorSpec):
    PARAMETERS: ClassVar = {**EvaluatorSpec.PARAMETERS, IN_MEMORY_EXAMPLES: ExecutionParameter(type=int)}


class ColumnarEvaluator(Evaluator):
    """TFX's Evaluator with the executor of `components.evaluator.executor`; its node is called `Evaluator`."""

    SPEC_CLASS = _ColumnarEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        eval_config: tfma.EvalConfig,
        baseline_model: BaseChannel | None = None,
        example_splits: list[str] | None = None,
        schema: BaseChannel | None = None,
        module_path: str | None = None,
        in_memory_examples: int = 200_000,
    ) -> None:
        """As Evaluator's, without what TFX calls deprecated and without packaging of a module file.

        Args:
            examples: Examples of tf.Example records.
            model: the candidate.
            eval_config: what is measured. Whatever the columnar way does not know is measured in Beam.
            baseline_model: the model that the candidate is compared with.
            example_splits: splits that are measured together; ["eval"] by default.
            schema: of the raw features; with one the executor goes to Beam.
            module_path: module with custom evaluation functions; with one the executor goes to Beam.
            in_memory_examples: more records than this in all splits together are measured in Beam; 0 is always Beam.
        """
        spec = _ColumnarEvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            eval_config=eval_config,
            example_splits=json_utils.dumps(example_splits),
            feature_slicing_spec=None,
            fairness_indicator_thresholds=json_utils.dumps(None),
            schema=schema,
            module_file=None,
            module_path=module_path,
            in_memory_examples=in_memory_examples,
            evaluation=Channel(type=standard_artifacts.ModelEvaluation),
            blessing=Channel(type=standard_artifacts.ModelBlessing),
        )
        base_beam_component.BaseBeamComponent.__init__(self, spec=spec)  # Evaluator's own fixes the spec class
        self.with_id("Evaluator")
