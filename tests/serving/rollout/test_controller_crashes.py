"""A controller that is killed at any line: the next one carries the same rollout on to the same end."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import traffic_plan
from serving.rollout import controller as controller_module
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome, Phase
from serving.rollout.store import Store
from tests.serving.rollout.fakes import FakeServer
from tests.serving.rollout.world import Killed, World

SETTINGS = Settings(
    steps=(Step(0.05, least_s=0.5), Step(0.5, least_s=0.5)), settle_s=0.5, drain_s=0.5, rollback_window_s=1.0
)
SAVES = (Store, "save"), (Store, "lead"), (Store, "answer")
FILES = (traffic_plan, "write"), (controller_module, "write_config")
EFFECTS = (*SAVES, *FILES, (FakeServer, "reload"))
STEP_S = 0.5


class Fate:
    """Kills the controller after its n-th effect from now on, which is before the next one too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        for owner, name in EFFECTS:
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            found = effect(*args, **named)
            self.come()
            return found

        return call

    def come(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    return Fate(monkeypatch)


def succeeds(world: World) -> None:
    """A good version, and a newer one while it is canary."""
    world.submit(2)
    world.until_phase(Phase.CANARY, step=2)


def fails(world: World) -> None:
    """A version that harms at the second step."""
    world.submit(2)
    world.until_phase(Phase.CANARY, step=2)
    world.oracle.outcome = Outcome.FAILURE


def is_aborted(world: World) -> None:
    """A version that an operator takes back after its promotion."""
    world.submit(2)
    world.until_phase(Phase.STABLE)
    world.ask("abort")


def walk(
    folder: Path, story: Callable[[World], None], fate: Fate, lives: Iterator[int], servers: int = 2
) -> tuple[dict[str, Any], int]:
    """The end of a story, and how often the controller was killed on the way: after as many effects as `lives` say."""
    folder.mkdir()
    world = World(folder, SETTINGS, servers)
    world.stable()
    fate.left = next(lives, 0)
    kills, told = 0, False
    end = world.now + 600
    while not told or world.newest().live:
        assert world.now < end, world.rollouts
        try:
            if not told:
                story(world)
                told = True
            world.step(STEP_S)
        except Killed:
            kills += 1
            world.restart()
            fate.left = next(lives, 0)
    fate.left = 0
    for _ in range(8):
        world.step(STEP_S)
    newest = world.newest()
    states = [
        (server.labels, {number: one.state for number, one in server.versions["clicks"].items()})
        for server in world.servers
    ]
    return {
        "rollout": (newest.phase, newest.step, newest.promoted, newest.bad, newest.previous, newest.id),
        "stable": world.store.stable(),
        "plan": world.plan.models,
        "config": world.config.read_text().replace(str(folder), ""),
        "servers": states,
    }, kills


@pytest.mark.parametrize("story", [succeeds, fails, is_aborted])
def test_killed_once_after_any_effect_the_end_is_the_same(
    tmp_path: Path, fate: Fate, story: Callable[[World], None]
) -> None:
    whole, _ = walk(tmp_path / "whole", story, fate, iter([]), servers=1)
    number, kills = 0, 1
    while kills:
        number += 1
        found, kills = walk(tmp_path / str(number), story, fate, iter([number]), servers=1)
        assert found == whole, f"killed at effect {number}"
    assert number > 20


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("story", [succeeds, fails, is_aborted])
def test_killed_again_and_again_the_end_is_the_same(
    tmp_path: Path, fate: Fate, story: Callable[[World], None], seed: int
) -> None:
    whole, _ = walk(tmp_path / "whole", story, fate, iter([]))
    draw = random.Random(seed)
    found, kills = walk(tmp_path / "killed", story, fate, iter(lambda: draw.randint(1, 12), None))
    assert found == whole
    assert kills > 3
