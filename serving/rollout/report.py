"""Where a model's rollout stands, as machines read it and people see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.rollout.state import Phase, Rollout, words


@dataclass(frozen=True)
class ReplicaFacts:
    """One model server as the controller sees it.

    Attributes:
        target: HOST:PORT.
        reachable: whether it answered last time.
        accepted: whether it serves what it should: the last reload succeeded and the wanted versions are AVAILABLE.
        versions: of the model: version -> state, such as "AVAILABLE".
        error: what it said last, "" for nothing.
    """

    target: str
    reachable: bool
    accepted: bool
    versions: Mapping[int, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model's rollout beyond the database.

    Attributes:
        steps: of its settings.
        share, shadow: as published in the plan, 0 to 1.
        outcome: of the last judgement: success, failure, inconclusive; None: none yet.
        reason: of it, for people.
        evidence: of it, JSON-like.
        replicas: one each.
    """

    steps: int
    share: float = 0.0
    shadow: float = 0.0
    outcome: str | None = None
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
    replicas: tuple[ReplicaFacts, ...] = ()


def current(rollouts: Sequence[Rollout]) -> Rollout:
    """The one of a model's rollouts (at least one, oldest first) that counts: it moves, else waits, else was last."""
    live = [one for one in rollouts if one.live]
    moving = [one for one in live if one.phase is not Phase.STAGED]
    return (moving or live or rollouts)[-1]


def of_model(
    model: str,
    rollouts: Sequence[Rollout],
    stable: int | None,
    facts: ModelFacts | None = None,
    asked: Sequence[str] = (),
) -> dict[str, Any]:
    """A model's state, JSON-like.

    Args:
        rollouts: the model's, at least one, oldest first.
        facts: what the controller knows; None where nobody can be asked: `steps`, `share`, `verdict` are null then.
        asked: verbs that wait for the leader.
    """
    one = current(rollouts)
    waiting = [other.version for other in rollouts if other.live and other.phase is Phase.STAGED and other is not one]
    return {
        "model": model,
        "state": state(one, facts),
        "stable": stable,
        **_rollout(one),
        "steps": None if facts is None else facts.steps,
        "share": None if facts is None else facts.share,
        "shadow": None if facts is None else facts.shadow,
        "verdict": None if facts is None or facts.outcome is None else _verdict(facts),
        "waiting": waiting,
        "asked": list(asked),
        "replicas": [] if facts is None else [_replica(replica) for replica in facts.replicas],
    }


def state(rollout: Rollout, facts: ModelFacts | None) -> str:
    """In words; without the number of steps where it isn't known."""
    if facts is not None:
        return words(rollout, facts.steps)
    return words(rollout, 0).replace(f"{rollout.step}/0", str(rollout.step))


def _rollout(one: Rollout) -> dict[str, Any]:
    return {
        "rollout": one.id,
        "version": one.version,
        "previous": one.previous,
        "phase": one.phase.value,
        "step": one.step,
        "paused": one.paused,
        "elapsed_s": round(one.elapsed_s, 3),
        "promoted": one.promoted,
        "bad": one.bad,
        "created": one.created.isoformat(),
        "reason": one.reason,
    }


def _verdict(facts: ModelFacts) -> dict[str, Any]:
    return {"outcome": facts.outcome, "reason": facts.reason, "evidence": dict(facts.evidence)}


def _replica(one: ReplicaFacts) -> dict[str, Any]:
    return {
        "target": one.target,
        "reachable": one.reachable,
        "accepted": one.accepted,
        "versions": {str(version): state for version, state in sorted(one.versions.items())},
        "error": one.error,
    }
