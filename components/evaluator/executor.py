"""Evaluator executor: the stock one's artifact, computed in this process for records that fit in memory."""

import logging
import time
from typing import Any

from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.types import Artifact, artifact_utils

from components.evaluator.measuring import slice_metrics
from components.evaluator.request import NeedsBeamError, request_of
from components.evaluator.scoring import read_examples, score, shared_models
from components.evaluator.writing import write_evaluation

__all__ = ["IN_MEMORY_EXAMPLES", "Executor"]

LOG = logging.getLogger(__name__)
IN_MEMORY_EXAMPLES = "in_memory_examples"


class Executor(stock.Executor):
    """Evaluator's executor, without Beam where the records are few and the metrics binary."""

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None) -> None:
        """Beam is made ready only when used: TFX packs all its own sources for Beam's workers, which takes 3 s."""
        base_executor.BaseExecutor.__init__(self, context)

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write TFMA's evaluation; without thresholds the `blessing` artifact stays empty, as in the stock executor.

        Raises:
            ValueError: a model lacks a signature that the config names, or predicts NaN.
            InputError: a text to slice by is not UTF-8.
        """
        began = time.monotonic()
        try:
            request = request_of(input_dict, exec_properties)
            examples = read_examples(request.files, exec_properties.get(IN_MEMORY_EXAMPLES, 0))
            scored = score(request, shared_models(request), examples)
        except NeedsBeamError as reason:
            LOG.info("Evaluation in Beam, record by record: %s", reason)
            super().__init__(self._context)
            super().Do(input_dict, output_dict, exec_properties)
            return
        folder = artifact_utils.get_single_uri(output_dict[constants.EVALUATION_KEY])
        write_evaluation(folder, request, slice_metrics(request, scored))
        LOG.info("%d records in %d slices: %.1f s", scored.rows, len(scored.slices), time.monotonic() - began)
