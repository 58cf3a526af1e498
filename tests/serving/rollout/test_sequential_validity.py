"""How often the comparison errs when it is looked at again and again, on simulated users with a fixed seed.

10,000 rollouts of each kind: `make bench NAME=abtest`. Here are fewer, so bounds leave room for chance: three standard
errors of the rate that is promised.
"""

import math
from collections.abc import Iterable

import numpy as np
import pytest

from serving.rollout import sequential
from serving.rollout.sequential import Sums
from tests.benchmarks.abtest_paths import Users, first, returning, rollouts

COUNT, LOOKS = 1000, 150
ALPHA, WORSE_BY, MARGIN = 0.05, 0.1, 0.05
WANTED = math.log(1 / ALPHA)
AT_MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / COUNT)
KINDS = [Users(), Users(more=0, alike=math.inf), Users(rate=0.01), Users(share=0.05), Users(rate=0.6, alike=0.5)]
NAMES = ["users differ", "one impression each", "few clicks", "small canary", "all or nothing"]


def horizon(users: Users) -> int:
    """Users between looks, for a fixed test at -10 %."""
    return users.horizon(-WORSE_BY, ALPHA, 0.8) // LOOKS


def harmed(paths: Iterable[tuple[Sums, Sums]]) -> np.ndarray:
    return np.concatenate([first(sequential.harm(*one, WORSE_BY) >= WANTED) for one in paths])


@pytest.mark.parametrize("users", KINDS, ids=NAMES)
def test_a_harmless_canary_is_seldom_blamed_however_often_one_looks(users: Users) -> None:
    looks = harmed(rollouts(users, 0.0, horizon(users), LOOKS, COUNT, np.random.default_rng(1)))
    assert np.isfinite(looks).mean() <= AT_MOST


@pytest.mark.parametrize("users", KINDS, ids=NAMES)
def test_a_loss_is_found_in_seven_tenths_of_the_users_that_a_fixed_test_takes(users: Users) -> None:
    looks = harmed(rollouts(users, -WORSE_BY, horizon(users), LOOKS, COUNT // 4, np.random.default_rng(2)))
    assert np.isfinite(looks).mean() > 0.65
    assert np.minimum(looks / LOOKS, 1).mean() <= 0.7


def test_a_large_loss_is_found_much_sooner() -> None:
    users = Users()
    looks = harmed(rollouts(users, -0.4, horizon(users), LOOKS, COUNT // 4, np.random.default_rng(3)))
    assert np.minimum(looks / LOOKS, 1).mean() < 0.12


@pytest.mark.parametrize("users", KINDS, ids=NAMES)
def test_a_canary_that_lost_the_margin_is_seldom_called_harmless(users: Users) -> None:
    paths = rollouts(users, -MARGIN, 4 * horizon(users), LOOKS, COUNT, np.random.default_rng(4))
    looks = np.concatenate([first(sequential.not_worse(*one, MARGIN) >= WANTED) for one in paths])
    assert np.isfinite(looks).mean() <= AT_MOST


def test_a_canary_as_good_as_stable_is_mostly_called_harmless_in_the_end() -> None:
    users = Users()
    paths = rollouts(users, 0.0, 8 * horizon(users), LOOKS, COUNT // 4, np.random.default_rng(5))
    looks = np.concatenate([first(sequential.not_worse(*one, MARGIN) >= WANTED) for one in paths])
    assert np.isfinite(looks).mean() > 0.9


@pytest.mark.parametrize(
    ("people", "share", "visits"), [(300, 0.5, 0.5), (300, 0.2, 1.0), (60, 0.5, 5.0), (600, 0.1, 0.2)]
)
def test_people_who_come_again_and_again_raise_no_more_alarms(people: int, share: float, visits: float) -> None:
    users = Users(rate=0.2, share=share)
    looks = harmed(returning(users, 0.0, people, 60, visits, COUNT // 2, np.random.default_rng(6)))
    assert np.isfinite(looks).mean() <= AT_MOST


def test_the_bounds_of_the_lift_hold_at_all_looks_together() -> None:
    users, lift = Users(), -0.1
    missed = []
    for one in rollouts(users, lift, horizon(users), LOOKS, COUNT, np.random.default_rng(7)):
        low, high = sequential.lift(*one, ALPHA, WORSE_BY)
        missed.append(((low > lift) | (high < lift)).any(axis=1))
    assert np.concatenate(missed).mean() <= AT_MOST


def test_large_amounts_of_few_users_raise_no_more_alarms() -> None:
    """One user in fifty spends something, and some spend a thousand times what others do."""
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(200):
        spent = np.where(rng.random((2, 20_000)) < 0.02, rng.lognormal(3, 1.7, (2, 20_000)), 0)
        ones = np.ones(20_000)
        stable, canary = (Sums(*(np.cumsum(part) for part in (ones, one, ones, one, one * one))) for one in spent)
        alarms += bool((sequential.harm(stable, canary, WORSE_BY) >= WANTED).any())
    assert alarms / 200 <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 200)
