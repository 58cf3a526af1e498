"""Canaries that harm, each in its own way and all at the same time: none gets far, and no user is left with one.

All of them walk at once: what takes a guardrail seconds to see, it sees of all of them in the same seconds.
"""

import pytest

from serving.rollout.state import Phase
from serving.traffic_plan import CANARY
from tests.e2e.rollout.traffic import Traffic
from tests.e2e.rollout.world import World
from tests.serving.model_server.conformance.process import until

GUARDED = """\
settle_s = 0.5
drain_s = 0.2
steps = [{share = %s, least_s = 300, least_samples = 5}]
guardrails = {least_samples = 20}
"""
REASONS = {
    "nan": "answers of the canary that were looked at hold NaN or an infinity",
    "raises": "requests to the canary fail",
    "garbage": "could not load it: ",
    "late": "the canary's p99 is ",
    "plus_3": "",
}


@pytest.fixture(scope="module")
def met(made: World) -> Traffic:
    """What users of all these models were answered, until every harmful canary was gone."""
    made.open()
    made.first(**{kind: GUARDED % (0.1 if kind == "late" else 0.3) for kind in REASONS})
    asked = (*REASONS, *["late"] * 7)  # it takes a thousand answers of stable to know its p99
    with Traffic(made, *asked, rate=400, threads=4, weak=["raises"]) as traffic:
        for kind in REASONS:
            made.begin(kind, 2, kind)
        for kind in set(REASONS) - {"plus_3"}:
            made.reaches(kind, 2, Phase.ROLLED_BACK)
        counts = {kind: len(traffic.of(kind)) for kind in REASONS}
        until(lambda: all(len(traffic.of(kind)) >= counts[kind] + 30 for kind in REASONS), "users are answered")
        kept = made.rollout("plus_3", 2)
        made.store.ask("plus_3", "abort", "test")
        made.reaches("plus_3", 2, Phase.ROLLED_BACK)
    assert kept.phase is Phase.CANARY, kept.reason
    return traffic


@pytest.mark.parametrize("kind", sorted(set(REASONS) - {"plus_3"}))
def test_a_canary_that_harms_is_taken_back_for_what_it_does_and_marked_bad(
    kind: str, met: Traffic, made: World
) -> None:
    ended = made.rollout(kind, 2)
    assert (ended.phase, ended.bad) == (Phase.ROLLED_BACK, True)
    assert REASONS[kind] in ended.reason or "requests to the canary failed" in ended.reason
    assert {one.version for one in met.of(kind)[-30:]} == {1}


def test_a_canary_beside_them_that_harms_nobody_goes_on(met: Traffic) -> None:
    assert met.variants("plus_3")[CANARY] > 10


def test_what_fails_every_request_fails_no_user(met: Traffic) -> None:
    """Nor does a user see what never was loaded."""
    assert met.variants("raises")[CANARY] == met.variants("garbage")[CANARY] == 0
