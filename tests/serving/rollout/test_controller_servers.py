"""The controller when model servers fail: die, come back, hang, never load, lose what they had."""

import shutil
from pathlib import Path

import pytest

from serving.rollout.state import Outcome, Phase
from serving.traffic_plan import ModelPlan, Target
from tests.serving.rollout.world import World, quick

STABLE = ModelPlan("clicks", Target(1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.stable()
    return made


def test_a_version_that_does_not_load_is_withdrawn_at_once(world: World) -> None:
    world.servers[1].broken["clicks", 2] = "Could not find SavedModel"
    world.submit(2)
    since = world.now
    rollout = world.until_phase(Phase.ROLLED_BACK)
    assert rollout.bad
    assert "server1" in rollout.reason
    assert "Could not find SavedModel" in rollout.reason
    assert world.now - since < 10
    assert [plan.models["clicks"] for _, plan in world.plans if plan.models] == [STABLE]


def test_one_of_two_that_never_loads_it_ends_the_rollout_after_the_limit(world: World) -> None:
    world.servers[1].endless.add(("clicks", 2))
    world.submit(2)
    since = world.now
    rollout = world.until_phase(Phase.WITHDRAWING)
    assert rollout.bad
    assert "server1" in rollout.reason
    assert "server0" not in rollout.reason
    assert world.settings.warm_limit_s <= world.now - since < world.settings.warm_limit_s + 5
    world.until_phase(Phase.ROLLED_BACK)
    assert [plan.models["clicks"] for _, plan in world.plans if plan.models] == [STABLE]


def test_a_version_without_a_directory_is_withdrawn_and_other_models_go_on(world: World) -> None:
    world.stable("ranks", 10)
    world.store.submit("clicks", 2, "pipeline")
    world.submit(11, "ranks")
    world.until(lambda: world.store.stable()["ranks"] == 11, "the other model is promoted", limit_s=30)
    rollout = world.until_phase(Phase.ROLLED_BACK, 2)
    assert (rollout.bad, rollout.reason) == (True, "its directory is not there")


def test_nothing_is_reloaded_while_a_stable_version_is_not_on_the_disk(world: World) -> None:
    world.stable("ranks", 10)
    shutil.move(world.folder / "models" / "ranks", world.folder / "away")
    world.submit(2)
    for _ in range(40):
        world.step()
    assert world.newest(2).phase is Phase.WARMING
    facts = world.controller.facts("clicks")
    assert facts is not None
    assert "ranks" in facts.replicas[0].error
    shutil.move(world.folder / "away", world.folder / "models" / "ranks")
    world.until(lambda: world.store.stable()["clicks"] == 2, "it goes on when it is back")


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING, Phase.STABLE])
def test_a_server_that_restarts_once_gets_its_versions_and_labels_back(world: World, phase: Phase) -> None:
    world.submit(2)
    world.until_phase(phase)
    world.servers[1].kill()
    for _ in range(3):
        world.step()
    world.servers[1].start()
    world.until_phase(Phase.DONE)
    assert [server.labels["clicks"] for server in world.servers] == [{"stable": 2}] * 2


def test_a_server_that_starts_without_our_config_and_without_the_flag_is_brought_up(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    server = world.servers[1]
    server.kill()
    world.step()
    server.config, server.allow_labels = world.folder / "no.config", False
    server.start()
    world.checks_users = False
    world.until(lambda: server.labels.get("clicks") == {"stable": 1, "canary": 2}, "labels are back")
    world.checks_users = True
    world.until_phase(Phase.DONE)


def test_a_version_that_kills_its_server_again_and_again_is_withdrawn(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    for _ in range(2):
        world.servers[0].kill()
        for _ in range(3):
            world.step()
        world.servers[0].start()
        for _ in range(8):
            world.step()
    assert world.newest().phase not in (Phase.CANARY, Phase.PROMOTING)
    rollout = world.until_phase(Phase.ROLLED_BACK)
    assert rollout.bad
    assert "restarted" in rollout.reason


def test_a_version_whose_load_kills_servers_meets_no_user(world: World) -> None:
    world.checks_users = False  # they are down now and then
    for server in world.servers:
        server.deadly.add(("clicks", 2))
    world.submit(2)
    for _ in range(200):
        world.step()
        for server in world.servers:
            if not server.alive:
                server.start()
    rollout = world.newest()
    assert (rollout.phase, rollout.bad) == (Phase.ROLLED_BACK, True)
    assert [plan.models["clicks"] for _, plan in world.plans if plan.models] == [STABLE]
    world.checks_users = True
    for _ in range(8):
        world.step()


def test_a_candidate_that_a_server_lost_fails_at_once_whatever_the_analysis_says(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.servers[1].versions["clicks"][2].state = "END"
    world.servers[1].versions["clicks"][2].failed = True
    world.checks_users = False  # the gateway asks stable in its place until it has seen the plan
    world.step()
    assert world.of() == STABLE
    for _ in range(3):
        world.step()
    world.checks_users = True
    rollout = world.until_phase(Phase.ROLLED_BACK)
    assert rollout.bad
    assert "server1" in rollout.reason


def test_a_server_that_stays_away_holds_up_a_rollout_until_the_limit(world: World) -> None:
    world.servers[1].kill()
    world.submit(2)
    rollout = world.until_phase(Phase.WITHDRAWING)
    assert "server1" in rollout.reason
    world.servers[1].start()
    assert world.until_phase(Phase.ROLLED_BACK).bad


def test_a_canary_that_a_server_stays_away_with_is_withdrawn_after_the_limit(tmp_path: Path) -> None:
    world = World(tmp_path, quick(warm_limit_s=5.0))
    world.stable()
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.servers[1].kill()
    since = world.now
    rollout = world.until_phase(Phase.WITHDRAWING)
    assert "server1" in rollout.reason
    assert 5.0 <= world.now - since < 8.0


def test_a_rollback_waits_for_no_server_that_is_away(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.STABLE)
    world.servers[1].kill()
    world.step()
    world.ask("abort")
    world.step()
    assert world.of() == ModelPlan("clicks", Target(1, "version"))
    for _ in range(40):
        world.step()
    # The one that is away still has `stable` at the new version, so it stays asked for by number.
    assert world.of() == ModelPlan("clicks", Target(1, "version"))
    world.servers[1].start()
    world.until_phase(Phase.ROLLED_BACK)
    assert world.of() == STABLE


def test_a_server_that_hangs_holds_up_nobody_and_is_reloaded_when_it_answers(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.servers[1].hanging = True
    for _ in range(8):
        world.step()
    world.oracle.outcome = Outcome.FAILURE
    world.step()
    world.step()
    assert world.of() == STABLE
    world.servers[1].hanging = False
    world.until_phase(Phase.ROLLED_BACK)
    assert [server.labels["clicks"] for server in world.servers] == [{"stable": 1}] * 2


def test_labels_that_somebody_else_changed_are_set_back(world: World) -> None:
    world.servers[0].labels["clicks"] = {"stable": 1, "theirs": 1}
    del world.servers[0].labels["clicks"]["stable"]
    world.checks_users = False
    world.until(lambda: world.servers[0].labels["clicks"] == {"stable": 1}, "the label is back", limit_s=10)


def test_an_end_from_an_earlier_try_is_not_taken_for_a_new_failure(world: World) -> None:
    for server in world.servers:
        server.broken["clicks", 2] = "no good"
    world.submit(2)
    world.until_phase(Phase.ROLLED_BACK)
    for server in world.servers:
        server.broken.clear()
        assert server.state("clicks", 2) == "END"
    world.store.ask("clicks", "retry", "operator", "mended")
    world.until_phase(Phase.DONE)
    assert world.store.stable() == {"clicks": 2}


def test_servers_restart_counts_begin_with_each_rollout(world: World) -> None:
    for version in (2, 3):
        world.submit(version)
        world.until_phase(Phase.CANARY)
        world.servers[0].kill()
        world.step()
        world.step()
        world.servers[0].start()
        world.until_phase(Phase.DONE)
    assert world.store.stable() == {"clicks": 3}


def test_without_any_server_nothing_moves(tmp_path: Path) -> None:
    world = World(tmp_path, servers=0)
    world.push("clicks", 1)
    world.store.adopt("clicks", 1, "test")
    world.submit(2)
    for _ in range(20):
        world.step()
    assert world.newest().phase is Phase.WARMING
    assert world.plan.models == {}


def test_the_time_that_a_replica_may_lack_it_is_a_setting(tmp_path: Path) -> None:
    guardrails = quick().guardrails
    world = World(tmp_path, quick(guardrails=type(guardrails)(unavailable_s=3.0)))
    world.stable()
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.checks_users = False
    world.oracle.outcome = None
    world.servers[0].versions["clicks"][2].state = "END"
    world.servers[0].versions["clicks"][2].failed = True
    since = world.now
    world.until_phase(Phase.WITHDRAWING)
    assert 3.0 <= world.now - since < 5.0
