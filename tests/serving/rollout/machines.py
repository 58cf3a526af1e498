"""Rollouts and facts for the tests of the state machine. Not a test module."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from serving.rollout.facts import Facts, ReplicaView
from serving.rollout.settings import Settings, Step
from serving.rollout.state import Outcome, Phase, Rollout

SETTINGS = Settings(
    steps=(Step(0.05, least_s=10, most_s=100), Step(0.5, least_s=10, most_s=100)),
    warm_limit_s=60.0,
    settle_s=1.0,
    drain_s=5.0,
    rollback_window_s=30.0,
)
OLD, NEW = 7, 8
STATES = ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")


@dataclass(frozen=True)
class Said:
    """A verdict."""

    outcome: Outcome
    reason: str = "said so"
    evidence: dict[str, Any] = field(default_factory=dict)


def rollout(phase: Phase = Phase.STAGED, **changes: Any) -> Rollout:
    """One from OLD to NEW as it would be in the phase."""
    walked = phase not in (Phase.STAGED, Phase.WARMING, Phase.LABELLING)
    known: dict[str, Any] = {
        "id": 3,
        "model": "clicks",
        "version": NEW,
        "previous": OLD,
        "phase": phase,
        "step": 2 if walked else 0,
        "paused": False,
        "elapsed_s": 0.0,
        "promoted": phase in (Phase.STABLE, Phase.RETIRING, Phase.DONE),
        "bad": phase in (Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING, Phase.ROLLED_BACK),
        "reason": "before",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "revision": 5,
    }
    return Rollout(**{**known, **changes})


def server(name: str = "one", accepted: bool = True, **changes: Any) -> ReplicaView:
    """A server that has both versions."""
    return replace(ReplicaView(name, True, accepted, {OLD: "AVAILABLE", NEW: "AVAILABLE"}), **changes)


def good(outcome: Outcome | None = Outcome.SUCCESS, **changes: Any) -> Facts:
    """Two servers that do as they are told, long since."""
    verdict = None if outcome is None else Said(outcome)
    facts = Facts((server("one"), server("two")), verdict, OLD, published_s=100.0, accepted_s=100.0)
    return replace(facts, **changes)


def without(version: int, **changes: Any) -> Facts:
    """As `good`, on servers that have unloaded a version."""
    states = {OLD: "AVAILABLE", NEW: "AVAILABLE", version: "END"}
    return good(replicas=(server("one", states=states), server("two", states=states)), **changes)


def rollouts() -> st.SearchStrategy[Rollout]:
    """Any that can be, and many that can't."""
    return st.builds(
        rollout,
        st.sampled_from(Phase),
        step=st.integers(0, 3),
        paused=st.booleans(),
        elapsed_s=st.sampled_from([0.0, 9.9, 10.0, 61.0, 100.0, 1e6]),
        previous=st.sampled_from([OLD, None]),
        promoted=st.booleans(),
        bad=st.booleans(),
    )


def views() -> st.SearchStrategy[ReplicaView]:
    """Any server; one that has accepted answers."""

    def view(answers: bool, accepted: bool, states: dict[int, str], lacking_s: float | None, missing_s: float) -> Any:
        return ReplicaView("one", answers, accepted and answers, states, {}, lacking_s, missing_s)

    states = st.dictionaries(st.sampled_from([OLD, NEW]), st.sampled_from(STATES))
    lacking = st.sampled_from([None, None, 0.0, 5.0])
    return st.builds(view, st.booleans(), st.booleans(), states, lacking, st.sampled_from([0.0, 30.0, 61.0]))


def facts() -> st.SearchStrategy[Facts]:
    """Anything that may be known."""
    verdicts = st.sampled_from([None, *(Said(outcome) for outcome in Outcome)])
    times = st.sampled_from([None, 0.0, 1.0, 5.0])
    return st.builds(
        Facts,
        replicas=st.lists(views(), max_size=3).map(tuple),
        verdict=verdicts,
        stable=st.sampled_from([None, OLD, NEW]),
        busy=st.booleans(),
        newer=st.sampled_from([None, None, 9]),
        restarts=st.integers(0, 2),
        published_s=times,
        accepted_s=times,
        missing=st.booleans(),
    )
