"""The controller's files: somebody changes them, they cannot be written, they are read while they are written."""

import errno
from pathlib import Path
from typing import Any

import pytest

from serving import traffic_plan
from serving.rollout import controller as controller_module
from serving.rollout.state import Outcome, Phase
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.serving.rollout.world import SETTINGS, World, quick

STABLE = ModelPlan("clicks", Target(1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.stable()
    return made


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("theirs", [b"", b"{", b"null", b'{"format": 1, "generation": 3, "models": {}}'])
def test_a_plan_that_somebody_changed_is_set_right_in_the_next_round(world: World, theirs: bytes) -> None:
    generation = world.plan.generation
    world.plan_path.write_bytes(theirs)
    world.step()
    assert world.of() == STABLE
    assert world.plan.generation > generation


def test_a_plan_that_somebody_removed_is_there_again_in_the_next_round(world: World) -> None:
    generation = world.plan.generation
    world.plan_path.unlink()
    world.step()
    assert world.plan == TrafficPlan(generation + 1, {"clicks": STABLE})


@pytest.mark.parametrize("theirs", [None, b"{", b'{"format": 1, "generation": 3, "models": {}}'])
def test_a_plan_that_was_lost_while_nobody_led_is_whole_again_before_any_server_was_looked_at(
    world: World, theirs: bytes | None
) -> None:
    """Users of a model that a plan leaves out would meet its newest version, the canary, all of them."""
    world.submit(2)
    world.until_phase(Phase.CANARY)
    before = world.of()
    if theirs is None:
        world.plan_path.unlink()
    else:
        world.plan_path.write_bytes(theirs)
    world.restart()
    world.step()
    assert world.of() == before


def test_a_plan_is_not_written_again_where_nothing_changes(world: World) -> None:
    before = world.plan_path.stat()
    for _ in range(20):
        world.step()
    after = world.plan_path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_generations_grow_from_one_controller_to_the_next_and_above_what_there_is(world: World) -> None:
    seen = [world.plan.generation]
    for _ in range(3):
        world.restart()
        world.step()
        seen.append(world.plan.generation)
    traffic_plan.write(world.plan_path, TrafficPlan(1 << 50, {}))
    world.step()
    seen.append(world.plan.generation)
    world.restart()
    world.step()
    seen.append(world.plan.generation)
    assert seen == sorted(set(seen))
    assert seen[-1] > 1 << 50


def test_a_models_config_that_somebody_changed_is_set_right(world: World) -> None:
    before = world.config.read_text()
    world.config.write_text("model_config_list {}")
    world.step()
    assert world.config.read_text() == before


def test_no_label_moves_before_the_plan_that_allows_it_could_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.oracle.outcome = Outcome.FAILURE
    plan = world.of()
    with monkeypatch.context() as disk:
        disk.setattr(traffic_plan, "write", full)
        for _ in range(40):
            world.step()
        assert world.newest().phase is Phase.WITHDRAWING
        assert world.of() == plan
        assert [server.labels["clicks"] for server in world.servers] == [{"stable": 1, "canary": 2}] * 2
    world.until_phase(Phase.ROLLED_BACK)
    assert world.of() == STABLE


def test_an_abort_moves_the_label_back_even_where_the_plan_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(2)
    world.until_phase(Phase.STABLE)
    with monkeypatch.context() as disk:
        disk.setattr(traffic_plan, "write", full)
        world.ask("abort")
        world.until(lambda: all(one.labels["clicks"]["stable"] == 1 for one in world.servers), "the label is back")
        for _ in range(20):
            world.step()
        assert world.newest().phase is Phase.WITHDRAWING
        assert [server.state("clicks", 2) for server in world.servers] == ["AVAILABLE"] * 2
    world.until_phase(Phase.ROLLED_BACK)
    assert world.of() == STABLE


def test_servers_are_told_even_where_models_config_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_module, "write_config", full)
    world.submit(2)
    world.until_phase(Phase.DONE)
    assert [server.labels["clicks"] for server in world.servers] == [{"stable": 2}] * 2


def test_settings_that_cannot_be_read_leave_the_ones_before_in_force(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.settings_error = "not TOML"
    world.until_phase(Phase.DONE)


def test_settings_that_never_could_be_read_change_nothing(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    before = world.plan
    world.restart()
    world.settings_error = "not TOML"
    for _ in range(20):
        world.step()
    assert world.plan == before
    world.settings_error = ""
    world.until_phase(Phase.DONE)


def test_fewer_steps_than_before_end_the_walk_at_the_last_one(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY, step=2)
    world.settings = quick(steps=SETTINGS.steps[:1])
    world.until_phase(Phase.DONE)
    assert world.store.stable() == {"clicks": 2}


def test_the_status_page_is_told_of_every_model(world: World) -> None:
    world.stable("ranks", 10)
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.step()
    facts, other = world.controller.facts("clicks"), world.controller.facts("ranks")
    assert facts is not None
    assert other is not None
    assert (facts.steps, facts.share, facts.outcome) == (2, 0.05, "inconclusive")
    assert [(one.target, one.reachable, one.accepted) for one in facts.replicas] == [
        ("server0", True, True),
        ("server1", True, True),
    ]
    assert facts.replicas[0].versions == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert (other.share, other.outcome, other.replicas[0].versions) == (0.0, None, {10: "AVAILABLE"})
    assert world.controller.facts("unknown") is None
