"""What users did, as the controller reads it: from files that come, folders that are away, threads that hang."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.impressions.storage import Storage
from serving.rollout.analysis import judge
from serving.rollout.evidence import POLL_S
from serving.rollout.settings import OutcomeMetric, Settings, Step
from serving.rollout.state import Outcome
from serving.tallies import Tally
from tests.serving.impressions import naive_join
from tests.serving.impressions.making import T0
from tests.serving.impressions.naive_join import Said, Shown, put
from tests.serving.model_server.conformance.process import until
from tests.serving.rollout.evidence_world import CANARY, World
from tests.serving.rollout.stub_gateway import content, key, stub

SHOWN = replace(CANARY, id=naive_join.ROLLOUT, created=datetime.fromtimestamp(T0, UTC))
METRIC = OutcomeMetric(label=naive_join.LABEL, window_s=60.0)
READS = "serving.impressions.join.Joined.update"


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


def test_outcomes_are_those_of_the_step(world: World) -> None:
    storage = Storage("memory://evidence-steps")
    shown = [Shown("a", key=1, how="key"), Shown("b", key=2, how="key", variant="canary", step=2)]
    put(storage, "s", shown)
    put(storage, "f", [Said("a", time=1.0)])
    one = world.evidence(impressions=storage.folder)
    for step, stable, canary in ((1, [1.0], []), (2, [], [0.0]), (1, [1.0], [])):
        found = one.window(replace(SHOWN, step=step), METRIC)
        assert found.outcomes is not None
        assert [one.values.tolist() for one in found.outcomes.variants.values()] == [stable, canary]


def test_new_files_and_another_metric_are_seen(world: World) -> None:
    storage = Storage("memory://evidence-fresh")
    one = world.evidence(impressions=storage.folder)

    def values(metric: OutcomeMetric | None) -> list[float]:
        found = one.window(SHOWN, metric).outcomes
        assert found is not None
        return sorted(found.variants["stable"].values.tolist())

    assert values(METRIC) == []
    put(storage, "s", [Shown("a"), Shown("b")])
    put(storage, "f", [Said("a", time=1.0), Said("b", 7.0, time=1.0, label="like")])
    until(lambda: values(METRIC) == [0.0, 1.0], "the files are read", 60)
    assert values(replace(METRIC, label="like")) == [0.0, 7.0]
    assert values(None) == [0.0, 0.0]


def test_without_a_folder_there_are_no_outcomes_and_it_says_so(world: World) -> None:
    one = world.evidence(world.gateway().url)
    assert one.window(CANARY, None).gaps == ()
    found = one.window(CANARY, METRIC)
    assert (found.outcomes, found.gaps) == (None, ("no folder of impressions is given",))


def test_a_folder_that_cannot_be_read_is_a_gap_and_hurts_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world.evidence(world.gateway("a", 10, 1).url, impressions="memory://evidence-broken")
    with monkeypatch.context() as broken:
        broken.setattr(READS, raises(OSError("permission denied")))
        found = one.window(SHOWN, METRIC)
        assert found.outcomes is None
        assert found.gaps == ("impressions in memory://evidence-broken cannot be read: permission denied",)
        assert one.window(CANARY, None).stable.requests == 10
    found = one.window(SHOWN, METRIC)
    assert (found.outcomes is None, found.gaps) == (False, ())


def test_a_folder_of_an_unknown_kind_is_a_gap(world: World) -> None:
    found = world.evidence(impressions="nowhere://x").window(SHOWN, METRIC)
    assert found.outcomes is None
    assert found.gaps[0].startswith("impressions in nowhere://x cannot be read: ")


def test_a_folder_that_hangs_holds_up_nobody_and_keeps_what_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, begun = threading.Event(), threading.Semaphore(0)

    def hangs(_: Any) -> int:
        begun.release()
        over.wait(30)
        return 0

    gateway = world.gateway("a", 10, 1)
    one = world.evidence(gateway.url, impressions="memory://evidence-hung", limit_s=1.0)
    until(lambda: one.window(SHOWN, METRIC).outcomes is not None, "it is read once", 60)
    world.now += 30
    with monkeypatch.context() as hung:
        hung.setattr(READS, hangs)
        for number in range(2):
            gateway.answer = content("a", {key(rollout=SHOWN.id): Tally(keyed=number)})
            world.now += POLL_S
            found = one.window(SHOWN, METRIC)
            assert found.outcomes is not None
            assert (found.stable.requests, found.gaps) == (number, ("impressions are still being read",))
            assert one.window(replace(SHOWN, step=2), METRIC).outcomes is None
        over.set()
        assert begun.acquire(timeout=30)
        assert not begun.acquire(blocking=False)


def raises(error: Exception) -> Callable[..., int]:
    def update(_: Any) -> int:
        raise error

    return update


def test_from_gateways_and_the_log_to_a_judgement(world: World, tmp_path: Path) -> None:
    """Four hundred users; those of the canary click on nothing. Feedback comes twice, and from nowhere."""
    storage = Storage(str(tmp_path / "log"))
    variants = ["canary" if number % 2 else "stable" for number in range(400)]
    shown = [Shown(f"r{n}-{k}", key=n, how="key", variant=one) for n, one in enumerate(variants) for k in range(5)]
    said = [Said(one.request_id, time=2.0) for one in shown if one.variant == "stable"]
    put(storage, "s", shown)
    put(storage, "f", [*said, *said, *(Said(f"unknown{number}") for number in range(100))])
    settings = Settings(steps=(Step(0.5, least_s=0),), outcome=METRIC)
    tallies = {key(one, rollout=SHOWN.id): Tally(keyed=1000) for one in ("stable", "canary")}
    with stub(content("a", tallies)) as gateway:
        one = world.evidence(gateway.url, impressions=storage.folder)
        until(lambda: one.window(SHOWN, METRIC).outcomes is not None, "it is read", 60)
        judgement = judge(settings, 1, one.window(SHOWN, METRIC))
    assert judgement.outcome is Outcome.FAILURE
    assert judgement.reason.startswith("click is worse with the canary (0 vs. 1 per impression")
    assert judgement.evidence["outcome"]["feedback"] == {"duplicates": 1000, "late": 0, "early": 0, "unknown": 100}
