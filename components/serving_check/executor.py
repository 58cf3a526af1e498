"""Runs the ServingCheck node: reads, checks, writes; a model that fails is a result, not an error."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_check import raw_records
from components.serving_check.check import MOST_RECORDS, Report, check
from serving.ledger import open_ledger

REPORT_FILE = "report.json"
EVAL_SPLIT = "eval"
PASSED, FAILED = "PASSED", "FAILED"


class Executor(base_executor.BaseExecutor):
    """Writes `report.json` into the blessing, its custom property `blessed` (1 or 0), and a row into the ledger."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """TFX's entry point.

        Args:
            input_dict: `model`, `examples`, `schema`.
            output_dict: `blessing`.
            exec_properties: `task`, `batch_1_p99_ms`, `batch_64_p99_ms`.
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        budget = {1: float(exec_properties["batch_1_p99_ms"]), 64: float(exec_properties["batch_64_p99_ms"])}
        schema = io_utils.SchemaReader().read(
            io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
        )
        try:
            records = raw_records.read(
                artifact_utils.get_split_uri(input_dict["examples"], EVAL_SPLIT), schema, MOST_RECORDS
            )
            report = check(path_utils.serving_model_path(model.uri), records, budget)
        except raw_records.RecordsError as error:
            report = Report((f"nothing to ask the model: {error}",))
        verdict = PASSED if report.passed else FAILED
        content = {"verdict": verdict, "reasons": list(report.reasons), **report.numbers}
        with fileio.open(f"{blessing.uri}/{REPORT_FILE}", "w") as file:
            file.write(json.dumps(content, indent=1, allow_nan=False))
        blessing.set_int_custom_property("blessed", int(report.passed))
        blessing.set_string_custom_property("verdict", verdict)
        run = self._context.pipeline_run_id if self._context else None
        evidence = {**content, "model": {"id": model.id, "uri": model.uri}}
        with open_ledger() as ledger:
            ledger.record(
                "serving_check", exec_properties["task"], verdict, evidence, run, reason="; ".join(report.reasons)
            )
