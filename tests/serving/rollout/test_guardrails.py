"""Each guardrail: what fails a canary, what does not, and what is too little to say."""

import doctest
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout import guardrails
from serving.rollout.guardrails import (
    Check,
    divergence,
    error_rate,
    errors_above_stable,
    not_finite,
    p99,
    restarts,
    split,
    unavailable,
)  # fmt: skip
from serving.tallies import LATENCY_BUCKETS, Tally, latency_bucket, prediction_bucket

RNG = np.random.default_rng(0)


def failing(requests: int, errors: int) -> Tally:
    return Tally(keyed=requests, errors={"INTERNAL": errors} if errors else {})


def taking(*times_ms: float) -> Tally:
    """Requests with these latencies."""
    latency: dict[int, int] = {}
    for one in times_ms:
        latency[latency_bucket(one)] = latency.get(latency_bucket(one), 0) + 1
    return Tally(keyed=len(times_ms), latency=latency)


def saying(numbers: Any) -> Tally:
    """Answers with one number each."""
    predictions: dict[int, int] = {}
    for one in numbers:
        bucket = prediction_bucket(float(one))
        predictions[bucket] = predictions.get(bucket, 0) + 1
    return Tally(keyed=len(numbers), sampled=len(numbers), predictions=predictions)


def log_normal(count: int, median_ms: float, spread: float = 0.4) -> Tally:
    return taking(*(median_ms * np.exp(spread * RNG.standard_normal(count))))


def slow(stable: Tally, canary: Tally) -> Check:
    return p99(stable, canary, 1.5, 10.0, 100)


def diverging(stable: Tally, canary: Tally, units: int = 10**9) -> Check:
    return divergence(stable, canary, 0.2, (units, units), 100)


def test_their_examples_are_right() -> None:
    assert doctest.testmod(guardrails).failed == 0


def test_a_lack_of_the_canary_counts_once_it_has_lasted() -> None:
    assert not unavailable(None, "", 0.0).failed
    assert unavailable(0.0, "a: END", 0.0).failed
    assert not unavailable(4.9, "a: END", 5.0).failed
    assert unavailable(5.0, "a: END", 5.0).failed


def test_restarts_count_beyond_what_is_allowed() -> None:
    assert [restarts(count, 1).failed for count in range(4)] == [False, False, True, True]


def test_one_answer_with_nan_is_too_much_unless_some_are_allowed() -> None:
    assert not_finite(Tally(sampled=10_000, not_finite=1), 0).failed
    assert not not_finite(Tally(sampled=10_000, not_finite=3), 3).failed


@pytest.mark.parametrize(
    ("requests", "errors", "fails"),
    [(0, 0, False), (99, 99, False), (100, 100, True), (100, 60, False), (2000, 1200, True), (2000, 1000, False)],
)
def test_the_error_rate_has_a_bound_in_any_case(requests: int, errors: int, fails: bool) -> None:
    assert error_rate(failing(requests, errors), 0.5, 100).failed is fails


@pytest.mark.parametrize(
    ("stable", "canary", "fails"),
    [
        ((1000, 0), (1000, 0), False),
        ((1000, 0), (100, 50), True),
        ((1000, 0), (100, 3), False),
        ((100_000, 100), (5000, 150), True),
        ((100_000, 100), (5000, 50), False),
        ((1000, 300), (1000, 300), False),
        ((1000, 1000), (1000, 1000), False),
        ((1000, 900), (1000, 0), False),
        ((99, 0), (1000, 1000), False),
        ((1000, 0), (99, 99), False),
        ((0, 0), (0, 0), False),
    ],
)
def test_errors_count_where_stable_has_clearly_fewer(
    stable: tuple[int, int], canary: tuple[int, int], fails: bool
) -> None:
    assert errors_above_stable(failing(*stable), failing(*canary), 0.01, 100).failed is fails


def test_more_errors_than_requests_break_nothing() -> None:
    assert errors_above_stable(failing(1000, 0), failing(200, 500), 0.01, 100).failed
    assert error_rate(failing(200, 500), 0.5, 100).failed


def test_a_canary_that_is_slow_always_fails_after_few_of_its_requests() -> None:
    assert slow(log_normal(2000, 5), log_normal(100, 100)).failed


def test_a_canary_that_is_slow_once_in_thirty_fails_by_its_p99() -> None:
    often = taking(*[5.0] * 2900, *[200.0] * 100)
    assert slow(log_normal(5000, 5), often).failed


@pytest.mark.parametrize(("stable", "canary"), [(500, 500), (99, 1000), (1000, 99), (0, 0)])
def test_latencies_of_too_few_requests_say_nothing(stable: int, canary: int) -> None:
    assert not slow(log_normal(stable, 5), log_normal(canary, 500)).failed


def test_a_slow_canary_beside_a_stable_that_is_as_slow_is_fine() -> None:
    assert not slow(log_normal(5000, 200), log_normal(5000, 220)).failed
    spells = [5.0] * 4800 + [900.0] * 200
    assert not slow(taking(*spells), taking(*spells)).failed


def test_a_few_ms_more_are_within_the_slack() -> None:
    assert not slow(log_normal(5000, 1), log_normal(5000, 3)).failed


def test_latencies_beyond_the_last_bucket_break_nothing() -> None:
    endless = Tally(keyed=2000, latency={LATENCY_BUCKETS - 1: 2000})
    assert not slow(endless, endless).failed
    assert slow(log_normal(2000, 5), endless).failed
    assert not slow(endless, log_normal(2000, 5)).failed


def test_predictions_that_moved_far_fail_and_those_that_moved_little_do_not() -> None:
    stable = saying(RNG.beta(2, 5, 5000))
    assert diverging(stable, saying(RNG.beta(5, 2, 300))).failed
    assert diverging(stable, saying(-RNG.beta(2, 5, 300))).failed
    assert diverging(stable, saying(np.full(300, 0.5))).failed
    assert not diverging(stable, saying(RNG.beta(2, 4.5, 5000))).failed
    assert not diverging(stable, saying(RNG.beta(2, 5, 300))).failed


def test_the_same_constant_is_no_divergence() -> None:
    check = diverging(saying([0.5] * 200), saying([0.5] * 200))
    assert not check.failed
    assert check.numbers["divergence"] == 0


def test_what_few_users_were_told_is_too_little_for_a_divergence() -> None:
    """A thousand answers to ten users: they may well be ten other users."""
    stable, canary = saying(RNG.beta(2, 5, 5000)), saying(RNG.beta(5, 2, 1000))
    assert diverging(stable, canary).failed
    assert not diverging(stable, canary, units=10).failed
    assert not diverging(saying(RNG.beta(2, 5, 99)), canary).failed


def test_no_bound_means_no_divergence() -> None:
    assert not divergence(saying([0.1] * 500), saying([0.9] * 500), None, (500, 500), 100).failed


@pytest.mark.parametrize(
    ("stable", "canary", "share", "fails"),
    [
        (9500, 500, 0.05, False),
        (9200, 800, 0.05, True),
        (9800, 200, 0.05, True),
        (5000, 5000, 0.5, False),
        (6, 0, 0.5, False),
        (0, 0, 0.5, False),
        (0, 40, 0.5, True),
        (100, 0, 0.0, False),
        (0, 100, 1.0, False),
    ],
)
def test_users_are_split_as_planned(stable: int, canary: int, share: float, fails: bool) -> None:
    assert split(stable, canary, share, 0.0005).failed is fails


def test_a_reason_is_given_by_those_that_fail_alone() -> None:
    assert restarts(5, 1).reason
    assert not restarts(0, 1).reason


COUNT = st.integers(0, 2**62)
BUCKETS = st.dictionaries(st.integers(0, LATENCY_BUCKETS - 1), COUNT, max_size=5)
TALLIES = st.builds(
    Tally,
    keyed=COUNT,
    random=COUNT,
    shadow=COUNT,
    errors=st.dictionaries(st.text(max_size=3), COUNT, max_size=3),
    latency=BUCKETS,
    predictions=st.dictionaries(st.integers(-2792, 2792), COUNT, max_size=5),
    not_finite=COUNT,
    sampled=COUNT,
)


@given(TALLIES, TALLIES, st.floats(0, 1))
def test_whatever_a_gateway_says_there_is_an_answer_in_json(stable: Tally, canary: Tally, share: float) -> None:
    checks = [
        not_finite(canary, 0),
        error_rate(canary, 0.5, 100),
        errors_above_stable(stable, canary, 0.01, 100),
        slow(stable, canary),
        diverging(stable, canary),
        split(stable.keyed, canary.keyed, share, 0.0005),
    ]
    for check in checks:
        json.dumps(check.numbers, allow_nan=False)
        assert bool(check.reason) is check.failed
        assert not any(isinstance(one, float) and math.isnan(one) for one in check.numbers.values())
