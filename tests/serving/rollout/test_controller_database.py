"""The controller when its database is away, and when there are several controllers."""

import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.rollout.replicas import Replica
from serving.rollout.state import Outcome, Phase
from serving.rollout.store import Store, open_store
from serving.traffic_plan import ModelPlan, Target
from tests.serving.rollout.world import PATIENCE_S, World

STABLE = ModelPlan("clicks", Target(1))
NEVER_S = 1e9


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.stable()
    return made


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Somebody else writes in the database and does not come to an end."""
    other = sqlite3.connect(world.folder / "ledger.sqlite", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def gone(world: World) -> Iterator[None]:
    """Another, empty database lies in the place of ours."""
    files = [path for path in world.folder.iterdir() if path.name.startswith("ledger.sqlite")]
    aside = world.folder / "aside"
    aside.mkdir()
    for path in files:
        path.rename(aside / path.name)
    yield
    for path in world.folder.glob("ledger.sqlite*"):
        path.unlink()
    for path in aside.iterdir():
        path.rename(world.folder / path.name)


def state(world: World) -> list[Any]:
    """What the controller could change."""
    return [world.plan_path.read_bytes(), world.config.read_bytes(), [server.reloads[:] for server in world.servers]]


@pytest.mark.parametrize("away", [locked, gone])
def test_while_the_database_is_away_nothing_changes_and_then_it_goes_on(
    world: World, away: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.oracle.outcome = Outcome.INCONCLUSIVE
    elapsed_s = world.newest().elapsed_s
    caplog.set_level(logging.INFO)
    with away(world):
        world.step()
        before = state(world)
        world.oracle.outcome = Outcome.FAILURE
        for _ in range(30):
            world.step(1.0)
        assert state(world) == before
        said = [one for one in caplog.messages if "everything stays as it is" in one]
        assert len(said) == 1
    world.oracle.outcome = Outcome.INCONCLUSIVE
    for _ in range(30):
        world.step()
    assert (world.newest().phase, world.newest().step) == (Phase.CANARY, 1)
    assert world.newest().elapsed_s < elapsed_s + 10
    world.oracle.outcome = Outcome.SUCCESS
    world.until_phase(Phase.DONE)


def test_a_server_that_restarts_meanwhile_is_left_to_its_file_and_then_looked_at(world: World) -> None:
    world.submit(2)
    world.until_phase(Phase.CANARY)
    with locked(world):
        for _ in range(10):
            world.step(1.0)
        world.servers[0].kill()
        world.step()
        world.servers[0].start()
        reloads = len(world.servers[0].reloads)
        for _ in range(10):
            world.step(1.0)
        assert len(world.servers[0].reloads) == reloads
    world.until(lambda: len(world.servers[0].reloads) > reloads, "it is reloaded")
    world.until_phase(Phase.DONE)


def test_a_database_that_knows_nothing_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.config.write_text('model_config_list { config { name: "theirs" base_path: "/theirs" } }')
    for _ in range(8):
        world.step()
    assert "theirs" in world.config.read_text()
    assert not world.plan_path.exists()
    assert [server.reloads for server in world.servers] == [[], []]


def test_of_two_controllers_one_leads_and_the_other_takes_over_when_it_ends(world: World) -> None:
    replicas = [Replica(one.target, lambda _, one=one: one, lambda: world.now) for one in named(world)]  # type: ignore[misc]
    second = world.made(open_store(world.url, PATIENCE_S, NEVER_S), replicas, "second")
    world.submit(2)
    world.until_phase(Phase.CANARY)
    for _ in range(8):
        world.step()
        second.tick()
    assert (world.controller.leads(), second.leads()) == (True, False)
    assert second.facts("clicks") is None
    stop = threading.Event()
    stop.set()
    world.controller.run(stop)
    assert not world.controller.leads()
    world.controller, world.replicas = second, replicas
    world.until_phase(Phase.DONE)
    assert second.leads()


class Named:
    """A fake server under its name."""

    def __init__(self, target: str, server: Any) -> None:
        self.target = target
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


def named(world: World) -> list[Any]:
    return [Named(f"server{number}", server) for number, server in enumerate(world.servers)]


def test_controllers_that_depose_each_other_all_the_time_harm_nobody(world: World) -> None:
    """Both take the other for dead at every look: leases of no length."""
    others = [Replica(one.target, lambda _, one=one: one, lambda: world.now) for one in named(world)]  # type: ignore[misc]
    second = world.made(world.opened(), others, "second")
    world.submit(2)
    for _ in range(150):
        world.step()
        for replica in others:
            replica.watch()
            replica.apply()
        second.tick()
        world.look()
    assert world.newest().phase in (Phase.CANARY, Phase.PROMOTING)
    world.until_phase(Phase.DONE)
    assert world.newest().phase is Phase.DONE
    assert world.of() == ModelPlan("clicks", Target(2))


def test_a_leader_that_is_deposed_in_the_middle_of_a_round_writes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = world.made(world.opened(), [], "second")
    world.submit(2)
    world.until_phase(Phase.CANARY)
    world.oracle.outcome = Outcome.FAILURE
    plan, save = world.plan_path.read_bytes(), Store.save

    def too_late(store: Store, *args: Any, **named: Any) -> bool:
        monkeypatch.setattr(Store, "save", save)
        world.oracle.outcome = None
        second.tick()
        return save(store, *args, **named)

    monkeypatch.setattr(Store, "save", too_late)
    reloads = [len(server.reloads) for server in world.servers]
    world.controller.tick()
    assert (world.controller.leads(), second.leads()) == (False, True)
    assert world.newest().phase is Phase.CANARY
    assert world.of().share == 0.05
    assert world.plan_path.read_bytes() != plan
    for replica in world.replicas:
        replica.apply()
    assert [len(server.reloads) for server in world.servers] == reloads


def test_the_time_in_a_step_outlives_the_controller(world: World) -> None:
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.submit(2)
    world.until_phase(Phase.CANARY)
    for _ in range(120):
        world.step()
    world.restart()
    assert world.newest().elapsed_s > 24
    world.until(lambda: world.newest().paused, "the step's longest time is over", limit_s=40)


def test_a_controller_that_stood_still_for_an_hour_takes_none_of_it_for_time_in_a_step(world: World) -> None:
    world.oracle.outcome = Outcome.INCONCLUSIVE
    world.submit(2)
    world.until_phase(Phase.WARMING)
    world.step(3600.0)
    world.until_phase(Phase.CANARY)
    world.step(3600.0)
    assert not world.newest().paused
    world.oracle.outcome = Outcome.SUCCESS
    world.until_phase(Phase.DONE)


def test_a_wall_clock_that_jumps_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.cycle([0.0, 1e9, -1e9, 4e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    world.submit(2)
    began = world.now
    world.until_phase(Phase.DONE)
    assert world.now - began < 30
