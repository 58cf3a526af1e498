"""Evidence about rates of yes-or-no events that one may look at continually.

A beta mixture of likelihood ratios (Robbins 1970; Howard et al. 2021, arXiv:1810.08240): where the claim that is
tested holds, its exponential ever reaches 1/alpha with a probability of at most alpha, exactly, for events that are
independent given the moment. Everything here is its log, of the counts so far.
"""

import math

Prior = tuple[float, float]  # of the rate that is expected where the claim is wrong: a beta distribution
EVEN: Prior = (0.5, 0.5)


def against(hits: float, total: float, rate: float, prior: Prior = EVEN) -> float:
    """Evidence against the claim that the rate is this one.

    Args:
        hits: of `total`. rate: from 0 to 1.

    >>> against(0, 0, 0.5)
    0.0
    >>> against(0, 100, 0.5) > math.log(1000)
    True
    """
    a, b = prior
    mixed = _log_beta(hits + a, total - hits + b) - _log_beta(a, b)
    return mixed - _times_log(hits, rate) - _times_log(total - hits, 1 - rate)


def above(hits: float, total: float, rate: float, prior: Prior = EVEN) -> float:
    """Evidence against the claim that the rate is this one or less: the least of all that are claimed."""
    return against(hits, total, _nearest(hits, total, 0.0, rate), prior)


def below(hits: float, total: float, rate: float, prior: Prior = EVEN) -> float:
    """Evidence against the claim that the rate is this one or more."""
    return against(hits, total, _nearest(hits, total, rate, 1.0), prior)


def exceeds(of_one: tuple[float, float], of_other: tuple[float, float], by: float) -> float:
    """Evidence against the claim that one's rate is at most the other's plus `by`: the least over the other's rates.

    Args:
        of_one, of_other: (hits, total).

    >>> exceeds((30, 200), (0, 200), 0.01) > math.log(1000) > exceeds((3, 200), (0, 200), 0.01)
    True
    """

    def evidence(rate: float) -> float:
        return against(*of_other, rate) + above(*of_one, min(1.0, rate + by))

    low, high = 0.0, 1.0
    for _ in range(40):  # it is convex in the rate
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if evidence(first) <= evidence(second) else (first, high)
    return evidence((low + high) / 2)


def wanted(alpha: float) -> float:
    """What evidence has to reach."""
    return -math.log(alpha)


def _nearest(hits: float, total: float, low: float, high: float) -> float:
    """Of rates from low to high the likeliest; against it there is least evidence."""
    return min(high, max(low, hits / total)) if total else high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _times_log(count: float, rate: float) -> float:
    if count == 0:
        return 0.0
    return count * math.log(rate) if rate > 0 else -math.inf
