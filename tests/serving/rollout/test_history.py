"""`history MODEL`: every change with who, why and the numbers."""

import json

import pytest

from serving.rollout import cli
from serving.rollout.state import Phase
from serving.rollout.store import open_store
from tests.serving.rollout.stores import led, moved


@pytest.fixture(autouse=True)
def story(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A canary that fails."""
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("PRESSLINE_LEDGER_URL", raising=False)
    store = open_store()
    store.submit("topic", 1, "pipeline")
    lease = led(store, "desk:7")
    rollout = store.submit("clicks", 8, "pipeline", "run clicks-3")
    rollout = moved(store, lease, rollout, Phase.CANARY, 1, reason="every server has it")
    store.ask("clicks", "pause", "ann@desk", "odd [/colour] of it")
    numbers = {"numbers": {"error_rate": {"canary": 0.123456, "stable": 0.01}, "samples": 812}, "note": None}
    moved(store, lease, rollout, Phase.WITHDRAWING, 1, reason="errors", bad=True, elapsed_s=61.25, evidence=numbers)


def test_each_change_has_a_line_with_its_actor_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "clicks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[21:].rstrip() for line in lines] == [
        "version 8  staged, by pipeline: run clicks-3",
        "version 8  canary 1 after 0.0 s in staged, by desk:7: every server has it",
        "version 8  asked to pause, by ann@desk: odd [/colour] of it",
        "version 8  withdrawing after 0.0 s in canary 1, by desk:7: errors",
    ]


def test_the_numbers_of_each_change_stand_below_it_for_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "clicks", "--numbers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "withdrawing" in lines[3]
    assert lines[4].split() == [
        "numbers.error_rate.canary=0.1235",
        "numbers.error_rate.stable=0.01",
        "numbers.samples=812",
    ]


def test_for_machines_each_change_is_an_object_with_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "clicks", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["verdict"] for row in rows] == ["STAGED", "CANARY 1", "ASKED TO PAUSE", "WITHDRAWING"]
    assert rows[-1]["evidence"]["evidence"]["numbers"]["error_rate"]["canary"] == 0.123456
    assert rows[-1]["evidence"]["bad"] is True


def test_a_model_without_a_story_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "films"]) == 2
    assert "no rollout of 'films'; there are some of: clicks, topic" in capsys.readouterr().err
