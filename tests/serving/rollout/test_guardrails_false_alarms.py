"""How often guardrails fail a harmless canary in a whole rollout, and how soon a bad one, on simulated traffic.

A thousand rollouts and more: `make bench NAME=abtest`.
"""

import numpy as np
import pytest

from serving.rollout.settings import OutcomeMetric, Settings
from tests.benchmarks.abtest_guardrails import TROUBLES, harmless, troubles

SETTINGS = Settings(outcome=OutcomeMetric())


def test_a_harmless_canary_passes_all_steps_of_600000_requests() -> None:
    """The promise is 1 % at most; two of 25 would have a probability of 0.03 then."""
    assert harmless(25, SETTINGS, np.random.default_rng(0)) < 2 / 25


def test_every_trouble_is_found_within_a_thousand_requests_to_the_canary() -> None:
    found = troubles(SETTINGS, np.random.default_rng(1), runs=5)
    assert found.keys() == TROUBLES.keys()
    assert max(found.values()) < 1000
    assert found["every request fails"] == pytest.approx(100, rel=0.2)
