"""What the world should be in each phase: golden files, texts that real servers read, the two-phase rule."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import traffic_plan
from serving.rollout.desired import FIRST_LINE, Model, config, model_plan, server_config
from serving.rollout.desired import traffic_plan as plan_of
from serving.rollout.state import Phase, Rollout
from serving.traffic_plan import ModelPlan, Target
from tests.serving.rollout import golden
from tests.serving.rollout.fakes import parsed
from tests.serving.rollout.golden import model
from tests.serving.rollout.machines import NEW, OLD, rollout


@pytest.mark.parametrize("name", sorted(golden.CASES))
def test_config_and_plan_are_those_of_the_golden_file(name: str) -> None:
    assert golden.rendered(golden.CASES[name]) == (golden.GOLDEN / f"{name}.txt").read_text()


def test_golden_files_are_of_cases_that_there_are() -> None:
    assert {path.stem for path in golden.GOLDEN.glob("*.txt")} == golden.CASES.keys()


def test_a_config_is_total_sorted_and_says_who_writes_it() -> None:
    other = Model("births", "gs://bucket/births", 3)
    text = server_config([model(rollout(Phase.CANARY)), other, Model("waits", "/models/waits")]).text
    assert text.startswith(f"{FIRST_LINE}\n")
    read = [(one.name, one.base_path, one.model_platform, dict(one.version_labels)) for one in parsed(text)]
    assert read == [
        ("births", "gs://bucket/births", "tensorflow", {"stable": 3}),
        ("clicks", "/models/clicks", "tensorflow", {"stable": OLD, "canary": NEW}),
    ]


def test_a_config_of_nothing_is_one_all_the_same() -> None:
    assert list(parsed(server_config([]).text)) == []


def test_the_text_with_fewer_labels_has_the_same_versions() -> None:
    whole = server_config([model(rollout(Phase.CANARY))])
    (every,), (few,) = parsed(whole.text), parsed(whole.labelled_where(lambda _, version: version == OLD))
    assert few.model_version_policy == every.model_version_policy
    assert dict(few.version_labels) == {"stable": OLD}


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_and_path_are_read_back_as_they_are(name: str, base: str) -> None:
    try:
        name.encode()
        base.encode()
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no text
    (read,) = parsed(server_config([Model(name, base, 1)]).text)
    assert (read.name, read.base_path) == (name, base)


def test_a_model_without_a_stable_version_is_in_no_plan() -> None:
    assert plan_of([Model("waits", "/m"), model(None)], 9) == traffic_plan.TrafficPlan(
        9, {"clicks": ModelPlan("clicks", Target(OLD))}
    )


def test_the_salt_is_a_rollouts_own() -> None:
    plans = [model_plan(model(rollout(Phase.CANARY, id=number))) for number in (1, 2)]
    assert len({plan.salt for plan in plans if plan}) == 2


def way(*phases: Phase, promoted: bool = False) -> list[Rollout]:
    """A rollout on its way through phases; `promoted`: it leaves after labels have moved."""
    leaving = (Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING)
    return [rollout(one, promoted=promoted) if one in leaving else rollout(one) for one in phases]


LOADS = (Phase.WARMING, Phase.LABELLING, Phase.CANARY)
LEAVES = (Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING)
WAYS = {
    "promoted": way(*LOADS, Phase.PROMOTING, Phase.STABLE, Phase.RETIRING),
    "failed": way(*LOADS, *LEAVES),
    "aborted while labels move": way(*LOADS, Phase.PROMOTING, *LEAVES, promoted=True),
    "aborted when it was stable": way(*LOADS, Phase.PROMOTING, Phase.STABLE, *LEAVES, promoted=True),
    "aborted when the one before was unloaded": way(Phase.RETIRING, Phase.STABLE, *LEAVES, promoted=True),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_version_is_loaded_before_it_has_a_label_and_has_none_before_it_is_unloaded(name: str) -> None:
    configs = [config(model(one)) for one in WAYS[name]]
    for before, after in pairwise(configs):
        assert before is not None
        assert after is not None
        assert set(after.labels.values()) <= set(before.versions)
        assert set(before.versions) - set(after.versions) <= set(before.versions) - set(before.labels.values())


@pytest.mark.parametrize("name", WAYS)
def test_what_the_plan_before_asks_for_is_still_there_until_gateways_have_seen_the_new_one(name: str) -> None:
    for before, after in pairwise(WAYS[name]):
        plan, wanted = model_plan(model(before)), config(model(after, settled=False))
        assert plan is not None
        assert wanted is not None
        for label, target in (("stable", plan.stable), ("canary", plan.canary)):
            if target is not None:
                assert label in wanted.labels if target.by == "label" else target.version in wanted.versions


@pytest.mark.parametrize("name", WAYS)
def test_what_a_plan_asks_for_by_label_is_what_the_config_labels(name: str) -> None:
    for one in WAYS[name]:
        plan, wanted = model_plan(model(one)), config(model(one))
        assert plan is not None
        assert wanted is not None
        for label, target in (("stable", plan.stable), ("canary", plan.canary)):
            if target is not None:
                assert target.version in wanted.versions
                assert target.by == "version" or wanted.labels[label] == target.version
