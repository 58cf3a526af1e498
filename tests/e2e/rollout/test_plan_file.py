"""Somebody breaks the plan's file in the middle of a rollout: gateways keep the last good one and it is mended."""

import os
from collections.abc import Callable
from pathlib import Path

from serving import traffic_plan
from serving.rollout.state import Phase
from serving.traffic_plan import CANARY
from tests.e2e.rollout.traffic import Traffic
from tests.e2e.rollout.world import QUICK, World
from tests.serving.model_server.conformance.process import until


def _half(plan: Path) -> None:
    os.truncate(plan, plan.stat().st_size // 2)


def _garbage(plan: Path) -> None:
    plan.write_bytes(os.urandom(5000))


def _nothing(plan: Path) -> None:
    plan.unlink()


def _old(plan: Path) -> None:
    """A plan of long ago, from a backup."""
    traffic_plan.write(plan, traffic_plan.TrafficPlan(1, {}))


BROKEN = (_half, _garbage, _nothing, _old)


def test_a_plan_that_is_broken_by_somebody_is_mended_and_no_user_notices(world: World) -> None:
    world.first(torn=QUICK.replace("least_s = 1,", "least_s = 300,"))
    with Traffic(world, "torn") as traffic:
        world.begin("torn", 2, "plus_3")
        world.reaches("torn", 2, Phase.CANARY)
        traffic.meets_canary("torn")
        for leads in (True, False):
            for spoil in BROKEN:
                _spoil(world, traffic, spoil, leads)
        world.store.ask("torn", "promote", "test")
        world.reaches("torn", 2, Phase.DONE)


def _spoil(world: World, traffic: Traffic, spoil: Callable[[Path], None], leads: bool) -> None:
    """With a controller that leads it is mended; without one gateways go on by what they know."""
    before = world.planned("torn")
    if not leads:
        world.controller.stop()
    spoil(world.plan)
    spoilt = traffic.goes_on("torn", 25)
    assert traffic.variants("torn", spoilt)[CANARY] > 0
    world.controller.start()
    until(lambda: world.planned("torn") == before, "the plan is as it was")
    world.seen_by_gateways()
