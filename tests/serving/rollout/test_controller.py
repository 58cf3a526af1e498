"""The controller's way with a version, from submit to the end, on fake servers."""

from pathlib import Path

import pytest

from serving.rollout.state import Outcome, Phase
from serving.traffic_plan import ModelPlan, Target
from tests.serving.rollout.world import World, quick


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.stable()
    return made


def test_a_good_version_walks_to_stable_and_the_one_before_is_unloaded(world: World) -> None:
    world.submit(2)
    seen = []
    while world.newest().live:
        rollout = world.newest()
        if (rollout.phase, rollout.step) not in seen:
            seen.append((rollout.phase, rollout.step))
        world.step()
    assert seen == [
        (Phase.STAGED, 0),
        (Phase.WARMING, 0),
        (Phase.LABELLING, 0),
        (Phase.CANARY, 1),
        (Phase.CANARY, 2),
        (Phase.PROMOTING, 2),
        (Phase.STABLE, 2),
        (Phase.RETIRING, 2),
    ]
    assert world.newest().phase is Phase.DONE
    assert world.store.stable() == {"clicks": 2}
    assert world.of() == ModelPlan("clicks", Target(2))
    assert [server.state("clicks", 1) for server in world.servers] == ["END", "END"]


def test_the_plan_follows_the_steps_of_the_settings(world: World) -> None:
    rollout = world.submit(2)
    world.until_phase(Phase.DONE)
    salt = f"clicks/{rollout.id}"
    assert [plan.models["clicks"] for _, plan in world.plans if "clicks" in plan.models] == [
        ModelPlan("clicks", Target(1)),
        ModelPlan("clicks", Target(1), Target(2), 0.05, 0.0, salt, rollout.id, 1),
        ModelPlan("clicks", Target(1), Target(2), 0.5, 0.0, salt, rollout.id, 2),
        ModelPlan("clicks", Target(1, "version"), Target(2, "version"), 0.5, 0.0, salt, rollout.id, 2),
        ModelPlan("clicks", Target(2)),
    ]


def test_a_models_first_version_goes_straight_to_stable(world: World) -> None:
    world.submit(7, "births")
    world.until(lambda: not world.store.rollouts("births")[0].live, "it is done")
    assert world.store.rollouts("births")[0].phase is Phase.DONE
    assert world.store.stable() == {"births": 7, "clicks": 1}
    assert world.of("births") == ModelPlan("births", Target(7))
    assert world.of() == ModelPlan("clicks", Target(1))


def test_a_first_version_that_does_not_load_leaves_nothing_behind(world: World) -> None:
    for server in world.servers:
        server.broken["births", 7] = "no good"
    world.submit(7, "births")
    world.until(lambda: not world.store.rollouts("births")[0].live, "it has ended")
    rollout = world.store.rollouts("births")[0]
    assert rollout.phase is Phase.ROLLED_BACK
    assert rollout.bad
    assert "no good" in rollout.reason
    assert "births" not in world.plan.models
    assert "births" not in world.config.read_text()


@pytest.mark.parametrize("step", [1, 2])
def test_a_failure_publishes_weight_0_in_the_same_round_and_unloads_after_draining(world: World, step: int) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY, step=step)
    world.oracle.outcome = Outcome.FAILURE
    world.step()
    assert world.newest().phase is Phase.WITHDRAWING
    assert world.of() == ModelPlan("clicks", Target(1))
    since = world.now
    labels = [server.labels["clicks"] for server in world.servers]
    assert labels == [{"stable": 1, "canary": 2}] * 2
    world.until(lambda: "canary" not in world.servers[0].labels["clicks"], "the label is gone")
    assert world.now - since >= world.settings.settle_s
    since = world.now
    world.until(lambda: world.servers[0].state("clicks", 2) != "AVAILABLE", "it is unloaded")
    assert world.now - since >= world.settings.drain_s
    assert world.until_phase(Phase.ROLLED_BACK).bad
    assert world.store.stable() == {"clicks": 1}


def test_a_bad_version_is_not_started_again_by_a_restart_but_by_retry(world: World) -> None:
    world.oracle.outcome = Outcome.FAILURE
    world.submit(2)
    world.until_phase(Phase.ROLLED_BACK)
    world.restart()
    for _ in range(40):
        world.step()
    assert [one.phase for one in world.rollouts] == [Phase.ROLLED_BACK]
    world.oracle.outcome = Outcome.SUCCESS
    world.store.ask("clicks", "retry", "operator", "the data was mended", version=2)
    world.until_phase(Phase.DONE)
    assert world.store.stable() == {"clicks": 2}


def test_inconclusive_never_promotes_and_pauses_at_the_longest_time(world: World) -> None:
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.submit(2)
    world.until(lambda: world.newest().paused, "it pauses")
    rollout = world.newest()
    assert (rollout.phase, rollout.step) == (Phase.CANARY, 1)
    assert rollout.elapsed_s >= world.settings.steps[0].most_s
    for _ in range(40):
        world.step()
    assert world.newest().phase is Phase.CANARY
    assert world.of().share == 0.05


def test_inconclusive_rolls_back_where_that_is_wanted(tmp_path: Path) -> None:
    world = World(tmp_path, quick(on_inconclusive="roll_back"))
    world.stable()
    world.oracle.outcome = None
    world.submit(2)
    assert world.until_phase(Phase.ROLLED_BACK).bad


def test_paused_keeps_its_share_while_guardrails_act(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.ask("pause")
    for _ in range(80):
        world.step()
    assert (world.newest().phase, world.newest().step) == (Phase.CANARY, 1)
    assert world.of().share == 0.05
    world.oracle.outcome = Outcome.FAILURE
    assert world.until_phase(Phase.ROLLED_BACK).bad


def test_resume_goes_on_where_it_was(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY, step=2)
    world.ask("pause")
    world.until(lambda: world.newest().paused, "it pauses")
    elapsed_s = world.newest().elapsed_s
    for _ in range(20):
        world.step()
    world.ask("resume")
    world.until(lambda: not world.newest().paused, "it goes on")
    assert world.newest().step == 2
    assert elapsed_s <= world.newest().elapsed_s < elapsed_s + 1
    world.until_phase(Phase.DONE)


def test_promote_skips_the_steps_that_remain_and_stands_in_the_ledger(world: World) -> None:
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.submit(2)
    world.until_phase(Phase.CANARY, step=1)
    world.ask("promote")
    world.until_phase(Phase.STABLE)
    assert 0.5 not in [plan.models["clicks"].share for _, plan in world.plans if "clicks" in plan.models]
    decision = next(one for one in world.store.history("clicks") if one.actor == "operator")
    assert (decision.reason, decision.version) == ("because", 2)


def test_abort_after_the_promotion_goes_back_by_version_in_one_round(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.STABLE)
    world.ask("abort")
    world.step()
    assert world.of() == ModelPlan("clicks", Target(1, "version"))
    assert world.store.stable() == {"clicks": 1}
    assert world.until_phase(Phase.ROLLED_BACK).bad
    assert world.of() == ModelPlan("clicks", Target(1))
    assert [server.labels["clicks"] for server in world.servers] == [{"stable": 1}] * 2


def test_abort_while_the_version_before_is_being_unloaded_loads_it_again_first(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.RETIRING)
    world.until(lambda: world.servers[0].state("clicks", 1) == "UNLOADING", "it is being unloaded")
    world.ask("abort")
    world.until_phase(Phase.ROLLED_BACK)
    assert world.store.stable() == {"clicks": 1}
    assert world.of() == ModelPlan("clicks", Target(1))


@pytest.mark.parametrize(
    "phase",
    [Phase.STAGED, Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING, Phase.STABLE, Phase.WITHDRAWING],
)
def test_abort_ends_with_the_version_before_from_everywhere(world: World, phase: Phase) -> None:
    world.submit(2)
    if phase is Phase.WITHDRAWING:
        world.until_phase(Phase.CANARY)
        world.oracle.outcome = Outcome.FAILURE
    world.until_phase(phase)
    world.ask("abort")
    assert world.until_phase(Phase.ROLLED_BACK).bad
    assert world.store.stable() == {"clicks": 1}
    assert world.of() == ModelPlan("clicks", Target(1))


def test_a_verb_that_changes_nothing_is_answered(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.ask("resume")
    world.step()
    assert world.store.asks() == []
    assert world.newest().phase is Phase.CANARY


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING, Phase.STABLE])
def test_a_newer_candidate_supersedes(world: World, phase: Phase) -> None:
    world.submit(2)
    world.until_phase(phase)
    world.submit(3)
    world.until(lambda: not any(one.live for one in world.rollouts), "all is over")
    assert world.store.stable() == {"clicks": 3}
    first = world.newest(2)
    assert not first.bad
    assert first.phase is (Phase.DONE if phase in (Phase.PROMOTING, Phase.STABLE) else Phase.ROLLED_BACK)
    assert world.newest(3).previous == (2 if first.phase is Phase.DONE else 1)


def test_of_many_candidates_that_wait_only_the_newest_starts(world: World) -> None:
    for version in (2, 3, 4):
        world.submit(version)
    world.until(lambda: not any(one.live for one in world.rollouts), "all is over")
    assert [(one.version, one.phase, one.promoted) for one in world.rollouts] == [
        (2, Phase.DONE, False),
        (3, Phase.DONE, False),
        (4, Phase.DONE, True),
    ]
    assert world.newest(4).previous == 1
    assert [server.versions["clicks"].keys() for server in world.servers] == [{1, 4}] * 2


def test_candidates_queue_where_that_is_wanted(tmp_path: Path) -> None:
    world = World(tmp_path, quick(on_newer="queue"))
    world.stable()
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.submit(3)
    world.submit(4)
    world.until(lambda: not any(one.live for one in world.rollouts), "all is over")
    assert [(one.version, one.previous, one.promoted) for one in world.rollouts] == [
        (2, 1, True),
        (3, 2, True),
        (4, 3, True),
    ]


def test_one_that_is_paused_in_the_queue_lets_the_others_pass(tmp_path: Path) -> None:
    world = World(tmp_path, quick(on_newer="queue"))
    world.stable()
    world.submit(2)
    world.ask("pause")
    world.until(lambda: world.newest(2).paused, "it is paused")
    world.submit(3)
    world.until(lambda: world.store.stable() == {"clicks": 3}, "the other one is promoted")
    world.until(lambda: not world.newest(3).live, "the other one is done")
    world.ask("resume")
    world.until(lambda: world.store.stable() == {"clicks": 2}, "it has its turn")


def test_models_roll_out_side_by_side(world: World) -> None:
    world.stable("ranks", 10)
    world.submit(2)
    world.submit(11, "ranks")
    world.until(lambda: not any(one.live for one in world.rollouts), "both are over")
    assert world.store.stable() == {"clicks": 2, "ranks": 11}
