"""What holds of the state machine wherever it stands and whatever is known."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.rollout import desired
from serving.rollout.facts import Facts
from serving.rollout.machine import Verb, advance, obey, stable
from serving.rollout.state import LEAVING, LIVE, Outcome, Phase, Rollout
from serving.traffic_plan import ModelPlan
from tests.serving.rollout.machines import NEW, OLD, SETTINGS, facts, good, rollout, rollouts, without

VERBS: tuple[Verb, ...] = get_args(Verb)
SERVED = (Phase.CANARY, Phase.PROMOTING, Phase.STABLE, Phase.RETIRING, Phase.DONE)


def plan_of(one: Rollout) -> ModelPlan | None:
    return desired.model_plan(desired.Model("clicks", "/m", stable(one), one, SETTINGS.steps))


@settings(deadline=None)
@given(rollouts(), facts())
def test_what_a_rollout_is_of_stays(before: Rollout, known: Facts) -> None:
    after = advance(before, SETTINGS, known)
    if after is not None:
        kept = {name: getattr(before, name) for name in ("id", "model", "version", "created", "revision")}
        assert {name: getattr(after, name) for name in kept} == kept
        assert before.live
        assert after != before
        assert (after.phase, after.step) == (before.phase, before.step) or after.elapsed_s == 0


@settings(deadline=None)
@given(rollouts())
def test_the_share_is_0_but_while_a_canary_is_judged_or_promoted(one: Rollout) -> None:
    plan = plan_of(one) if one.live else None
    if plan is not None and one.phase not in (Phase.CANARY, Phase.PROMOTING):
        assert (plan.share, plan.shadow, plan.canary) == (0, 0, None)


@settings(deadline=None)
@given(rollouts(), facts())
def test_stable_is_the_one_before_or_the_candidate(before: Rollout, known: Facts) -> None:
    after = advance(before, SETTINGS, known) or before
    assert stable(after) in (after.previous, after.version)


@settings(deadline=None)
@given(rollouts(), facts())
def test_only_success_moves_a_canary_forward_and_not_before_its_time(before: Rollout, known: Facts) -> None:
    after = advance(replace(before, phase=Phase.CANARY), SETTINGS, known)
    if after is not None and (after.phase is Phase.PROMOTING or after.step > before.step):
        assert known.verdict is not None
        assert known.verdict.outcome is Outcome.SUCCESS
        assert before.elapsed_s >= SETTINGS.steps[0].least_s
        assert not before.paused


@settings(deadline=None)
@given(rollouts(), facts())
def test_a_paused_rollout_only_leaves(before: Rollout, known: Facts) -> None:
    after = advance(replace(before, paused=True), SETTINGS, known)
    if after is not None and before.phase not in LEAVING:
        leaves = (Phase.WITHDRAWING, Phase.RETIRING, Phase.DONE)
        assert after.phase in leaves


@settings(deadline=None)
@given(rollouts(), facts())
def test_failure_withdraws_whoever_gets_users_now(before: Rollout, known: Facts) -> None:
    failed = good(Outcome.FAILURE, replicas=known.replicas, newer=None, restarts=0)
    for phase in (Phase.CANARY, Phase.PROMOTING):
        after = advance(replace(before, phase=phase), SETTINGS, failed)
        assert after is not None
        assert (after.phase, after.bad) == (Phase.WITHDRAWING, True)


@settings(deadline=None)
@given(rollouts(), facts())
def test_a_version_is_named_by_a_plan_only_when_every_server_has_it(before: Rollout, known: Facts) -> None:
    """But for an abort, which asks no server: there the version before was never unloaded."""
    after = advance(before, SETTINGS, known)
    if after is None or not before.live or not after.live or before.phase is Phase.STAGED or before.previous is None:
        return
    old, new = plan_of(before), plan_of(after)
    assert old is not None
    assert new is not None
    named = {one.version for one in (new.stable, new.canary) if one} - {
        one.version for one in (old.stable, old.canary) if one
    }
    for version in named:
        there = [one for one in known.replicas if one.answers]
        ready = known.replicas and all(one.accepted for one in known.replicas)
        assert ready or (there and all(one.states.get(version) == "AVAILABLE" for one in there))


@settings(deadline=None)
@given(rollouts(), st.sampled_from(VERBS))
def test_a_verb_twice_is_as_once(before: Rollout, verb: Verb) -> None:
    once = obey(before, verb, "first")
    assert obey(once, verb, "second") is once


@settings(deadline=None)
@given(rollouts())
def test_resume_and_pause_reset_nothing(before: Rollout) -> None:
    for verb in ("pause", "resume"):
        after = obey(before, verb, before.reason)
        assert replace(after, paused=before.paused) == before


@settings(deadline=None)
@given(rollouts(), st.lists(facts(), max_size=12))
def test_a_bad_version_meets_users_no_more(before: Rollout, course: list[Facts]) -> None:
    one = replace(before, bad=True, phase=Phase.WITHDRAWING)
    for known in course:
        one = advance(one, SETTINGS, known) or one
        assert one.phase in (*LEAVING, Phase.ROLLED_BACK)
        assert one.bad


@pytest.mark.parametrize("phase", sorted(LIVE))
@settings(deadline=None, max_examples=50)
@given(course=st.lists(facts(), max_size=8))
def test_abort_ends_with_the_version_before_wherever_it_was(phase: Phase, course: list[Facts]) -> None:
    one = obey(rollout(phase, bad=False), "abort", "go back")
    for known in course:
        one = advance(one, SETTINGS, replace(known, stable=OLD)) or one
        assert one.phase not in (Phase.CANARY, Phase.PROMOTING)
    given_up = one.phase in (Phase.RETIRING, Phase.DONE)  # the version before could not be loaded again
    for known in (good(), good(), good(), without(NEW), without(NEW)):
        one = advance(one, SETTINGS, known) or one
    if not given_up:
        assert (one.phase, one.bad, stable(one)) == (Phase.ROLLED_BACK, True, OLD)


@settings(deadline=None)
@given(rollouts(), st.lists(st.one_of(facts(), st.sampled_from(VERBS)), max_size=30))
def test_whatever_happens_a_rollout_never_goes_back_to_meet_users_again(
    before: Rollout, course: list[Facts | Verb]
) -> None:
    one, left = replace(before, bad=False), before.phase in LEAVING
    for event in course:
        one = (advance(one, SETTINGS, event) or one) if isinstance(event, Facts) else obey(one, event, "asked")
        left |= one.phase in LEAVING
        assert not (left and one.phase in SERVED)
