import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from components.verdict import measurements
from components.verdict.gates import Gate
from components.verdict.judge import BLESSED, NOT_BLESSED, NOT_JUDGED, Interval, Measurement

GATES = (Gate("auc", at_least=0.6, not_below_baseline_by=0.01, slices=(("gender",),)),)
GOOD = Measurement("auc", (), 1000, Interval(0.7, 0.65, 0.75), Interval(0.01, -0.01, 0.03))
NAN = Measurement("auc", (), 1000, Interval(math.nan))


def judged(
    folder: Path, patch: pytest.MonkeyPatch, found: list[Measurement] | Exception, with_baseline: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Runs the node on what TFMA "measured"; returns the verdict and the content of its file."""
    from tfx.types import standard_artifacts

    from components.verdict.artifact import ModelVerdict
    from components.verdict.executor import VERDICT_FILE, Executor

    def read(evaluation: str) -> list[Measurement]:
        assert evaluation == str(folder / "evaluation")
        if isinstance(found, Exception):
            raise found
        return found

    patch.setenv("PRESSLINE_HOME", str(folder / "home"))
    patch.setattr(measurements, "read", read)
    evaluation, verdict = standard_artifacts.ModelEvaluation(), ModelVerdict()
    model, baseline = standard_artifacts.Model(), standard_artifacts.Model()
    evaluation.uri, verdict.uri = str(folder / "evaluation"), str(folder / "verdict")
    model.uri, baseline.uri, model.id = "/models/new", "/models/old", 7
    (folder / "verdict").mkdir()  # as TFX does
    inputs = {"evaluation": [evaluation], "model": [model]} | ({"baseline_model": [baseline]} if with_baseline else {})
    settings = {"task": "small", "gates": json.dumps([asdict(gate) for gate in GATES]), "code": "x"}
    Executor().Do(inputs, {"verdict": [verdict]}, settings)
    content: dict[str, Any] = json.loads((folder / "verdict" / VERDICT_FILE).read_text())
    return verdict, content


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([GOOD], BLESSED),
        ([Measurement("auc", (), 1000, Interval(0.5))], NOT_BLESSED),
        ([NAN], NOT_JUDGED),
        (FileNotFoundError("gone"), NOT_JUDGED),
    ],
)
def test_whatever_the_verdict_it_is_written_and_only_a_blessing_blesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[Measurement] | Exception, verdict: str
) -> None:
    decided, content = judged(tmp_path, monkeypatch, found)
    assert content["verdict"] == decided.get_string_custom_property("verdict") == verdict
    assert content["reasons"]
    assert decided.get_int_custom_property("blessed") == int(verdict == BLESSED)


def test_the_file_holds_every_number_and_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, content = judged(tmp_path, monkeypatch, [GOOD], with_baseline=True)
    assert content["baseline_model"] == "/models/old"
    assert content["measurements"] == [{**json.loads(json.dumps(asdict(GOOD)))}]
    assert [(row["bound"], row["limit"], row["outcome"]) for row in content["results"]] == [
        ("at_least", 0.6, "pass"),
        ("not_below_baseline_by", -0.01, "pass"),
    ]


def test_a_number_that_is_none_is_null_in_the_file_which_stays_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content = judged(tmp_path, monkeypatch, [NAN])
    assert content["measurements"][0]["candidate"] == {"value": None, "lower": None, "upper": None}
    assert "NaN" not in (tmp_path / "verdict" / "verdict.json").read_text()


def test_the_ledger_has_the_verdict_with_its_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.ledger import open_ledger

    judged(tmp_path, monkeypatch, [GOOD])
    with open_ledger() as ledger:
        (row,) = ledger.decisions(kind="verdict")
    assert (row.task, row.verdict, row.run) == ("small", BLESSED, None)
    assert row.evidence["model"] == "/models/new"
    assert row.evidence["results"][0]["measured"]["value"] == 0.7
    assert "first model of its task" in row.evidence["reasons"][0]
