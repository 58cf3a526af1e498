"""The push itself is tested where a model is: tests/e2e/test_overrides.py."""

from pathlib import Path

import pytest

from pipeline import overrides
from pipeline.overrides import bless, rebaseline, who
from serving.errors import InputError
from serving.ledger import Ledger, open_ledger
from tests.pipeline.made_store import MadeStore

TASK = "tests.e2e.small.task"
NAME = "small"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    monkeypatch.delenv("PRESSLINE_LEDGER_URL", raising=False)
    return tmp_path


@pytest.fixture
def made(house: Path) -> MadeStore:
    return MadeStore(house / "metadata.sqlite", NAME)


def judged_run(made: MadeStore, run: str, blessed: int, version: int | None = None) -> tuple[int, int]:
    """A run in the store and the ledger; returns the ids of its model and its blessing."""
    model = made.artifact("Model", str(made.path.parent / run))
    (made.path.parent / run / "Format-Serving").mkdir(parents=True)
    verdict = "BLESSED" if blessed else "NOT_BLESSED"
    blessing = made.artifact("ModelBlessing", "/b", blessed=blessed, current_model_id=model)
    made.node(run, "CuratedSchema", outputs={"schema": made.artifact("Schema", "/s")})
    made.node(run, "SpanWindow", outputs={"examples": made.artifact("Examples", "/e")})
    made.node(run, "Trainer", outputs={"model": model})
    decided = made.artifact("ModelVerdict", "/v", blessed=blessed, verdict=verdict)
    made.node(run, "Verdict", inputs={"model": model}, outputs={"verdict": decided})
    made.node(run, "RolloutPusher", inputs={"verdict": decided}, outputs={"blessing": blessing})
    with open_ledger() as ledger:
        ledger.record("run_started", NAME, "started", {"asked_for": TASK}, run)
        if version is not None:
            ledger.record("push", NAME, "PUSHED", {}, run, version)
    return model, blessing


def blessed(made: MadeStore, blessing: int) -> int:
    (artifact,) = made.store.get_artifacts_by_id([blessing])
    return int(artifact.custom_properties["blessed"].int_value)


def rows(kind: str) -> list[tuple[str, str, str, object]]:
    with open_ledger() as ledger:
        return [(one.verdict, one.actor, one.reason, one.evidence) for one in ledger.decisions(kind=kind)]


def test_blessing_a_run_pushes_its_model_and_makes_it_a_baseline(
    made: MadeStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, blessing = judged_run(made, "small-1", blessed=0)

    def push(task: object, run: str, parts: object, ledger: Ledger, reason: str) -> int:
        assert (run, reason) == ("small-1", "holidays")
        assert blessed(made, blessing) == 0  # nothing is a baseline before it is pushed
        return 4

    monkeypatch.setattr(overrides, "_push", push)
    assert bless("small-1", "holidays") == 0
    assert blessed(made, blessing) == 1
    assert rows("override") == [("BLESSED", who(), "holidays", {"verdict": "NOT_BLESSED"})]
    assert "version 4 pushed" in capsys.readouterr().out


def test_a_run_that_is_not_known_is_answered_with_the_latest_ones(made: MadeStore) -> None:
    for number in range(1, 6):
        judged_run(made, f"small-{number}", blessed=1)
    with pytest.raises(InputError, match=r"no run 'smal-5' in the ledger; the latest are small-5, small-4, small-3$"):
        bless("smal-5", "why not")


def test_without_any_run_none_can_be_blessed(house: Path) -> None:
    with pytest.raises(InputError, match=r"no run 'small-1' in the ledger; the latest are none"):
        bless("small-1", "why not")


def test_a_run_that_made_no_model_cannot_be_blessed(made: MadeStore) -> None:
    made.node("small-1", "CuratedSchema")
    with open_ledger() as ledger:
        ledger.record("run_started", NAME, "started", {"asked_for": TASK}, "small-1")
    with pytest.raises(InputError, match="run small-1 has no judged model to bless"):
        bless("small-1", "why not")
    assert rows("override") == []


def test_a_model_is_pushed_once(made: MadeStore) -> None:
    judged_run(made, "small-1", blessed=1, version=7)
    with pytest.raises(InputError, match="is pushed already: version 7"):
        bless("small-1", "twice")
    assert rows("override") == []


def test_a_model_that_is_gone_is_not_blessed_and_no_override_is_recorded(made: MadeStore, house: Path) -> None:
    _, blessing = judged_run(made, "small-1", blessed=0)
    (house / "small-1" / "Format-Serving").rmdir()
    with pytest.raises(InputError, match=f"the model of run small-1 is no longer at {house}/small-1/Format-Serving"):
        bless("small-1", "why not")
    assert blessed(made, blessing) == 0
    assert rows("override") == []


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_an_empty_reason_is_refused_before_anything_is_touched(house: Path, reason: str) -> None:
    with pytest.raises(InputError, match="--reason is empty"):
        bless("small-1", reason)
    with pytest.raises(InputError, match="--reason is empty"):
        rebaseline(TASK, 1, reason)
    assert list(house.iterdir()) == []


def test_an_older_version_becomes_the_baseline_again(made: MadeStore, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [judged_run(made, f"small-{number}", 1, version=number) for number in (1, 2, 3)]
    assert rebaseline(TASK, 1, "the others were spammed") == 0
    assert [blessed(made, blessing) for _, blessing in runs] == [1, 0, 0]
    evidence = {"baseline": "version 1", "no longer blessed": [runs[1][0], runs[2][0]]}
    assert rows("rebaseline") == [("version 1", who(), "the others were spammed", evidence)]
    assert "the baseline is now version 1; 2 newer blessings taken back" in capsys.readouterr().out


def test_a_newer_version_becomes_the_baseline_again_after_an_older_one_was(made: MadeStore) -> None:
    runs = [judged_run(made, f"small-{number}", 1, version=number) for number in (1, 2)]
    rebaseline(TASK, 1, "x")
    rebaseline(TASK, 2, "x")
    assert [blessed(made, blessing) for _, blessing in runs] == [1, 1]


def test_without_a_version_there_is_no_baseline(made: MadeStore) -> None:
    runs = [judged_run(made, f"small-{number}", 1, version=number) for number in (1, 2)]
    rebaseline(TASK, None, "a new start")
    assert [blessed(made, blessing) for _, blessing in runs] == [0, 0]


def test_another_tasks_blessings_stay(made: MadeStore, house: Path) -> None:
    other = MadeStore(house / "metadata.sqlite", "other")
    theirs = other.artifact("ModelBlessing", "/b", blessed=1, current_model_id=99)
    judged_run(made, "small-1", blessed=1)
    rebaseline(TASK, None, "a new start")
    assert blessed(made, theirs) == 1


def test_a_version_that_no_run_pushed_cannot_be_a_baseline(made: MadeStore) -> None:
    _, blessing = judged_run(made, "small-1", blessed=1, version=1)
    with pytest.raises(InputError, match="version 2 of small was not pushed by a run"):
        rebaseline(TASK, 2, "why not")
    assert blessed(made, blessing) == 1
    assert rows("rebaseline") == []


def test_a_task_without_a_run_has_no_baseline_to_change(house: Path) -> None:
    with pytest.raises(InputError, match="small has had no run on this machine yet"):
        rebaseline(TASK, None, "why not")
