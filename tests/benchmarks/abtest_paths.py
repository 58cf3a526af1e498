"""Simulated rollouts, thousands at once: what users of two variants did, summed up at every look."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from serving.rollout.sequential import Sums

Array = NDArray[np.float64]
MOST_IMPRESSIONS = 6
AT_A_TIME = 250  # rollouts whose looks fit into memory


@dataclass(frozen=True)
class Users:
    """How users behave. Each comes once, has some impressions, and clicks on some of them.

    Attributes:
        rate: clicks per impression with stable.
        share: of users that meet the canary.
        more: probability that a user has one more impression, up to MOST_IMPRESSIONS.
        alike: concentration of the beta distribution of users' own rates; infinite: all alike.
    """

    rate: float = 0.1
    share: float = 0.5
    more: float = 0.6
    alike: float = 3.0

    @cached_property
    def impressions(self) -> Array:
        """(cells,) of every kind of user: n impressions with v clicks."""
        return np.array([n for n, _ in _kinds()], np.float64)

    @cached_property
    def clicks(self) -> Array:
        """(cells,) as above."""
        return np.array([v for _, v in _kinds()], np.float64)

    def probabilities(self, lift: float) -> Array:
        """(cells,) of meeting each kind of user."""
        rate = self.rate * (1 + lift)
        weights = self.more ** np.arange(MOST_IMPRESSIONS)
        found = np.array([weights[n - 1] * _clicks(n, v, rate, self.alike) for n, v in _kinds()])
        chances: Array = found / found.sum()
        return chances

    def horizon(self, lift: float, alpha: float, power: float, sides: int = 2) -> int:
        """Users of both variants for a z-test that is looked at once, at its end."""
        normal = NormalDist()
        no, yes = (self._variance(one) for one in (0.0, lift))
        under_null = no / self.share + no / (1 - self.share)
        under_lift = yes / self.share + no / (1 - self.share)
        wanted = normal.inv_cdf(1 - alpha / sides) * math.sqrt(under_null)
        wanted += normal.inv_cdf(power) * math.sqrt(under_lift)
        return math.ceil((wanted / (self.rate * lift)) ** 2)

    def _variance(self, lift: float) -> float:
        """Of the rate of one user's worth of impressions."""
        chances = self.probabilities(lift)
        off = self.clicks - self.rate * (1 + lift) * self.impressions
        return float((chances * off**2).sum() / (chances * self.impressions).sum() ** 2)


def rollouts(
    users: Users, lift: float, a_look: int, looks: int, count: int, rng: np.random.Generator
) -> Iterator[tuple[Sums, Sums]]:
    """Stable's and the canary's sums (rollouts, looks), AT_A_TIME rollouts in a go.

    Args:
        a_look: users that come between two looks.
    """
    chances = users.probabilities(0.0), users.probabilities(lift)
    for start in range(0, count, AT_A_TIME):
        shape = min(AT_A_TIME, count - start), looks
        canary = rng.binomial(a_look, users.share, shape)
        yield (
            _sums(users, rng.multinomial(a_look - canary, chances[0])),
            _sums(users, rng.multinomial(canary, chances[1])),
        )


def returning(
    users: Users, lift: float, people: int, looks: int, visits: float, count: int, rng: np.random.Generator
) -> Iterator[tuple[Sums, Sums]]:
    """As `rollouts`, but the same people come again and again, some often and some seldom.

    Args:
        people: in each rollout; they appear one after the other during the first four fifths of it.
        visits: impressions of an average user between two looks.
    """
    for start in range(0, count, AT_A_TIME):
        shape = min(AT_A_TIME, count - start), people
        canary = rng.random(shape) < users.share
        own = rng.beta(users.rate * users.alike, (1 - users.rate) * users.alike, shape)
        own = np.where(canary, own * (1 + lift), own)
        often = rng.lognormal(-0.5, 1.0, shape) * visits
        first = rng.random(shape) * looks * 0.8
        n, v = np.zeros(shape), np.zeros(shape)
        sums: list[list[Array]] = []
        for look in range(looks):
            shown = rng.poisson(often * (first <= look))
            n, v = n + shown, v + rng.binomial(shown, np.minimum(own, 1))
            both = [[(one * of).sum(1) for one in (n, v, n * n, n * v, v * v)] for of in (~canary, canary)]
            sums.append([*both[0], *both[1]])
        whole = [np.stack(one, axis=1) for one in zip(*sums, strict=True)]
        yield Sums(*whole[:5]), Sums(*whole[5:])


def z(stable: Sums, canary: Sums) -> Array:
    """The z-statistic of the difference of rates by the delta method, by user; 0 where it is not known."""
    with np.errstate(all="ignore"):
        variance = sum(one.variance / one.impressions**2 for one in (stable, canary))
        return np.nan_to_num((canary.rate - stable.rate) / np.sqrt(variance), posinf=0.0, neginf=0.0)


def first(reached: NDArray[np.bool_]) -> Array:
    """(rollouts,) the first look, from 1, at which it was so; infinite where it never was."""
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, np.inf)


def _kinds() -> list[tuple[int, int]]:
    return [(n, v) for n in range(1, MOST_IMPRESSIONS + 1) for v in range(n + 1)]


def _clicks(n: int, v: int, rate: float, alike: float) -> float:
    """The probability of v clicks on n impressions: binomial, or beta-binomial where users differ."""
    if math.isinf(alike):
        return math.comb(n, v) * rate**v * (1 - rate) ** (n - v)
    a, b = rate * alike, (1 - rate) * alike
    return math.comb(n, v) * math.exp(_log_beta(v + a, n - v + b) - _log_beta(a, b))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _sums(users: Users, counts: NDArray[np.int64]) -> Sums:
    """Of counts (rollouts, looks, cells) of kinds of users."""
    n, v = users.impressions, users.clicks
    per_user = np.stack([n, v, n * n, n * v, v * v], axis=1)
    sums = np.cumsum(counts @ per_user, axis=1)
    return Sums(*np.moveaxis(sums, -1, 0))
