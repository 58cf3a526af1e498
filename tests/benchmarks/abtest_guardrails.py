"""Simulated traffic for the guardrails: how often they fail a harmless canary, how soon they find a bad one."""

import math
import statistics
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from serving.impressions.join import Outcomes, VariantOutcome
from serving.rollout.analysis import Window, judge
from serving.rollout.settings import Settings
from serving.rollout.state import Outcome
from serving.tallies import LATENCY_BUCKETS, Tally, latency_bucket, prediction_bucket

REQUESTS = 200_000  # of both variants in a step
EVERY = 1.1  # looks are at numbers of requests that grow so: what one sees in between has hardly changed
FIRST = 300
SAMPLES = 20_000  # to draw histograms' shapes from
SHARE = 0.1
RUNS = 51


@dataclass(frozen=True)
class Traffic:
    """What requests to a variant are like.

    Attributes:
        errors: share that fails.
        median_ms, spread: of the log-normal latency.
        spells: share of looks in which all of the traffic is ten times slower and fails ten times more often.
        scores: a and b of the beta distribution of predictions.
        not_finite: share of answers that hold NaN.
        users: keys per request.
    """

    errors: float = 0.002
    median_ms: float = 5.0
    spread: float = 0.5
    spells: float = 0.02
    scores: tuple[float, float] = (2.0, 5.0)
    not_finite: float = 0.0
    users: float = 0.3


FINE = Traffic()
TROUBLES = {
    "every request fails": replace(FINE, errors=1.0),
    "5 % of requests fail": replace(FINE, errors=0.05),
    "three times as slow": replace(FINE, median_ms=15.0, spread=0.6),
    "a pause of 100 ms in each request": replace(FINE, median_ms=105.0, spread=0.05),
    "1 % of answers hold NaN": replace(FINE, not_finite=0.01),
    "the scores are turned round": replace(FINE, scores=(5.0, 2.0)),
    "a third of its users are not logged": replace(FINE, users=0.2),
}


def harmless(rollouts: int, settings: Settings, rng: np.random.Generator) -> float:
    """The share of rollouts in which a guardrail fails a canary that is as stable, in any step."""
    return sum(_first_failure(settings, FINE, rng) is not None for _ in range(rollouts)) / rollouts


def troubles(settings: Settings, rng: np.random.Generator, runs: int = RUNS) -> dict[str, float]:
    """Trouble -> median of the requests to the canary until a guardrail fails it; infinite: not within a step."""
    one_step = replace(settings, steps=(replace(settings.steps[0], share=SHARE),))
    found = {}
    for name, traffic in TROUBLES.items():
        looks = [_first_failure(one_step, traffic, rng) for _ in range(runs)]
        found[name] = statistics.median(math.inf if one is None else one for one in looks)
    return found


def _first_failure(settings: Settings, canary: Traffic, rng: np.random.Generator) -> float | None:
    """Requests to the canary in its step when a guardrail failed it; None: none did."""
    for number, step in enumerate(settings.steps, 1):
        counts = [_Counts(FINE, rng), _Counts(canary, rng)]
        total, wanted = 0, float(FIRST)
        while total < REQUESTS:
            fresh = math.ceil(wanted) - total
            total, wanted = total + fresh, wanted * EVERY
            spell = bool(rng.random() < FINE.spells)
            to_canary = int(rng.binomial(fresh, step.share))
            for one, requests in zip(counts, (fresh - to_canary, to_canary), strict=True):
                one.add(requests, spell)
            outcomes = Outcomes({"stable": counts[0].outcome(), "canary": counts[1].outcome()}, 0, 0, 0, 0, 0, 0)
            judgement = judge(settings, number, Window(counts[0].tally(), counts[1].tally(), outcomes))
            if judgement.outcome is Outcome.FAILURE and judgement.hard:
                return float(counts[1].requests)
    return None


class _Counts:
    """What a gateway would have counted of a variant."""

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        self._traffic, self._rng = traffic, rng
        *self._latency, self._scores = _shapes(traffic)
        self._latencies = np.zeros(LATENCY_BUCKETS, np.int64)
        self._predictions = np.zeros(len(self._scores), np.int64)
        self.requests = self._errors = self._not_finite = self._users = 0

    def add(self, requests: int, spell: bool) -> None:
        """More requests; whether they meet a spell of trouble."""
        failing = min(1.0, self._traffic.errors * (10 if spell else 1))
        self.requests += requests
        self._errors += int(self._rng.binomial(requests, failing))
        self._not_finite += int(self._rng.binomial(requests, self._traffic.not_finite))
        self._users += int(self._rng.binomial(requests, self._traffic.users))
        shape = self._latency[int(spell)]
        self._latencies[: len(shape)] += self._rng.multinomial(requests, shape)
        self._predictions += self._rng.multinomial(requests, self._scores)

    def tally(self) -> Tally:
        """So far."""
        return Tally(
            keyed=self.requests,
            errors={"INTERNAL": self._errors},
            latency=_counts(self._latencies),
            predictions=_counts(self._predictions),
            not_finite=self._not_finite,
            sampled=self.requests,
        )

    def outcome(self) -> VariantOutcome:
        """Users alone; nobody did anything."""
        return VariantOutcome(np.zeros(0, np.int64), np.zeros(0), self._users, 0)


@cache
def _shapes(traffic: Traffic) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """How latencies, those in a spell, and predictions are spread over buckets."""
    rng = np.random.default_rng(0)
    drawn = traffic.median_ms * np.exp(traffic.spread * rng.standard_normal(SAMPLES))
    usual, slow = ([latency_bucket(float(one)) for one in times * drawn] for times in (1, 10))
    scores = [prediction_bucket(float(one)) for one in rng.beta(*traffic.scores, SAMPLES)]
    return _shape(usual), _shape(slow), _shape(scores)


def _shape(buckets: list[int]) -> NDArray[np.float64]:
    return np.bincount(buckets) / len(buckets)


def _counts(of: NDArray[np.int64]) -> dict[int, int]:
    return {int(bucket): int(of[bucket]) for bucket in np.flatnonzero(of)}
