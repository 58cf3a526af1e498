"""Always-valid comparison of what users do with the canary and with stable: one may look as often as one likes.

The metric is a ratio, sum of values over sum of impressions (clicks per impression). What is assigned at random is a
user's key, so keys are the units: a user's impressions resemble one another, and the variance is that of sums by key.

**The evidence.** Given S, the values' sum of both variants, and pi, the canary's part of the impressions, a value of a
Poisson-like metric is the canary's with probability pi e^t / (1 - pi + pi e^t), where e^t is the canary's rate over
stable's. The likelihood ratio of t = t1 against t = t0 is an e-process: its expectation under t0 is 1 at any time at
which one chooses to stop, so by Ville's inequality it ever reaches 1/alpha with a probability of at most alpha.
Stable's rate may drift as it likes, since it cancels out. (Wald 1945, sequential probability ratio; Lindon and Malek
2022, arXiv:2011.03567, the same conditioning for conversion rates; Ramdas et al. 2023, arXiv:2210.01948, e-processes.)

**Users, not impressions.** The log ratio is divided by the dispersion: the variance of the canary's part of S, by the
delta method on sums by key (Deng, Knoblich and Lu 2018, arXiv:1803.06336), over that which independent values would
have. That is a quasi-likelihood (Wedderburn 1974): right to the first two moments and so, as sums of many keys are
nearly normal, asymptotically valid (as in Waudby-Smith et al. 2024, arXiv:2103.06476). Hence the burn-in: nothing is
said before each variant has LEAST_KEYS effective keys and would be expected to have LEAST_EVENTS effective values if
both were alike. Both bounds are blind to which variant has the values, so they do not bias what follows.

**Assumptions.** Keys are independent of one another and assigned regardless of the past; the share is constant in the
window; a key's repeated visits are fine. Where users differ in how often they come, the estimate's steps are
positively correlated, which makes false alarms fewer.

**Harm** is a mixture of two alternatives: nine tenths of the stake on the loss `worse_by`, one tenth on four times as
much. The latter costs 1 to 3 % more samples at `worse_by` and spares a third of them for a canary that loses 40 %.

**Why not a library.** `savvi` 0.3.1 has that conditional test for independent conversions (no sums by key, no margin)
and brings cvxpy with its solvers; `confseq` 0.0.11 has boundaries for one sample, no ratio of two, and has to be built
with C++ and Boost; `expectation` 0.6 wants Python 3.12 and tests one sample's mean; `spotify-confidence` 4.1.0 has
group-sequential bounds, for which the final sample size must be known beforehand, and brings pandas, statsmodels and
chartify. What is needed of them is two pages of NumPy; tests/benchmarks/abtest.py compares.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_KEYS = 30.0
LEAST_EVENTS = 20.0
LARGE = 4.0  # times worse_by
STAKE_ON_LARGE = 0.1
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """What the comparison needs of a variant's keys. Numbers, or arrays of one shape for many comparisons at once.

    Attributes:
        impressions, values: sums over keys of n and v, a key's impressions and values.
        impressions_squared, products, values_squared: sums over keys of n n, n v and v v.
    """

    impressions: Array
    values: Array
    impressions_squared: Array
    products: Array
    values_squared: Array

    @property
    def rate(self) -> Array:
        """Values per impression; NaN without impressions."""
        return self.values / self.impressions

    @property
    def effective_keys(self) -> Array:
        """Kish's: as many keys with equally many impressions would tell as much. NaN without impressions."""
        return self.impressions**2 / self.impressions_squared

    @property
    def variance(self) -> Array:
        """Of `values` about what the rate makes expect, by key."""
        return self.variance_about(self.rate)

    def variance_about(self, rate: Array) -> Array:
        """The same about what another rate makes expect."""
        found = self.values_squared - 2 * rate * self.products + rate**2 * self.impressions_squared
        return np.maximum(found, 0.0)


def sums(impressions: ArrayLike, values: ArrayLike) -> Sums:
    """The sums of keys.

    Args:
        impressions: (keys,) at least 0. values: (keys,) any finite numbers, such as clicks.
    """
    n, v = np.asarray(impressions, np.float64), np.asarray(values, np.float64)
    with np.errstate(all="ignore"):  # what overflows is not finite, and then nothing is said
        return Sums(n.sum(), v.sum(), (n * n).sum(), (n * v).sum(), (v * v).sum())


def harm(stable: Sums, canary: Sums, worse_by: float) -> Array:
    """Log of the evidence that the canary's rate is below stable's.

    At most alpha of harmless canaries ever reach log(1/alpha).

    Args:
        worse_by: relative loss that is to be found soonest, between 0 and 1.

    >>> users = np.full(2000, 5.0)
    >>> float(harm(sums(users, users * 0.2), sums(users, users * 0.1), 0.1)) > math.log(20)
    True
    """
    small, large = (_log_of_loss(times * worse_by) for times in (1.0, LARGE))
    on_small = math.log(1 - STAKE_ON_LARGE) + _log_ratio(stable, canary, 0.0, small)
    on_large = math.log(STAKE_ON_LARGE) + _log_ratio(stable, canary, 0.0, large)
    with np.errstate(invalid="ignore"):
        return _when_ready(stable, canary, np.logaddexp(on_small, on_large))


def not_worse(stable: Sums, canary: Sums, margin: float) -> Array:
    """Log of the evidence that the canary has lost less than `margin`; it gains most where both are alike.

    At most alpha of canaries that have lost `margin` or more ever reach log(1/alpha).

    Args:
        margin: relative, between 0 and 1.
    """
    return _when_ready(stable, canary, _log_ratio(stable, canary, _log_of_loss(margin), 0.0))


def lift(stable: Sums, canary: Sums, alpha: float, worse_by: float) -> tuple[Array, Array]:
    """Bounds of the canary's rate over stable's, minus 1, that hold at all times together with probability 1 - alpha.

    A normal mixture (Robbins 1970; Howard et al. 2021, arXiv:1810.08240) about the log of the ratio, two-sided and for
    people: `harm` sees a loss of `worse_by` sooner. NaN before the burn-in and without values in each variant.

    Args:
        worse_by: where the bounds are to be narrowest.
    """
    with np.errstate(all="ignore"):
        pooled = (stable.variance + canary.variance) / (stable.values + canary.values)
        spread = sum(np.maximum(one.variance / one.values, pooled) / one.values for one in (stable, canary))
        told = _log_of_loss(worse_by) ** 2 / spread + 1
        half = np.sqrt(spread * told / (told - 1) * np.log(told / alpha**2))
        middle = np.log(canary.rate / stable.rate)
        known = ready(stable, canary) & np.isfinite(middle) & np.isfinite(half)
        low, high = (np.where(known, np.expm1(middle + side * half), np.nan) for side in (-1, 1))
    return low, high


def ready(stable: Sums, canary: Sums) -> NDArray[np.bool_]:
    """Whether the burn-in is over."""
    with np.errstate(all="ignore"):
        share = _share(stable, canary)
        events = np.minimum(share, 1 - share) * (stable.values + canary.values) / dispersion(stable, canary)
        keys = np.minimum(stable.effective_keys, canary.effective_keys)
        enough: NDArray[np.bool_] = (events >= LEAST_EVENTS) & (keys >= LEAST_KEYS) & np.isfinite(events)
    return enough


def dispersion(stable: Sums, canary: Sums) -> Array:
    """How many times larger the variance is than of rare independent values of 1; below 1 where they are frequent.

    The larger of two estimates: with a rate and a variance for each variant, and with one for both. The first alone
    would be too small just when a small canary has few values by chance. NaN without values.
    """
    with np.errstate(all="ignore"):
        share = _share(stable, canary)
        total = stable.values + canary.values
        own = ((1 - share) ** 2 * canary.variance + share**2 * stable.variance) / (share * (1 - share) * total)
        rate = total / (stable.impressions + canary.impressions)
        return np.maximum(own, (stable.variance_about(rate) + canary.variance_about(rate)) / total)


def _log_of_loss(loss: float) -> float:
    return math.log1p(-min(0.9, max(1e-6, loss)))


def _share(stable: Sums, canary: Sums) -> Array:
    return canary.impressions / (stable.impressions + canary.impressions)


def _log_ratio(stable: Sums, canary: Sums, null: float, alternative: float) -> Array:
    with np.errstate(all="ignore"):
        share, total = _share(stable, canary), stable.values + canary.values
        norm = np.log1p(share * math.expm1(alternative)) - np.log1p(share * math.expm1(null))
        ratio: Array = (canary.values * (alternative - null) - total * norm) / dispersion(stable, canary)
    return ratio


def _when_ready(stable: Sums, canary: Sums, log_evidence: Array) -> Array:
    return np.where(ready(stable, canary), log_evidence, 0.0)
