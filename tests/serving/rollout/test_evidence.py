"""What gateways counted, whatever comes and goes: gateways, controllers, the database."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from serving.rollout.analysis import judge
from serving.rollout.evidence import IDLE_S, KEEP_S, POLL_S
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome
from serving.rollout.store import open_store
from serving.tallies import Tally, from_json
from tests.serving.model_server.conformance.process import free_port
from tests.serving.rollout.evidence_world import CANARY, World, counts, said
from tests.serving.rollout.stub_gateway import MODEL, ROLLOUT, content, key, raw, stub


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


def test_gateways_are_added_up_and_what_the_controller_knows_is_passed_on(world: World) -> None:
    both = world.evidence(world.gateway("a", 10, 1).url, world.gateway("b", 20, 2).url)
    found = both.window(CANARY, None, 3, 1.5, "one: END")
    assert counts(found) == (30, 3)
    assert (found.restarts, found.lacking_s, found.lacking) == (3, 1.5, "one: END")
    assert (found.elapsed_s, found.gateways, found.gaps, found.outcomes) == (20.0, 2, (), None)


def test_only_the_rollouts_own_step_counts(world: World) -> None:
    tallies = {one: Tally(keyed=100) for one in (key(model="x"), key(rollout=9), key(step=2))}
    tallies |= {key(rollout=None): Tally(keyed=100), key("shadow"): Tally(keyed=100)}
    tallies |= {key(): Tally(keyed=1), key("canary", version=None): Tally(keyed=2), key("canary"): Tally(keyed=3)}
    one = world.evidence(world.gateway().url)
    assert counts(world.window(one)) == (0, 0)
    with stub(content("a", tallies)) as of_many:
        one = world.evidence(of_many.url)
        assert counts(world.window(one)) == (1, 5)
        assert counts(world.window(one, step=2)) == (100, 0)


def test_a_gateway_that_starts_anew_loses_nothing_that_was_seen(world: World) -> None:
    gateway = world.gateway("a", 10, 1)
    one = world.evidence(gateway.url)
    assert counts(world.window(one)) == (10, 1)
    gateway.answer = said("a", 15, 2)
    assert counts(world.window(one)) == (15, 2)
    gateway.answer = said("a2", 1, 1)
    assert counts(world.window(one)) == (16, 3)
    gateway.answer = raw(b"", status=503)
    found = world.window(one)
    assert (counts(found), found.gateways, len(found.gaps)) == ((16, 3), 0, 1)


def test_a_controller_that_starts_anew_loses_nothing_that_was_seen(world: World) -> None:
    gateway = world.gateway("a", 10, 1)
    world.window(world.evidence(gateway.url))
    gateway.answer = said("a2", 5, 1)
    assert counts(world.window(world.evidence(gateway.url))) == (15, 2)
    port = free_port()
    assert counts(world.window(world.evidence(f"http://127.0.0.1:{port}"))) == (15, 2)


def test_tallies_are_kept_in_a_real_database(world: World, url: str) -> None:
    store = open_store(url)
    begun = store.submit(MODEL, 8, "pipeline")
    world.store = store
    with stub(content("a", {key(rollout=begun.id): Tally(keyed=4, latency={3: 4})})) as gateway:
        world.window(world.evidence(gateway.url), id=begun.id)
    found = world.window(world.evidence(), id=begun.id)
    assert (found.stable, found.gateways) == (Tally(keyed=4, latency={3: 4}), 0)


def test_what_does_not_change_is_not_written_again(world: World) -> None:
    gateway = world.gateway("a", 10, 1)
    one = world.evidence(gateway.url)
    world.window(one)
    assert from_json(world.store[ROLLOUT].pop("a").encode())[1][key()] == Tally(keyed=10)
    world.window(one)
    assert world.store[ROLLOUT] == {}
    gateway.answer = said("a", 11, 1)
    world.window(one)
    assert world.store[ROLLOUT].keys() == {"a"}


def test_a_database_that_is_away_costs_nothing_that_gateways_still_know(world: World) -> None:
    gateway = world.gateway("b", 10, 1)
    world.window(world.evidence(world.gateway("a", 3, 3).url))
    world.store.away = True
    one = world.evidence(gateway.url)
    assert counts(world.window(one)) == (10, 1)
    gateway.answer = said("b2", 1, 0)
    assert counts(world.window(one)) == (11, 1)
    world.store.away = False
    assert counts(world.window(one)) == (14, 4)
    assert world.store[ROLLOUT].keys() == {"a", "b", "b2"}


def test_damaged_rows_in_the_database_are_left_out_and_told_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store[ROLLOUT] = {"x": "{", "y": "[]"}
    with caplog.at_level(logging.WARNING, "serving.rollout.evidence"):
        assert counts(world.window(world.evidence(world.gateway("a", 1, 1).url))) == (1, 1)
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["x", "y"]


def test_counts_that_shrink_are_not_believed(world: World) -> None:
    gateway = world.gateway("a", 10, 5)
    one = world.evidence(gateway.url)
    world.window(one)
    gateway.answer = said("a", 2, 6)
    assert counts(world.window(one)) == (10, 6)


def test_rollouts_of_several_models_share_a_round(world: World) -> None:
    gateway = world.gateway("a", 10, 1)
    one = world.evidence(gateway.url)
    for number in range(5):
        one.window(replace(CANARY, id=number, model=f"m{number}"), None)
    assert len(gateway.asked) == 1
    world.now += POLL_S
    one.window(CANARY, None)
    assert len(gateway.asked) == 2


def test_a_rollout_that_nobody_asks_about_is_forgotten_and_read_again(world: World) -> None:
    one = world.evidence(world.gateway("a", 10, 1).url)
    world.window(one)
    world.now += 2 * IDLE_S
    one.window(replace(CANARY, id=99), None)
    world.store[ROLLOUT] = {"b": world.store[ROLLOUT]["a"].replace('"a"', '"b"')}
    assert counts(world.window(one)) == (20, 2)


def test_no_gateway_is_no_evidence_and_no_fault_of_the_canary(world: World) -> None:
    found = world.evidence(f"http://127.0.0.1:{free_port()}").window(CANARY, None)
    judgement = judge(Settings(steps=(Step(0.5, least_s=0, least_samples=0),)), 1, found)
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.reason.startswith("no gateway says what it counted (gateway 127.0.0.1:")


def test_its_limits_fit_together() -> None:
    assert POLL_S < KEEP_S < IDLE_S
