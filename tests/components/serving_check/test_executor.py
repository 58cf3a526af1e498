"""The ServingCheck node: artifacts in, a blessing, its report and a row of the ledger out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.ledger import open_ledger
from tests.serving.artifacts import empty_artifact, line_artifacts

AMPLE = {"task": "clicks", "batch_1_p99_ms": 60_000.0, "batch_64_p99_ms": 60_000.0}


@pytest.fixture
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    monkeypatch.setenv("PRESSLINE_LEDGER_URL", url)
    return url


def run_node(folder: Path, model: Path, settings: dict[str, Any], rows: int = 70) -> tuple[Any, dict[str, Any]]:
    """The blessing and its report."""
    from tfx.dsl.components.base import base_executor
    from tfx.types import standard_artifacts

    from components.serving_check.executor import Executor

    inputs = line_artifacts(folder, model, rows)
    blessing = empty_artifact(standard_artifacts.InfraBlessing, folder / "blessing")
    context = base_executor.BaseExecutor.Context(pipeline_run_id="r1")
    Executor(context).Do(inputs, {"blessing": [blessing]}, settings)
    return blessing, json.loads((folder / "blessing" / "report.json").read_text())


def test_a_model_that_passes_is_blessed_with_its_numbers_in_the_report_and_the_ledger(
    model_with: Callable[[str], Path], tmp_path: Path, ledger_url: str
) -> None:
    blessing, report = run_node(tmp_path, model_with(""), AMPLE)
    assert blessing.get_int_custom_property("blessed") == 1
    assert (report["verdict"], report["reasons"], report["records"]) == ("PASSED", [], 70)
    (row,) = open_ledger(ledger_url).decisions()
    assert (row.kind, row.task, row.verdict, row.run) == ("serving_check", "clicks", "PASSED", "r1")
    assert row.evidence["latency_ms"] == report["latency_ms"]
    assert row.evidence["model"]["id"] == 11


def test_a_model_over_its_budget_is_not_blessed_and_the_node_ends_normally(
    model_with: Callable[[str], Path], tmp_path: Path, ledger_url: str
) -> None:
    blessing, report = run_node(tmp_path, model_with(""), {**AMPLE, "batch_64_p99_ms": 1e-6})
    assert blessing.get_int_custom_property("blessed") == 0
    assert report["verdict"] == "FAILED"
    assert report["reasons"][0].startswith("p99 at batch 64 is")
    (row,) = open_ledger(ledger_url).decisions()
    assert row.verdict == "FAILED"
    assert row.reason == report["reasons"][0]


def test_an_evaluation_split_without_records_is_a_failed_check(
    model_with: Callable[[str], Path], tmp_path: Path, ledger_url: str
) -> None:
    blessing, report = run_node(tmp_path, model_with(""), AMPLE, rows=0)
    assert blessing.get_int_custom_property("blessed") == 0
    assert "hold no records" in report["reasons"][0]


def test_the_node_can_stand_in_a_graph() -> None:
    from tfx.types import channel_utils, standard_artifacts

    from components.serving_check.component import ServingCheck

    kinds = {"model": "Model", "examples": "Examples", "schema": "Schema"}
    inputs = {name: channel_utils.as_channel([getattr(standard_artifacts, kind)()]) for name, kind in kinds.items()}
    node = ServingCheck(task="clicks", batch_1_p99_ms=50, batch_64_p99_ms=150.0, **inputs)
    assert node.outputs["blessing"].type_name == "InfraBlessing"
    assert node.exec_properties == {"task": "clicks", "batch_1_p99_ms": 50.0, "batch_64_p99_ms": 150.0}
