"""What a person decides against the line; the runs are those of conftest.py."""

import json
from pathlib import Path

from tests.e2e import command
from tests.e2e.command import Finished
from tests.e2e.conftest import SMALL, STRICT, Run
from tests.e2e.left_behind import Home


def test_a_run_until_a_span_and_over_a_window_learns_from_these_alone(refused: Run, home: Home) -> None:
    (started,) = home.decisions("run_started", run=refused.name)
    assert started.evidence["spans"] == [1]
    assert [name for name in refused.states if "-span-" in name] == ["ExampleGen-span-1", "StatisticsGen-span-1"]


def test_a_model_below_a_gate_is_not_pushed_and_the_verdict_has_the_numbers(refused: Run, home: Home) -> None:
    assert refused.ended.code == 3, refused.ended.said
    assert "NOT_BLESSED" in refused.ended.out
    verdict = home.verdict(refused.name)
    (failed,) = [one for one in verdict["results"] if one["outcome"] == "fail"]
    assert verdict["verdict"] == "NOT_BLESSED"
    assert (failed["metric"], failed["bound"], failed["limit"]) == ("auc", "at_least", 0.999)
    assert 0 < failed["measured"]["value"] < 0.999
    assert failed["examples"] > 100
    assert f"auc {failed['measured']['value']:.4f}" in verdict["reasons"][0]
    declined = home.decisions("push", run=refused.name)[0]
    assert (declined.verdict, declined.version) == ("NOT_PUSHED", None)


def test_rebaseline_makes_an_older_version_the_baseline_of_the_next_candidate(
    rebaselined: Finished, first: Run, refused: Run, home: Home
) -> None:
    assert rebaselined.code == 0, rebaselined.said
    assert home.verdict(refused.name)["baseline_model"] == str(home.artifact(first.name, "Trainer", "model"))
    (decision,) = home.decisions("rebaseline")
    assert (decision.version, decision.reason) == (1, "2 was trained on a bad week")
    assert "@" in decision.actor


def test_bless_pushes_what_was_refused_and_is_audited(blessed: Finished, refused: Run, home: Home) -> None:
    assert blessed.code == 0, blessed.said
    version = home.versions()[-1]
    assert version == 3
    (override,) = home.decisions("override")
    assert (override.run, override.reason, override.evidence["verdict"]) == (
        refused.name,
        "the demo is at noon",
        "NOT_BLESSED",
    )
    push = home.decisions("push", run=refused.name)[-1]
    assert (push.verdict, push.version, push.reason) == ("PUSHED", 3, "the demo is at noon")
    assert push.actor == override.actor
    lineage = json.loads((home.models() / "3" / "assets.extra" / "pressline.json").read_text())
    assert lineage["override"]["reason"] == "the demo is at noon"
    assert home.verdict(refused.name)["verdict"] == "NOT_BLESSED"  # what was judged is not rewritten


def test_a_model_is_blessed_once(blessed: Finished, refused: Run, home: Home) -> None:
    again = command.run(["bless", refused.name, "--reason", "once more"], home.path)
    assert again.code == 2
    assert "pushed already: version 3" in again.err


def test_an_unchanged_run_of_a_blessed_model_says_that_it_is_pushed(
    blessed: Finished, home: Home, records: Path
) -> None:
    options = ["--data", str(records), "--until-span", "1", "--window", "1"]
    ended = command.run(["run", STRICT, *options], home.path)
    assert ended.code == 0, ended.said
    assert "version 3 is in" in ended.out


def test_why_tells_the_story_of_the_live_version(blessed: Finished, refused: Run, home: Home) -> None:
    ended = command.run(["why", SMALL], home.path)
    assert ended.code == 0, ended.said
    assert "small version 3 is the newest" in ended.out
    assert "spans 1 to 1 of" in ended.out
    assert "verdict: NOT_BLESSED" in ended.out
    assert "override: BLESSED" in ended.out
    assert "reason: the demo is at noon" in ended.out


def test_runs_lists_every_run_with_its_result(
    blessed: Finished, first: Run, second: Run, refused: Run, home: Home
) -> None:
    ended = command.run(["runs", SMALL], home.path)
    assert ended.code == 0, ended.said
    rows = {name: next(line for line in ended.out.splitlines() if name in line) for name in
            (first.name, second.name, refused.name)}  # fmt: skip
    assert "pushed" in rows[first.name]
    assert "0 to 2" in rows[second.name]
    assert "not blessed" in rows[refused.name]


def test_an_override_needs_a_run_that_exists_and_a_reason(blessed: Finished, refused: Run, home: Home) -> None:
    unknown = command.run(["bless", "small-20200101T000000", "--reason", "x"], home.path)
    assert unknown.code == 2
    assert refused.name in unknown.err
    silent = command.run(["bless", refused.name, "--reason", " "], home.path)
    assert silent.code == 2
    assert "--reason is empty" in silent.err
    absent = command.run(["rebaseline", SMALL, "--version", "99", "--reason", "x"], home.path)
    assert absent.code == 2
    assert "version 99 of small was not pushed by a run" in absent.err
