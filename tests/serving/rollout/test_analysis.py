"""The judgement of a step: what fails it, what it waits for, what ends it well, and what it says."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.impressions.join import Outcomes, VariantOutcome
from serving.rollout.analysis import Judgement, Window, alpha_of, judge
from serving.rollout.settings import Guardrails, OutcomeMetric, Settings, Step
from serving.rollout.state import Outcome
from serving.tallies import Tally

STEPS = (Step(0.0, shadow=1.0), Step(0.05), Step(0.5, evidence=True))
SETTINGS = Settings(steps=STEPS, outcome=OutcomeMetric())
GUARDED = replace(SETTINGS, outcome=None)
SHADOW, SMALL, PROVEN = 1, 2, 3
LONG = 1000.0


def tally(requests: int, **more: Any) -> Tally:
    return Tally(keyed=requests, latency={50: requests}, predictions={9: requests}, sampled=requests, **more)


def did(rate: float, users: int) -> VariantOutcome:
    """So many users with five impressions each, who click at this rate."""
    clicks = np.diff(np.floor(np.arange(users + 1) * 5 * rate))
    return VariantOutcome(np.full(users, 5), clicks, users, waiting=3)


def outcomes(stable: VariantOutcome, canary: VariantOutcome) -> Outcomes:
    return Outcomes({"stable": stable, "canary": canary}, 5, 4, 3, 2, 1, 0)


ALIKE = outcomes(did(0.1, 40_000), did(0.1, 40_000))
FINE = Window(stable=tally(5000), canary=tally(5000), outcomes=ALIKE, elapsed_s=LONG, gateways=1)
FEW = outcomes(did(0.1, 950), did(0.1, 50))


def at_small(**changes: Any) -> Judgement:
    return judge(SETTINGS, SMALL, replace(replace(FINE, outcomes=FEW), **changes))


def test_a_canary_within_all_bounds_for_long_enough_succeeds() -> None:
    found = at_small()
    assert (found.outcome, found.reason) == (Outcome.SUCCESS, "within all bounds for long enough")


def test_a_step_that_asks_for_evidence_succeeds_with_it_alone() -> None:
    assert judge(SETTINGS, PROVEN, FINE).outcome is Outcome.SUCCESS
    few = judge(SETTINGS, PROVEN, replace(FINE, outcomes=outcomes(did(0.1, 500), did(0.1, 500))))
    assert few.outcome is Outcome.INCONCLUSIVE
    assert few.reason.startswith("click is not yet shown to be less than 5 % worse (0.1 vs. 0.1 per impression, ")


def test_without_an_outcome_guardrails_time_and_samples_decide() -> None:
    assert judge(GUARDED, PROVEN, replace(FINE, outcomes=None)).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"elapsed_s": 299.4}, "299 of at least 300 s are over"),
        ({"canary": tally(199)}, "199 of at least 200 samples"),
        ({"canary": Tally()}, "0 of at least 200 samples"),
        ({"canary": tally(5000, shadow=4900)}, "100 of at least 200 samples"),
        ({"outcomes": None}, "outcomes cannot be read"),
        ({"outcomes": None, "gaps": ("no such folder",)}, "outcomes cannot be read (no such folder)"),
        ({"gateways": 0, "gaps": ("gateway a:1: refused",)}, "no gateway says what it counted (gateway a:1: refused)"),
    ],
)
def test_what_is_missing_makes_it_inconclusive(changes: dict[str, Any], reason: str) -> None:
    found = at_small(**changes)
    assert (found.outcome, found.reason, found.hard) == (Outcome.INCONCLUSIVE, reason, False)


def test_nothing_at_all_is_inconclusive_with_every_reason() -> None:
    found = judge(SETTINGS, PROVEN, Window())
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason == "0 of at least 300 s are over; 0 of at least 200 samples; outcomes cannot be read"


def test_no_feedback_at_all_never_ends_a_step_that_asks_for_evidence() -> None:
    silent = judge(SETTINGS, PROVEN, replace(FINE, outcomes=outcomes(did(0, 40_000), did(0, 40_000))))
    assert silent.outcome is Outcome.INCONCLUSIVE
    assert silent.evidence["outcome"]["ready"] is False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lacking_s": 0.0, "lacking": "a:1: END"}, "a model server lacks the canary: a:1: END"),
        ({"restarts": 2}, "model servers restarted 2 times, at most 1 allowed"),
        ({"canary": tally(50, not_finite=1)}, "1 of 50 answers of the canary"),
        ({"canary": tally(500, errors={"INTERNAL": 450})}, "450 of 500 requests to the canary failed"),
        ({"canary": tally(500, errors={"UNAVAILABLE": 60})}, "12.00 % of requests to the canary fail"),
        ({"canary": replace(tally(500), latency={120: 500})}, "the canary's p99 is"),
        ({"canary": replace(tally(500), predictions={99: 500})}, "the predictions diverge"),
        ({"outcomes": outcomes(did(0.1, 500), did(0.1, 500))}, "500 of 1000 users met the canary, but the plan is 5 %"),
    ],
)
def test_a_guardrail_fails_at_once_even_where_nothing_else_is_known(changes: dict[str, Any], reason: str) -> None:
    known = {"elapsed_s": 0.0, "gateways": 0, "outcomes": outcomes(did(0.1, 4750), did(0.1, 250)), **changes}
    found = at_small(**known)
    assert (found.outcome, found.hard) == (Outcome.FAILURE, True)
    assert reason in found.reason


def test_all_guardrails_that_fail_are_named() -> None:
    found = at_small(restarts=9, canary=tally(50, not_finite=1))
    assert found.reason.count("; ") == 1


@pytest.mark.parametrize("step", [SMALL, PROVEN])
def test_harm_to_users_fails_every_step_with_a_share(step: int) -> None:
    stable = 19 * 5000 if step == SMALL else 5000
    harmed = replace(FINE, outcomes=outcomes(did(0.1, stable), did(0.05, 5000)), elapsed_s=0.0)
    found = judge(SETTINGS, step, harmed)
    assert (found.outcome, found.hard) == (Outcome.FAILURE, False)
    assert found.reason.startswith("click is worse with the canary (0.05 vs. 0.1 per impression, ")


def test_copies_that_nobody_sees_are_counted_and_harm_nobody() -> None:
    window = replace(FINE, canary=tally(5000, shadow=5000), outcomes=outcomes(did(0.1, 5000), did(0.0, 0)))
    assert judge(SETTINGS, SHADOW, window).outcome is Outcome.SUCCESS
    few = replace(window, canary=tally(100, shadow=100))
    assert judge(SETTINGS, SHADOW, few).reason == "100 of at least 200 samples"
    broken = replace(window, canary=tally(500, shadow=500, errors={"INTERNAL": 500}))
    assert judge(SETTINGS, SHADOW, broken).outcome is Outcome.FAILURE


def test_alpha_is_spent_once_over_all_steps_that_compare() -> None:
    steps = (Step(0.0), Step(0.05), Step(0.25), Step(0.5), Step(1.0))
    settings = replace(SETTINGS, steps=steps)
    spent = [alpha_of(settings, one) for one in steps]
    assert sum(spent) == pytest.approx(0.05)
    assert spent[0] == spent[-1] == 0
    assert spent[3] == pytest.approx(10 * spent[1])
    assert alpha_of(replace(SETTINGS, steps=(Step(1.0),)), Step(1.0)) == 0
    assert alpha_of(GUARDED, STEPS[-1]) == 0


def test_the_whole_share_is_judged_by_guardrails() -> None:
    settings = replace(SETTINGS, steps=(Step(1.0),))
    window = replace(FINE, stable=Tally(), outcomes=outcomes(did(0, 0), did(0.1, 500)))
    assert judge(settings, 1, window).outcome is Outcome.SUCCESS
    broken = replace(window, canary=tally(5000, errors={"INTERNAL": 4000}))
    assert judge(settings, 1, broken).outcome is Outcome.FAILURE


@pytest.mark.parametrize("step", [-1, 0, 4, 99])
def test_a_step_that_the_settings_do_not_have_is_judged_by_the_nearest(step: int) -> None:
    assert judge(SETTINGS, step, FINE).outcome in set(Outcome)


def test_the_numbers_are_all_there() -> None:
    said = judge(SETTINGS, PROVEN, FINE).evidence
    assert said["samples"] == {"stable": 5000, "canary": 5000}
    assert said["guardrails"]["p99"]["failed"] is False
    assert said["outcome"]["rate"] == {"stable": 0.1, "canary": 0.1}
    assert said["outcome"]["units"] == {"stable": 40_000, "canary": 40_000}
    assert said["outcome"]["waiting"] == {"stable": 3, "canary": 3}
    assert said["outcome"]["lift_low"] < 0 < said["outcome"]["lift_high"]
    assert said["outcome"]["feedback"] == {"duplicates": 5, "late": 4, "early": 3, "unknown": 2}
    assert said["outcome"]["left_out"] == {"repeated": 1, "unreadable": 0}


COUNT = st.integers(0, 10**12)
TALLIES = st.builds(Tally, keyed=COUNT, random=COUNT, shadow=COUNT, not_finite=COUNT, sampled=COUNT)
VALUES = st.lists(st.tuples(st.integers(1, 99), st.floats(allow_nan=True, allow_infinity=True)), max_size=9)
DID = st.builds(
    lambda values, keys: VariantOutcome(
        np.array([n for n, _ in values], int), np.array([v for _, v in values], float), keys, 0
    ),
    VALUES,
    COUNT,
)
WINDOWS = st.builds(
    Window,
    stable=TALLIES,
    canary=TALLIES,
    outcomes=st.none() | st.builds(outcomes, DID, DID),
    elapsed_s=st.floats(0, 1e9),
    restarts=st.integers(0, 3),
    lacking_s=st.none() | st.floats(0, 9),
    gateways=st.none() | st.integers(0, 3),
)
BOUNDS = Guardrails(not_finite=10**13)


@given(st.integers(1, 3), WINDOWS, st.booleans())
def test_whatever_is_known_there_is_a_judgement_in_json(step: int, window: Window, metric: bool) -> None:
    settings = replace(SETTINGS if metric else GUARDED, guardrails=BOUNDS)
    found = judge(settings, step, window)
    json.dumps(found.evidence, allow_nan=False)
    assert found.reason
    assert "\n" not in found.reason
    if found.outcome is Outcome.SUCCESS:
        assert window.elapsed_s >= 300
        assert window.gateways != 0
