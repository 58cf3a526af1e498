"""The comparison of what users do: what it says of given users. How often it errs: test_sequential_validity.py."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from serving.rollout import sequential
from serving.rollout.sequential import LEAST_KEYS, Sums, sums

WANTED = math.log(20)


def users(rate: float, keys: int = 4000, impressions: int = 5) -> Sums:
    """As many keys, whose clicks come as near to the rate as whole clicks can."""
    clicks = np.diff(np.floor(np.arange(keys + 1) * impressions * rate))
    return sums(np.full(keys, impressions), clicks)


def harm(stable: Sums, canary: Sums) -> float:
    return float(sequential.harm(stable, canary, 0.1))


def not_worse(stable: Sums, canary: Sums) -> float:
    return float(sequential.not_worse(stable, canary, 0.05))


def test_its_examples_are_right() -> None:
    assert doctest.testmod(sequential).failed == 0


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.08])
def test_a_clear_loss_is_harm_and_never_harmless(rate: float) -> None:
    stable, canary = users(0.1), users(rate)
    assert harm(stable, canary) > WANTED
    assert not_worse(stable, canary) < 0


@pytest.mark.parametrize("rate", [0.1, 0.11, 0.3])
def test_no_loss_is_no_harm_and_with_enough_users_shown_to_be_none(rate: float) -> None:
    stable, canary = users(0.1, 40_000), users(rate, 40_000)
    assert harm(stable, canary) < 0
    assert not_worse(stable, canary) > WANTED


def test_a_small_canary_beside_a_large_stable_is_compared_all_the_same() -> None:
    assert harm(users(0.1, 100_000), users(0.05, 5_000)) > WANTED
    assert not_worse(users(0.1, 400_000), users(0.12, 20_000)) > WANTED


def test_more_of_the_same_is_more_evidence() -> None:
    found = [harm(users(0.1, keys), users(0.08, keys)) for keys in (1000, 2000, 4000, 8000)]
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


def test_a_user_with_many_impressions_counts_as_one_user() -> None:
    """Half of the users click always and half never: their many impressions tell little."""
    alone = [sums(np.ones(2000), np.arange(2000) % every == 0) for every in (5, 6)]
    much = [sums(np.full(200, 10), 10 * (np.arange(200) % every == 0)) for every in (5, 6)]
    assert float(sequential.dispersion(*much)) == pytest.approx(10 * float(sequential.dispersion(*alone)), rel=0.1)
    assert harm(*much) < harm(*alone) / 5


NOTHING = sums([], [])


@pytest.mark.parametrize(
    ("stable", "canary"),
    [
        (NOTHING, NOTHING),
        (users(0.1), NOTHING),
        (NOTHING, users(0.1)),
        (users(0.0), users(0.0)),
        (users(0.5, 30), users(0.0, int(LEAST_KEYS) - 1)),
        (users(0.01), users(0.0, 100)),
        (sums(np.ones(500), np.ones(500)), sums(np.ones(500), np.full(500, -2.0))),
        (users(0.1), sums([100_000], [0])),
        (users(0.1), sums([1, 2], [math.inf, 1])),
        (users(0.1), sums([1, 2], [math.nan, 1])),
    ],
    ids=[
        "nothing",
        "no canary",
        "no stable",
        "no clicks",
        "few users",
        "few clicks",
        "losses",
        "one user",
        "endless",
        "nan",
    ],
)
def test_too_little_says_nothing(stable: Sums, canary: Sums) -> None:
    assert harm(stable, canary) == not_worse(stable, canary) == 0
    assert not sequential.ready(stable, canary)
    assert all(math.isnan(float(one)) for one in sequential.lift(stable, canary, 0.05, 0.1))


def test_a_canary_that_nobody_clicks_on_is_harmful_though_its_rate_has_no_bounds() -> None:
    stable, canary = users(0.1), users(0.0)
    assert harm(stable, canary) > WANTED
    assert all(math.isnan(float(one)) for one in sequential.lift(stable, canary, 0.05, 0.1))


def test_a_canary_that_nobody_and_a_stable_that_everybody_clicks_on_is_harm() -> None:
    """Neither variant's own clicks vary at all."""
    assert harm(users(1.0, 200), users(0.0, 200)) > WANTED


def test_a_canary_that_costs_what_stable_earns_is_harmful() -> None:
    assert harm(users(0.1), sums(np.full(500, 5), np.full(500, -1.0))) > WANTED


def test_values_may_be_any_amount_and_their_unit_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    spent = [np.where(rng.random(5000) < 0.1, rng.lognormal(3, 1, 5000), 0) * part for part in (1, 0.6)]
    found = [harm(*(sums(np.full(5000, 4), unit * one) for one in spent)) for unit in (1, 100)]
    assert found[0] > WANTED
    assert found[0] == pytest.approx(found[1])


def test_the_bounds_hold_the_lift_and_narrow() -> None:
    wide, narrow = (sequential.lift(users(0.1, keys), users(0.09, keys), 0.05, 0.1) for keys in (2000, 50_000))
    for low, high in (wide, narrow):
        assert low < -0.1 < high
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 2
    assert narrow[1] < 0


def test_a_bad_setting_breaks_nothing() -> None:
    stable, canary = users(0.1), users(0.05)
    for odd in (-1.0, 0.0, 1.0, 5.0):
        assert math.isfinite(float(sequential.harm(stable, canary, odd)))
        assert math.isfinite(float(sequential.not_worse(stable, canary, odd)))


def test_many_comparisons_at_once_are_each_as_alone() -> None:
    pairs = [(users(0.1), users(rate)) for rate in (0.05, 0.1, 0.2)]
    both = [
        Sums(*(np.array([getattr(pair[side], one) for pair in pairs]) for one in vars(pairs[0][0]))) for side in (0, 1)
    ]
    stable, canary = both
    assert sequential.harm(stable, canary, 0.1).tolist() == [harm(*pair) for pair in pairs]
    assert sequential.not_worse(stable, canary, 0.05).tolist() == [not_worse(*pair) for pair in pairs]


KEYS = st.lists(st.tuples(st.integers(0, 1000), st.floats(-1e6, 1e6)), max_size=50)


@given(KEYS, KEYS)
def test_whatever_users_do_there_is_an_answer(stable: ArrayLike, canary: ArrayLike) -> None:
    of = [sums(*np.array(one, float).reshape(-1, 2).T) for one in (stable, canary)]
    assert not math.isnan(harm(*of))
    assert not math.isnan(not_worse(*of))


@given(st.permutations(range(60)))
def test_the_order_of_users_does_not_matter(order: list[int]) -> None:
    shown, clicked = np.arange(1, 61), np.arange(60) % 3
    plain, shuffled = sums(shown, clicked), sums(shown[order], clicked[order])
    assert harm(users(0.2), plain) == pytest.approx(harm(users(0.2), shuffled))
