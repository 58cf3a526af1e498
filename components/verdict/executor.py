"""Runs the Verdict node: reads, judges, writes; the judging itself is in judge.py."""

import json
import math
from dataclasses import asdict
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.verdict import measurements
from components.verdict.gates import Gate
from components.verdict.judge import BLESSED, NOT_JUDGED, Measurement, Verdict, judge
from serving.ledger import open_ledger

VERDICT_FILE = "verdict.json"


class Executor(base_executor.BaseExecutor):
    """Writes `verdict.json` into the verdict, and a row into the ledger; a bad verdict is a result, not an error."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """TFX's entry point.

        Args:
            input_dict: `evaluation`, `model` and, where there is one, `baseline_model`.
            output_dict: `verdict`.
            exec_properties: `task`, `gates` (JSON), `code` (fingerprint, so that a changed judge judges again).
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        baseline = next(iter(input_dict.get("baseline_model") or []), None)
        decided = artifact_utils.get_single_instance(output_dict["verdict"])
        gates = tuple(_gate(content) for content in json.loads(exec_properties["gates"]))
        evaluation = artifact_utils.get_single_uri(input_dict["evaluation"])
        measured: list[Measurement] = []
        try:
            measured = measurements.read(evaluation)
            verdict = judge(gates, measured, has_baseline=baseline is not None)
        except (OSError, ValueError) as error:
            verdict = Verdict(NOT_JUDGED, (f"the evaluation cannot be read: {error}",), (), baseline is not None)
        content = {
            **asdict(verdict),
            "baseline_model": baseline.uri if baseline else None,
            "measurements": [asdict(one) for one in measured],
        }
        _write(f"{decided.uri}/{VERDICT_FILE}", json.dumps(_without_nan(content), indent=1))
        decided.set_int_custom_property("blessed", int(verdict.verdict == BLESSED))
        decided.set_string_custom_property("verdict", verdict.verdict)
        run = self._context.pipeline_run_id if self._context else None
        evidence = {key: value for key, value in content.items() if key != "measurements"}
        with open_ledger() as ledger:
            ledger.record(
                "verdict", exec_properties["task"], verdict.verdict, _without_nan({**evidence, "model": model.uri}), run
            )


def _gate(content: dict[str, Any]) -> Gate:
    return Gate(**{**content, "slices": tuple(tuple(one) for one in content["slices"])})


def _without_nan(value: Any) -> Any:
    """The same with every NaN and infinity as None: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: str, text: str) -> None:
    with fileio.open(path, "w") as file:
        file.write(text)
