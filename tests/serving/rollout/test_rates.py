"""Evidence about rates that one may look at continually."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout import rates
from serving.rollout.rates import above, against, below, exceeds, wanted

COUNTS = st.integers(0, 10**7).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
RATES = st.floats(0, 1)


def test_its_examples_are_right() -> None:
    assert doctest.testmod(rates).failed == 0


@given(COUNTS, RATES)
def test_evidence_is_never_for_both_sides(counts: tuple[int, int], rate: float) -> None:
    assert min(above(*counts, rate), below(*counts, rate)) <= 1e-6
    assert max(above(*counts, rate), below(*counts, rate)) <= max(0.0, against(*counts, rate)) + 1e-6


@given(COUNTS, RATES, RATES)
def test_a_bolder_claim_is_refuted_sooner(counts: tuple[int, int], a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert above(*counts, low) >= above(*counts, high) - 1e-6
    assert below(*counts, high) >= below(*counts, low) - 1e-6


@given(COUNTS, COUNTS, RATES)
def test_two_rates_that_may_be_as_claimed_are_no_evidence(
    one: tuple[int, int], other: tuple[int, int], by: float
) -> None:
    evidence = exceeds(one, other, by)
    assert not math.isnan(evidence)
    if one[0] * other[1] <= (other[0] + by * other[1]) * one[1]:
        assert evidence <= 0.01


def test_what_cannot_be_is_refuted_by_one_event() -> None:
    assert above(1, 10, 0.0) == math.inf
    assert below(9, 10, 1.0) == math.inf


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.3])
def test_a_true_claim_is_seldom_refuted_at_any_of_many_looks(rate: float) -> None:
    rng = np.random.default_rng(0)
    looks = np.unique(np.geomspace(1, 20_000, 120).astype(int))
    hits = np.cumsum(rng.random((400, 20_000)) < rate, axis=1)[:, looks - 1]
    alarms = [
        any(against(int(count), int(total), rate) >= wanted(0.05) for count, total in zip(row, looks, strict=True))
        for row in hits
    ]
    assert np.mean(alarms) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
