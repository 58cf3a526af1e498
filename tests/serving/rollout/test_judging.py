"""The analysis beside the loop: what it answers when its sources are quick, slow, broken or gone."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from serving.errors import InputError
from serving.rollout.analysis import Judgement, Window
from serving.rollout.evidence import Evidence
from serving.rollout.judging import STALE_S, Judging
from serving.rollout.state import Outcome, Phase, Rollout
from serving.tallies import Tally
from tests.serving.model_server.conformance.process import until
from tests.serving.rollout.machines import SETTINGS, rollout

CANARY = rollout(Phase.CANARY, step=1, elapsed_s=20.0)
HARMFUL = Window(stable=Tally(keyed=2000), canary=Tally(keyed=2000, errors={"INTERNAL": 1900}))


@dataclass
class Source:
    """An Evidence that says what the test wants."""

    window_of: Callable[..., Window] = lambda *_: Window()
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    closed: bool = False

    def window(self, *args: Any) -> Window:
        self.asked.append(args)
        return self.window_of(*args)

    def close(self) -> None:
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def judging(source: Source, clock: Clock | None = None) -> Judging:
    return Judging(cast(Evidence, source), every_s=0.01, clock=clock or Clock())


def asked(one: Judging, about: Rollout = CANARY) -> Judgement | None:
    return one.judgement(about, SETTINGS, 1, 2.0, "server1: END")


def test_there_is_none_before_somebody_looked_and_then_the_newest() -> None:
    source = Source(lambda *_: HARMFUL)
    one = judging(source)
    assert asked(one) is None
    one.look()
    found = asked(one)
    assert found is not None
    assert found.outcome is Outcome.FAILURE
    assert source.asked == [(CANARY, SETTINGS.outcome, 1, 2.0, "server1: END")]


def test_a_judgement_is_of_one_step_of_one_rollout() -> None:
    one = judging(Source(lambda *_: HARMFUL))
    asked(one)
    one.look()
    assert asked(one) is not None
    assert asked(one, replace(CANARY, step=2)) is None
    assert asked(one, replace(CANARY, id=99)) is None


def test_one_that_is_too_old_says_nothing() -> None:
    clock = Clock()
    one = judging(Source(lambda *_: HARMFUL), clock)
    asked(one)
    one.look()
    clock.now = STALE_S + 1
    assert asked(one) is None


def test_what_nobody_asks_about_any_more_is_not_looked_at() -> None:
    source, clock = Source(), Clock()
    one = judging(source, clock)
    asked(one)
    one.look()
    clock.now = STALE_S + 1
    one.look()
    assert len(source.asked) == 1


def test_a_database_that_is_away_for_one_rollout_keeps_none_from_another() -> None:
    def window_of(about: Rollout, *_: Any) -> Window:
        if about.id == CANARY.id:
            raise InputError("the database is away")
        return HARMFUL

    one, other = judging(Source(window_of)), replace(CANARY, id=99)
    asked(one)
    asked(one, other)
    one.look()
    assert asked(one) is None
    assert asked(one, other) is not None


def test_in_its_thread_it_survives_a_defect_and_a_source_that_hangs_holds_up_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = threading.Event()

    def window_of(*_: Any) -> Window:
        if len(source.asked) < 3:
            raise RuntimeError("a defect")
        gate.wait(60)
        return HARMFUL

    source = Source(window_of)
    one = Judging(cast(Evidence, source), every_s=0.01)
    asked(one)
    one.start()
    try:
        until(lambda: len(source.asked) == 3, "it goes on after the defect")
        assert asked(one) is None
        gate.set()
        until(lambda: asked(one) is not None, "it judges")
    finally:
        gate.set()
        one.close()
    assert source.closed
    assert len([text for text in caplog.messages if "a defect" in text]) == 1
