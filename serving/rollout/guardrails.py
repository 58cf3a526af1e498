"""Bounds that a canary must keep at every look. Each check is a pure function of counts.

They are looked at every second for days. Where counts are compared with chance, the evidence is of a kind that one may
look at continually (rates.py; for the split, Lindon and Malek 2022, arXiv:2011.03567): a canary that keeps the bound
fails a check in a step with a probability of at most ALPHA, for the split `srm_p`. That holds for requests that are
independent given the moment; spells of trouble that meet both variants alike do not move the one against the other.
Where few users send most of the requests, choose `least_samples` so large that it means many users.

A check that lacks the counts it needs has not failed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from serving.rollout.rates import Prior, above, against, below, exceeds, wanted
from serving.tallies import LATENCY_BUCKETS, Tally, latency_bucket, latency_upper_ms, quantile

ALPHA = 0.001
TAIL = 0.01  # beyond the p99
BELOW_TAIL: Prior = (0.5, 0.5 / TAIL)  # a rate about TAIL: shows soonest that it is lower
FALSE_DIVERGENCE_Z = 4.75  # one look in a million
MOST_BINS, UNITS_IN_A_BIN = 20, 10
SPLIT_PRIOR = 100.0  # how near to the plan's share half of the stake expects a wrong one; the other half, anywhere
Number = float | int | str | None


@dataclass(frozen=True)
class Check:
    """What came of one check.

    Attributes:
        name: as in the evidence.
        failed: whether the canary is past the bound.
        reason: for people; empty where it is not.
        numbers: what it was judged by.
    """

    name: str
    failed: bool
    reason: str
    numbers: Mapping[str, Number]


def unavailable(lacking_s: float | None, lacking: str, limit_s: float) -> Check:
    """Fails when a server that answers has lacked the canary for so long: it ended, or is not listed any more.

    >>> unavailable(0.0, "127.0.0.1:8500: END", 0.0).reason
    'a model server lacks the canary: 127.0.0.1:8500: END'
    >>> unavailable(None, "", 0.0).failed
    False
    """
    failed = lacking_s is not None and lacking_s >= limit_s
    numbers = {"lacking_s": lacking_s, "limit_s": limit_s}
    return _check("unavailable", failed, f"a model server lacks the canary: {lacking or 'not said which'}", numbers)


def restarts(count: int, most: int) -> Check:
    """Fails when model servers went away and came back more often; a canary that grows in memory shows itself so.

    >>> restarts(2, most=1).reason
    'model servers restarted 2 times, at most 1 allowed'
    """
    reason = f"model servers restarted {count} times, at most {most} allowed"
    return _check("restarts", count > most, reason, {"restarts": count, "most": most})


def not_finite(canary: Tally, most: int) -> Check:
    """Fails at more answers with NaN or an infinity, whatever stable does: nobody can use them.

    >>> not_finite(Tally(keyed=10, sampled=10, not_finite=1), most=0).reason
    '1 of 10 answers of the canary that were looked at hold NaN or an infinity'
    """
    reason = (
        f"{canary.not_finite} of {canary.sampled} answers of the canary that were looked at hold NaN or an infinity"
    )
    numbers = {"canary": canary.not_finite, "looked_at": canary.sampled, "most": most}
    return _check("not_finite", canary.not_finite > most, reason, numbers)


def error_rate(canary: Tally, most: float, least_samples: int) -> Check:
    """Fails when more than this share of the canary's requests fail, beyond chance.

    >>> error_rate(Tally(keyed=100, errors={"INTERNAL": 90}), most=0.5, least_samples=100).reason
    '90 of 100 requests to the canary failed, at most 50 % may'
    >>> error_rate(Tally(keyed=100, errors={"INTERNAL": 55}), most=0.5, least_samples=100).failed
    False
    """
    errors, requests = _errors(canary)
    failed = requests >= max(1, least_samples) and above(errors, requests, most) >= wanted(ALPHA)
    reason = f"{errors} of {requests} requests to the canary failed, at most {100 * most:g} % may"
    return _check("error_rate", failed, reason, {"errors": errors, "requests": requests, "most": most})


def errors_above_stable(stable: Tally, canary: Tally, most: float, least_samples: int) -> Check:
    """Fails when the canary's error rate is above stable's by more than `most`, beyond chance.

    >>> fine, bad = Tally(keyed=500), Tally(keyed=500, errors={"INTERNAL": 40})
    >>> errors_above_stable(fine, bad, most=0.01, least_samples=100).reason
    '8.00 % of requests to the canary fail, 0.00 % of those to stable'
    >>> errors_above_stable(bad, bad, most=0.01, least_samples=100).failed
    False
    """
    of_stable, of_canary = _errors(stable), _errors(canary)
    rates = [errors / requests if requests else None for errors, requests in (of_stable, of_canary)]
    numbers: dict[str, Number] = {"stable": rates[0], "canary": rates[1], "most_above": most, "log_evidence": None}
    if min(of_stable[1], of_canary[1]) < max(1, least_samples):
        return _check("errors_above_stable", False, "", numbers)
    numbers["log_evidence"] = evidence = exceeds(of_canary, of_stable, most)
    shown = [f"{100 * (rate or 0):.2f} %" for rate in rates]
    reason = f"{shown[1]} of requests to the canary fail, {shown[0]} of those to stable"
    return _check("errors_above_stable", evidence >= wanted(ALPHA), reason, numbers)


def p99(stable: Tally, canary: Tally, ratio: float, slack_ms: float, least_samples: int) -> Check:
    """Fails when the canary's p99 latency is above `ratio` times stable's and `slack_ms`, beyond chance.

    For each bucket that stable's p99 may be in, either stable's latencies or the canary's must contradict. So it takes
    about a thousand requests to stable, of which one in a hundred is beyond the p99, and fewer to a canary that is slow
    always. Buckets are 10 % wide and are read in the canary's favour.

    >>> quick, slow = Tally(keyed=2000, latency={50: 1990, 60: 10}), Tally(keyed=200, latency={90: 200})
    >>> p99(quick, slow, ratio=1.5, slack_ms=10, least_samples=100).reason
    "the canary's p99 is 265 ms, stable's 5.87 ms"
    >>> p99(quick, quick, ratio=1.5, slack_ms=10, least_samples=100).failed
    False
    """
    seen = [sum(one.latency.values()) for one in (stable, canary)]
    known = [
        quantile(one.latency, 1 - TAIL) if count else None for one, count in zip((stable, canary), seen, strict=True)
    ]
    numbers: dict[str, Number] = {"stable_ms": known[0], "canary_ms": known[1], "log_evidence": None}
    if min(seen) < max(1, least_samples):
        return _check("p99", False, "", numbers)
    beyond = [_beyond(one.latency) for one in (stable, canary)]
    likely = latency_bucket(known[0] or 0.0)
    evidence = math.inf
    for bucket in sorted(range(LATENCY_BUCKETS), key=lambda one: abs(one - likely)):
        # Were stable's p99 in this bucket, one in a hundred would be beyond its upper limit at most, and beyond its
        # lower limit at least.
        few = above(beyond[0][bucket + 1], seen[0], TAIL)
        many = below(beyond[0][bucket], seen[0], TAIL, BELOW_TAIL)
        limit = latency_bucket(ratio * latency_upper_ms(bucket) + slack_ms) + 1
        slow = above(beyond[1][limit], seen[1], TAIL)
        evidence = min(evidence, _log_mean((few, -math.log(2)), (many, -math.log(2)), (slow, 0.0)))
        if evidence < wanted(ALPHA):
            break
    numbers["log_evidence"] = evidence
    reason = f"the canary's p99 is {known[1]:.3g} ms, stable's {known[0]:.3g} ms"
    return _check("p99", evidence >= wanted(ALPHA), reason, numbers)


def divergence(stable: Tally, canary: Tally, most: float | None, units: tuple[int, int], least_samples: int) -> Check:
    """Fails when the Jensen-Shannon divergence (base 2) of the predictions is above `most` and what chance may add.

    Bins hold equal parts of both together. Between two samples of one distribution, 8 ln 2 times the divergence over
    (1/n + 1/m) is about chi-square with bins - 1 degrees of freedom (Lin 1991; Pardo 2006); n and m are not numbers
    but independent units, as an answer may hold many numbers and a user ask often.

    Args:
        units: stable's and the canary's: keys, or answers where keys are not known.

    >>> low, high = (Tally(keyed=500, sampled=500, predictions={bucket: 500}) for bucket in (10, 90))
    >>> divergence(low, high, 0.2, (500, 500), 100).reason
    'the predictions diverge from those of stable by 1.00, at most 0.20 allowed (0.02 by chance)'
    >>> divergence(low, low, 0.2, (500, 500), 100).failed
    False
    """
    counts = [
        min(one.sampled, number, sum(one.predictions.values()))
        for one, number in zip((stable, canary), units, strict=True)
    ]
    numbers: dict[str, Number] = {"divergence": None, "by_chance": None, "most": most, "units": min(counts)}
    if most is None or min(stable.sampled, canary.sampled) < max(1, least_samples) or min(counts) < 2 * UNITS_IN_A_BIN:
        return _check("divergence", False, "", numbers)
    found, bins = _jensen_shannon(stable.predictions, canary.predictions, min(MOST_BINS, min(counts) // UNITS_IN_A_BIN))
    chance = _chi_square_limit(bins - 1) / (8 * math.log(2)) * (1 / counts[0] + 1 / counts[1])
    numbers |= {"divergence": found, "by_chance": chance, "bins": bins}
    shown = f"by {found:.2f}, at most {most:.2f} allowed ({chance:.2f} by chance)"
    reason = f"the predictions diverge from those of stable {shown}"
    return _check("divergence", found > most + chance, reason, numbers)


def split(stable_keys: int, canary_keys: int, share: float, least_p: float) -> Check:
    """Fails when keys are not split as planned (sample-ratio mismatch): then the variants' users differ otherwise too.

    The chi-square test counts when the p-value that one may look at continually is below the bound as well.

    >>> split(800, 200, share=0.5, least_p=0.0005).reason
    '200 of 1000 users met the canary, but the plan is 50 %'
    >>> split(510, 490, share=0.5, least_p=0.0005).failed
    False
    """
    total = stable_keys + canary_keys
    numbers: dict[str, Number] = {
        "canary_keys": canary_keys,
        "keys": total,
        "share": share,
        "p": None,
        "p_always": None,
    }
    if not 0 < share < 1 or not total:
        return _check("split", False, "", numbers)
    chi_square = (canary_keys - share * total) ** 2 / (share * (1 - share) * total)
    p = math.erfc(math.sqrt(chi_square / 2))
    near = against(canary_keys, total, share, (SPLIT_PRIOR * share, SPLIT_PRIOR * (1 - share)))
    always = math.exp(-max(0.0, _log_mean((near, 0.0), (against(canary_keys, total, share), 0.0))))
    numbers |= {"p": p, "p_always": always}
    reason = f"{canary_keys} of {total} users met the canary, but the plan is {100 * share:g} %"
    return _check("split", max(p, always) < least_p, reason, numbers)


def _check(name: str, failed: bool, reason: str, numbers: Mapping[str, Number]) -> Check:
    plain = {key: one if not isinstance(one, float) or math.isfinite(one) else str(one) for key, one in numbers.items()}
    return Check(name, failed, reason if failed else "", plain)


def _errors(tally: Tally) -> tuple[int, int]:
    errors = sum(tally.errors.values())
    return errors, max(errors, tally.requests)


def _beyond(latency: Mapping[int, int]) -> list[int]:
    """[buckets + 1] requests in this bucket or a slower one."""
    beyond = [0]
    for bucket in reversed(range(LATENCY_BUCKETS)):
        beyond.append(beyond[-1] + latency.get(bucket, 0))
    return beyond[::-1]


def _log_mean(*parts: tuple[float, float]) -> float:
    """The log of the mean of exponentials that are given with the logs of their weights; the weights sum to 2."""
    logs = [log + weight for log, weight in parts]
    largest = max(logs)
    return (
        largest
        if math.isinf(largest)
        else largest + math.log(sum(math.exp(one - largest) for one in logs)) - math.log(2)
    )


def _jensen_shannon(a: Mapping[int, int], b: Mapping[int, int], bins: int) -> tuple[float, int]:
    """The divergence in bits, and the number of bins that were made of the buckets."""
    totals = sum(a.values()), sum(b.values())
    found, made, parts = 0.0, 0, [0.0, 0.0]
    buckets = sorted(a.keys() | b.keys())
    for bucket in buckets:
        parts = [parts[0] + a.get(bucket, 0) / totals[0], parts[1] + b.get(bucket, 0) / totals[1]]
        if sum(parts) >= 2 / bins - 1e-9 or bucket == buckets[-1]:
            middle = sum(parts) / 2
            found += sum(one * math.log2(one / middle) for one in parts if one > 0) / 2
            made, parts = made + 1, [0.0, 0.0]
    return max(0.0, found), made


def _chi_square_limit(degrees: int) -> float:
    """That chi-square exceeds in one of a million cases (Wilson and Hilferty 1931)."""
    if degrees < 1:
        return 0.0
    part = 2 / (9 * degrees)
    return float(degrees * (1 - part + FALSE_DIVERGENCE_Z * math.sqrt(part)) ** 3)
