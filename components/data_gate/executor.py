"""Executor of the data gate: reads artifacts, has them judged, writes what was found, stops the line."""

import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.example_validator import executor as stock
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import io_utils

from components.data_gate.errors import DataGateError
from components.data_gate.gate import judge
from components.data_gate.offending import counted, sample_lines
from components.data_gate.report import Finding, GateReport
from components.data_gate.window_checks import SpanStatistics
from components.statistics_gen.executor import records_of, split_files
from serving.home import home

__all__ = ["INPUT_PREFIX", "NEWEST_EXAMPLES", "Executor"]

INPUT_PREFIX = "statistics_"
NEWEST_EXAMPLES = "newest_examples"
MOST_SAMPLES = 20


class Executor(base_executor.BaseExecutor):
    """Judge a window of spans; raise where an error was found in any of them.

    Written to the artifact and, because TFX removes the artifact of a failed execution, to the reports of
    PRESSLINE_HOME too: SchemaDiff.pb of each span and split, report.json, report.txt, offending.jsonl.
    """

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Read, judge, write, record.

        Raises:
            DataGateError: a finding of severity ERROR in any span; its message is the report.
        """
        task, run = str(exec_properties["task"]), self._run_id()
        spans = list(_statistics(input_dict))
        folder = artifact_utils.get_single_uri(input_dict[keys.SCHEMA_KEY])
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))
        report = judge(
            spans,
            spans[-2] if len(spans) > 1 else None,
            schema,
            exec_properties.get("environment") or None,
            label=str(exec_properties["label"]),
            drift_error_factor=float(exec_properties["drift_error_factor"]),
        )
        report, samples = _looked_at(report, artifact_utils.get_single_instance(input_dict[NEWEST_EXAMPLES]), schema)
        artifact = artifact_utils.get_single_instance(output_dict[keys.ANOMALIES_KEY])
        _describe(artifact, report)
        texts = _texts(task, report, samples)
        folders = [artifact.uri, *_kept_in(task, run)]
        for target in folders:
            _write(target, texts, report)
        _record(task, run, report, folders[-1])
        if not report.passed:
            raise DataGateError(
                f"{report.as_text(task)}\nThe line stops here and nothing was trained. Mend the records, or, if they "
                f"are right, the curated schema. The report and a sample of the records: {folders[-1]}"
            )

    def _run_id(self) -> str:
        run = self._context.pipeline_run_id if self._context else None
        return str(run) if run else "no-run"


def _statistics(input_dict: Mapping[str, list[Artifact]]) -> Iterator[SpanStatistics]:
    """The window's statistics, the oldest span first."""
    for span in sorted(int(key.removeprefix(INPUT_PREFIX)) for key in input_dict if key.startswith(INPUT_PREFIX)):
        artifact = artifact_utils.get_single_instance(input_dict[f"{INPUT_PREFIX}{span}"])
        splits = artifact_utils.decode_split_names(artifact.split_names)
        loaded = {split: stats_artifact_utils.load_statistics(artifact, split).proto() for split in splits}
        yield SpanStatistics(span, loaded)


def _looked_at(report: GateReport, newest: Artifact, schema: schema_pb2.Schema) -> tuple[GateReport, list[str]]:
    """The report with exact row counts for the newest span, and a sample of its offending records as JSON lines."""
    about = {finding.split for finding in report.findings if finding.span == report.newest and finding.feature}
    batches = {split: records_of(split_files(newest, split)) for split in sorted(about) if split}
    findings = [
        counted(finding, batches[finding.split], schema) if _is_in(finding, report, batches) else finding
        for finding in report.findings
    ]
    samples: list[str] = []
    for finding in findings:
        if _is_in(finding, report, batches):
            samples += sample_lines(finding, batches[finding.split], schema, MOST_SAMPLES - len(samples))
    return replace(report, findings=tuple(findings)), samples


def _is_in(finding: Finding, report: GateReport, batches: Mapping[str, pa.RecordBatch]) -> bool:
    return finding.span == report.newest and bool(finding.feature) and finding.split in batches


def _split_name(span: int, split: str) -> str:
    return f"span-{span}-{split}"


def _describe(artifact: Artifact, report: GateReport) -> None:
    """One split a span and split, so that TFX's own readers find every SchemaDiff.pb; blessed as ExampleValidator's."""
    artifact.split_names = artifact_utils.encode_split_names([_split_name(*key) for key in report.anomalies])
    artifact.span = report.newest
    blessed = {_split_name(*key): int(not found.anomaly_info) for key, found in report.anomalies.items()}
    artifact.set_json_value_custom_property(stock.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    artifact.set_string_custom_property("verdict", report.verdict)


def _texts(task: str, report: GateReport, samples: Iterable[str]) -> dict[str, str]:
    return {
        "report.json": json.dumps({"task": task, **report.as_dict()}, indent=1) + "\n",
        "report.txt": report.as_text(task),
        "offending.jsonl": "".join(f"{line}\n" for line in samples),
    }


def _kept_in(task: str, run: str) -> list[str]:
    """The folder of this run's report in PRESSLINE_HOME; none where that is not on a local disk."""
    if "://" in os.environ.get("PRESSLINE_HOME", ""):
        return []
    return [str(Path(home(), "reports", task, run.replace(":", "-"), "data_gate"))]


def _write(folder: str, texts: Mapping[str, str], report: GateReport) -> None:
    for (span, split), found in report.anomalies.items():
        path = posixpath.join(folder, f"Split-{_split_name(span, split)}", stock.DEFAULT_FILE_NAME)
        fileio.makedirs(posixpath.dirname(path))
        with fileio.open(path, "wb") as file:
            file.write(found.SerializeToString(deterministic=True))
    for name, text in texts.items():
        with fileio.open(posixpath.join(folder, name), "w") as file:
            file.write(text)


def _record(task: str, run: str, report: GateReport, folder: str) -> None:
    from serving.ledger import open_ledger

    evidence = {**report.as_dict(), "report": folder}
    open_ledger().record("gate", task, report.verdict, evidence, run=run)
