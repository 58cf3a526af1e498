import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline import summary
from pipeline.metadata import Artifact, NodeRun
from pipeline.summary import Outcome, fold, live_version, nodes_table, outcome_of, show, verdict_table
from tests.pipeline import small_task

RESULT = {
    "metric": "auc",
    "slice": [],
    "examples": 1000,
    "bound": "at_least",
    "limit": 0.6,
    "measured": {"value": 0.71234, "lower": 0.7, "upper": 0.72},
    "outcome": "pass",
}
JUDGED = {"verdict": "BLESSED", "reasons": ["all 1 bounds hold"], "results": [RESULT]}


def node(name: str, state: str = "COMPLETE", seconds: float = 1.0, why: str = "first time", **outputs: Any) -> NodeRun:
    return NodeRun(name, 1, state, seconds, why, {key: (value,) for key, value in outputs.items()})


def examples(rows: int) -> Artifact:
    return Artifact(1, "/x", {"rows": rows})


def pusher(**properties: Any) -> NodeRun:
    return node("RolloutPusher", pushed_model=Artifact(9, "/pushed", properties))


def shown(table: Any, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The cells of a printed table's rows, without its title and head."""
    summary.console_of().print(table)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    return tmp_path


def verdict_in(folder: Path, content: str) -> NodeRun:
    (folder / "verdict.json").write_text(content)
    return node("Verdict", verdict=Artifact(3, str(folder), {}))


def test_a_pushed_version_is_a_green_run(tmp_path: Path) -> None:
    nodes = [verdict_in(tmp_path, json.dumps(JUDGED)), pusher(pushed=1, pushed_version="4")]
    assert outcome_of(nodes, None) == Outcome("pushed", 0, 4, (), JUDGED)


def test_a_problem_is_a_failure_even_when_a_version_was_pushed(tmp_path: Path) -> None:
    nodes = [verdict_in(tmp_path, json.dumps(JUDGED)), pusher(pushed=1, pushed_version="4")]
    assert outcome_of(nodes, "Trainer failed") == Outcome("failed", 1, None, ("Trainer failed",), JUDGED)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [({"pushed": 0, "reason": "the verdict is NOT_BLESSED"}, "the verdict is NOT_BLESSED"), ({}, "nothing was pushed")],
)
def test_a_run_that_pushed_nothing_is_not_green_and_says_why(properties: Mapping[str, Any], reason: str) -> None:
    assert outcome_of([pusher(**properties)], None) == Outcome("not blessed", 3, None, (reason,), {})
    assert outcome_of([], None).exit_code == 3


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_verdict_that_cannot_be_read_is_left_out_of_the_story(tmp_path: Path, content: str) -> None:
    assert outcome_of([verdict_in(tmp_path, content)], None).judged == {}


def test_a_failed_verdict_nodes_file_is_not_believed(tmp_path: Path) -> None:
    verdict_in(tmp_path, json.dumps(JUDGED))
    failed = node("Verdict", "FAILED", verdict=Artifact(3, str(tmp_path), {}))
    assert outcome_of([failed], "x").judged == {}


def test_the_nodes_of_single_spans_are_folded_in_order() -> None:
    names = ["CuratedSchema", "ExampleGen-span-0", "ExampleGen-span-1", "StatisticsGen-span-0", "ExampleGen-span-12"]
    folded = fold([node(name) for name in names])
    assert [(name, len(members)) for name, members in folded.items()] == [
        ("CuratedSchema", 1),
        ("ExampleGen", 3),
        ("StatisticsGen", 1),
    ]


def test_a_row_a_node_has_its_state_seconds_rows_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        node("ExampleGen-span-0", "CACHED", 0.1, "same inputs and settings", examples=examples(60_000)),
        node("ExampleGen-span-1", "CACHED", 0.1, "same inputs and settings", examples=examples(4_000)),
        node("ExampleGen-span-2", "COMPLETE", 2.0, "first time", examples=examples(1_000)),
        node("Trainer", "FAILED", 12.34, "new examples, transform graph"),
        node("Baseline", "CACHED", 0.0, "same inputs and settings"),
    ]
    assert shown(nodes_table(nodes), capsys) == [
        ["ExampleGen (3 spans)", "2 CACHED, 1 COMPLETE", "2.2", "65,000", "first time"],
        ["Trainer", "FAILED", "12.3", "", "new examples, transform graph"],
        ["Baseline", "CACHED", "0.0", "", "same inputs and settings"],
    ]


def test_failures_come_first_in_the_verdicts_table_then_the_overall_slice(capsys: pytest.CaptureFixture[str]) -> None:
    young = {**RESULT, "slice": [["age", "18"], ["gender", "F"]]}
    bare = {"value": 0.5, "lower": None, "upper": None}
    failed = {**RESULT, "slice": [["gender", "M"]], "outcome": "fail", "measured": bare}
    nothing = {**RESULT, "bound": "not_below_baseline_by", "limit": -0.01, "outcome": "no baseline"}
    none = {"value": None, "lower": None, "upper": None}
    rows = shown(verdict_table({"results": [young, failed, RESULT, {**nothing, "measured": none}]}), capsys)
    assert rows == [
        ["gender=M", "auc", "at least 0.6", "0.5000", "", "1000", "fail"],
        ["overall", "auc", "at least 0.6", "0.7123", "0.7000 to 0.7200", "1000", "pass"],
        ["overall", "auc", "not below baseline by 0.01", "", "", "1000", "no baseline"],
        ["age=18, gender=F", "auc", "at least 0.6", "0.7123", "0.7000 to 0.7200", "1000", "pass"],
    ]


@pytest.mark.parametrize("value", ["[red]x", "[/red]", "[nan, nan]", ":smile:", "a\\[b]"])
def test_a_users_words_are_shown_as_they_are(value: str, house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = {
        "verdict": "NOT_BLESSED",
        "reasons": [f"tag={value}: auc 0.5 [nan, nan]: fail"],
        "results": [{**RESULT, "slice": [["tag", value]]}],
    }
    nodes = [node("Trainer", why=f"changed {value}")]
    show(small_task.declare("unused"), nodes, Outcome("failed", 1, None, (f"because {value}",), judged), 3.0)
    out = capsys.readouterr().out
    assert f"│ tag={value} " in out
    assert f"changed {value} " in out
    assert f"verdict: NOT_BLESSED — tag={value}: auc 0.5 [nan, nan]: fail" in out
    assert f"failed: because {value}" in out


def test_a_pushed_run_says_where_the_model_is_and_what_it_answers(
    house: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import answers

    def three_answers(version: Path) -> list[tuple[dict[str, Any], float]]:
        assert version == house / "models" / "small" / "4"
        return [({"user": "[u]1", "tags": ["é"]}, 0.25), ({"user": "u2", "tags": []}, 0.75)]

    monkeypatch.setattr(answers, "three_answers", three_answers)
    show(small_task.declare("unused"), [node("Trainer")], Outcome("pushed", 0, 4, (), JUDGED), 61.6)
    lines = capsys.readouterr().out.splitlines()
    assert "verdict: BLESSED — all 1 bounds hold" in lines
    assert f"pushed: version 4 at {house}/models/small/4" in "".join(lines)
    assert '  {"user": "[u]1", "tags": ["é"]} -> score 0.2500' in lines
    assert '  {"user": "u2", "tags": []} -> score 0.7500' in lines
    assert lines[-1] == "62 s; `python -m pipeline why small` tells why the live version is live"


def test_the_live_version_is_the_newest_number(house: Path) -> None:
    assert live_version("small") is None
    for name in ("2", "10", "9", ".incoming-11", "notes"):
        (house / "models" / "small" / name).mkdir(parents=True)
    assert live_version("small") == 10
