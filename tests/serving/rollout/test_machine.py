"""Every move of the state machine, and what keeps it from moving."""

from dataclasses import replace

import pytest

from serving.rollout.facts import Facts
from serving.rollout.machine import advance, obey, stable
from serving.rollout.settings import Guardrails
from serving.rollout.state import Outcome, Phase, Rollout
from tests.serving.rollout.machines import NEW, OLD, SETTINGS, good, rollout, server, without

NOBODY = Facts(published_s=100.0)
WAITING = good(replicas=(server("one"), server("two", accepted=False)), accepted_s=None)


def moved(before: Rollout, facts: Facts = NOBODY, **settings: object) -> Rollout:
    after = advance(before, replace(SETTINGS, **settings), facts)  # type: ignore[arg-type]
    assert after is not None
    return after


def stays(before: Rollout, facts: Facts, **settings: object) -> bool:
    return advance(before, replace(SETTINGS, **settings), facts) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "facts", "phase"),
    [
        (rollout(Phase.STAGED), good(), Phase.WARMING),
        (rollout(Phase.WARMING), good(), Phase.LABELLING),
        (rollout(Phase.LABELLING), good(), Phase.CANARY),
        (rollout(Phase.LABELLING, previous=None), good(), Phase.STABLE),
        (rollout(Phase.CANARY, step=1, elapsed_s=10), good(), Phase.CANARY),
        (rollout(Phase.CANARY, step=2, elapsed_s=10), good(), Phase.PROMOTING),
        (rollout(Phase.PROMOTING), good(), Phase.STABLE),
        (rollout(Phase.STABLE, elapsed_s=30), good(), Phase.RETIRING),
        (rollout(Phase.STABLE, previous=None), good(), Phase.DONE),
        (rollout(Phase.RETIRING), without(OLD), Phase.DONE),
        (rollout(Phase.WITHDRAWING), good(), Phase.UNLABELLING),
        (rollout(Phase.WITHDRAWING, step=0), NOBODY, Phase.UNLOADING),
        (rollout(Phase.UNLABELLING), good(), Phase.UNLOADING),
        (rollout(Phase.UNLOADING), without(NEW), Phase.ROLLED_BACK),
    ],
)
def test_each_phase_ends_in_the_next_one(before: Rollout, facts: Facts, phase: Phase) -> None:
    after = moved(before, facts)
    assert after.phase is phase
    assert after.elapsed_s == 0
    assert not after.paused


@pytest.mark.parametrize(
    ("before", "facts"),
    [
        (rollout(Phase.STAGED), good(busy=True)),
        (rollout(Phase.WARMING), without(NEW)),
        (rollout(Phase.WARMING), NOBODY),
        (rollout(Phase.LABELLING), WAITING),
        (rollout(Phase.LABELLING), NOBODY),
        (rollout(Phase.CANARY, elapsed_s=9.9), good()),
        (rollout(Phase.CANARY, elapsed_s=50), good(Outcome.INCONCLUSIVE)),
        (rollout(Phase.CANARY, elapsed_s=50), good(None)),
        (rollout(Phase.PROMOTING), WAITING),
        (rollout(Phase.PROMOTING), good(published_s=0.5)),
        (rollout(Phase.PROMOTING), good(published_s=None)),
        (rollout(Phase.STABLE, elapsed_s=29), good()),
        (rollout(Phase.STABLE, elapsed_s=31), good(published_s=None)),
        (rollout(Phase.RETIRING), good()),
        (rollout(Phase.RETIRING), NOBODY),
        (rollout(Phase.WITHDRAWING), good(published_s=0.9)),
        (rollout(Phase.WITHDRAWING), good(published_s=None)),
        (rollout(Phase.UNLABELLING), good(accepted_s=4.9)),
        (rollout(Phase.UNLABELLING), WAITING),
        (rollout(Phase.UNLOADING), good()),
        (rollout(Phase.UNLOADING), NOBODY),
        (rollout(Phase.DONE), good()),
        (rollout(Phase.ROLLED_BACK), good()),
    ],
)
def test_each_phase_waits_for_what_it_needs(before: Rollout, facts: Facts) -> None:
    assert stays(before, facts)


def test_a_rollout_starts_from_what_is_stable_then() -> None:
    assert moved(rollout(previous=3), good()).previous == OLD


def test_a_candidate_that_is_stable_already_is_done() -> None:
    after = moved(rollout(), good(stable=NEW))
    assert (after.phase, after.promoted, after.bad) == (Phase.DONE, True, False)


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING])
def test_a_load_that_failed_on_one_server_is_a_failure(phase: Phase) -> None:
    broken = server("two", states={OLD: "AVAILABLE", NEW: "END"}, errors={NEW: "INTERNAL: no good"})
    after = moved(rollout(phase), good(replicas=(server("one"), broken)))
    assert (after.phase, after.bad) == (Phase.WITHDRAWING, True)
    assert "two" in after.reason
    assert "no good" in after.reason


def test_a_load_that_takes_too_long_names_the_servers_that_wait() -> None:
    slow = server("two", states={OLD: "AVAILABLE", NEW: "LOADING"})
    after = moved(rollout(Phase.WARMING, elapsed_s=61), good(replicas=(server("one"), slow)))
    assert (after.phase, after.bad) == (Phase.WITHDRAWING, True)
    assert "two" in after.reason
    assert "one" not in after.reason
    assert moved(rollout(Phase.WARMING, elapsed_s=61), good()).phase is Phase.LABELLING
    assert moved(rollout(Phase.LABELLING, elapsed_s=61), good()).phase is Phase.CANARY
    assert moved(rollout(Phase.LABELLING, elapsed_s=61), WAITING).phase is Phase.WITHDRAWING
    assert moved(rollout(Phase.WARMING, elapsed_s=61)).phase is Phase.WITHDRAWING


@pytest.mark.parametrize("phase", [Phase.LABELLING, Phase.CANARY, Phase.PROMOTING])
@pytest.mark.parametrize(("lacking_s", "allowed_s", "fails"), [(0.0, 0.0, True), (2.0, 3.0, False), (3.0, 3.0, True)])
def test_a_server_that_lacks_the_candidate_is_a_failure(
    phase: Phase, lacking_s: float, allowed_s: float, fails: bool
) -> None:
    facts = good(None, replicas=(server("one", lacking_s=lacking_s, accepted=False),))
    after = advance(rollout(phase), replace(SETTINGS, guardrails=Guardrails(unavailable_s=allowed_s)), facts)
    assert (after is not None and after.phase is Phase.WITHDRAWING) == fails


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING])
def test_more_restarts_than_allowed_are_a_failure(phase: Phase) -> None:
    assert moved(rollout(phase), good(None, restarts=2)).phase is Phase.WITHDRAWING
    assert advance(rollout(phase, paused=True), SETTINGS, good(None, restarts=1)) is None


@pytest.mark.parametrize("phase", [Phase.CANARY, Phase.PROMOTING])
@pytest.mark.parametrize("paused", [False, True])
def test_a_failure_of_the_analysis_withdraws_at_once_paused_or_not(phase: Phase, paused: bool) -> None:
    after = moved(rollout(phase, paused=paused), good(Outcome.FAILURE))
    assert (after.phase, after.bad, after.reason, after.paused) == (Phase.WITHDRAWING, True, "said so", False)
    assert after.promoted == (phase is Phase.PROMOTING)


def test_inconclusive_at_the_longest_time_pauses_or_rolls_back() -> None:
    before = rollout(Phase.CANARY, elapsed_s=100)
    paused = moved(before, good(Outcome.INCONCLUSIVE))
    assert (paused.phase, paused.paused, paused.elapsed_s) == (Phase.CANARY, True, 100)
    back = moved(before, good(None), on_inconclusive="roll_back")
    assert (back.phase, back.bad) == (Phase.WITHDRAWING, True)


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.LABELLING, Phase.CANARY])
def test_a_newer_candidate_withdraws_this_one_without_a_mark(phase: Phase) -> None:
    after = moved(rollout(phase), good(None, newer=9))
    assert (after.phase, after.bad, after.reason) == (Phase.WITHDRAWING, False, "superseded by version 9")
    assert stays(rollout(phase, paused=True), good(None, newer=9), on_newer="queue")


def test_a_newer_candidate_takes_the_place_of_one_that_waits_and_ends_the_rollback_window() -> None:
    assert moved(rollout(Phase.STAGED), good(newer=9, busy=True)).phase is Phase.DONE
    assert moved(rollout(Phase.STABLE), good(newer=9)).phase is Phase.RETIRING
    assert stays(rollout(Phase.PROMOTING), replace(WAITING, newer=9))


def test_an_aborted_version_whose_predecessor_was_being_unloaded_waits_for_that_one() -> None:
    before = obey(rollout(Phase.RETIRING), "abort", "go back")
    assert (before.phase, before.bad, stable(before)) == (Phase.STABLE, True, NEW)
    assert stays(before, without(OLD))
    after = moved(before, good())
    assert (after.phase, after.promoted, stable(after)) == (Phase.WITHDRAWING, True, OLD)
    away = server("two", answers=False, accepted=False, states={})
    assert moved(before, good(replicas=(server(), away))).phase is Phase.WITHDRAWING
    late = moved(replace(before, elapsed_s=61), without(OLD))
    assert (late.phase, late.bad) == (Phase.RETIRING, False)


def test_a_first_version_that_is_stable_cannot_be_aborted() -> None:
    before = rollout(Phase.STABLE, previous=None)
    assert obey(before, "abort", "go back") is before
