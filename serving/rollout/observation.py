"""From what model servers say to what the state machine asks: who has accepted, who lacks the candidate, since when."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.rollout.desired import ServerConfig
from serving.rollout.facts import Facts, ReplicaView, Verdict
from serving.rollout.replicas import Seen
from serving.rollout.report import ModelFacts, ReplicaFacts
from serving.rollout.settings import Settings
from serving.rollout.state import Phase, Rollout
from serving.traffic_plan import ModelPlan

AVAILABLE = "AVAILABLE"


class Analysis(Protocol):
    """What judges the step that is under way; judging.Judging is one. Who makes it starts and closes it."""

    def judgement(
        self, rollout: Rollout, settings: Settings, restarts: int, lacking_s: float | None, lacking: str
    ) -> Verdict | None:
        """The newest judgement of the rollout's step; None: none yet, or too old. Never blocks."""
        ...


@dataclass(frozen=True)
class Look:
    """The model servers at one moment.

    Attributes:
        seen: target -> what is known of it.
        config: that is wanted now.
        now: seconds that only grow.
    """

    seen: Mapping[str, Seen]
    config: ServerConfig
    now: float


class Observation:
    """Remembers since when things are as they are, and how often servers had restarted when a rollout began."""

    def __init__(self, analysis: Analysis | None) -> None:
        """
        Args:
            analysis: None: nothing is ever judged.
        """
        self._analysis = analysis
        self._since: dict[tuple[Hashable, ...], float] = {}
        self._restarts_before: dict[int, int] = {}

    def facts(
        self,
        rollout: Rollout,
        rollouts: Sequence[Rollout],
        settings: Settings,
        stable: int | None,
        look: Look,
        published_s: float | None,
    ) -> Facts:
        """What is known when the rollout may move.

        Args:
            rollouts: all that are live, of all models.
            stable: the model's stable version.
            published_s: see Facts.
        """
        views = tuple(self._view(rollout, target, one, look) for target, one in look.seen.items())
        restarts = self._restarts(rollout, look)
        accepted = bool(views) and all(one.accepted for one in views)
        busy, newer = _others(rollout, rollouts, settings)
        verdict = None
        if self._analysis is not None and rollout.phase in (Phase.CANARY, Phase.PROMOTING):
            verdict = self._analysis.judgement(rollout, settings, restarts, *_lacking(views, rollout.version))
        return Facts(
            replicas=views,
            verdict=verdict,
            stable=stable,
            busy=busy,
            newer=newer,
            restarts=restarts,
            published_s=published_s,
            accepted_s=self._lasting((rollout.id, "accepted", rollout.phase), accepted, look.now),
            missing=any((rollout.model, rollout.version) in one.missing for one in look.seen.values()),
        )

    def keep(self, rollouts: Sequence[Rollout]) -> None:
        """Forgets all but these."""
        known = {one.id for one in rollouts}
        self._restarts_before = {number: one for number, one in self._restarts_before.items() if number in known}
        self._since = {key: since for key, since in self._since.items() if key[0] in known}

    def _restarts(self, rollout: Rollout, look: Look) -> int:
        if rollout.phase is Phase.STAGED:
            return 0
        restarts = sum(one.restarts for one in look.seen.values())
        return restarts - self._restarts_before.setdefault(rollout.id, restarts)

    def _lasting(self, about: tuple[Hashable, ...], holds: bool, now: float) -> float | None:
        """For how long something has held; None: it doesn't."""
        if not holds:
            self._since.pop(about, None)
            return None
        return now - self._since.setdefault(about, now)

    def _view(self, rollout: Rollout, target: str, seen: Seen, look: Look) -> ReplicaView:
        model, version = rollout.model, rollout.version
        versions = seen.models.get(model, {})
        here = seen.answers and _state(seen, model, version) == AVAILABLE
        # One that came back and still loads doesn't lack it yet: the candidate was not AVAILABLE there before.
        lost = seen.answers and not here and ((model, version) in seen.had or _state(seen, model, version) == "END")
        return ReplicaView(
            target=target,
            answers=seen.answers,
            accepted=accepts(seen, look.config, model),
            states={number: one.state for number, one in versions.items()},
            errors={number: str(one.error) for number, one in versions.items() if one.error and one.state == "END"},
            lacking_s=self._lasting((rollout.id, "lacks", target), lost, look.now),
            missing_s=self._lasting((rollout.id, "misses", target), not here, look.now) or 0.0,
        )


def accepts(seen: Seen, config: ServerConfig, model: str) -> bool:
    """Whether a server has applied the config and every version that has a label there is AVAILABLE."""
    wanted = config.models.get(model)
    labelled = set() if wanted is None else set(wanted.labels.values())
    there = seen.answers and seen.applied == config.text
    return there and all(_state(seen, model, version) == AVAILABLE for version in labelled)


def ready(model: str, look: Look) -> bool:
    """Whether the servers that answer, one at least, have accepted the model, so that a plan may name it at first."""
    answering = [one for one in look.seen.values() if one.answers]
    return bool(answering) and all(accepts(one, look.config, model) for one in answering)


def _others(rollout: Rollout, rollouts: Sequence[Rollout], settings: Settings) -> tuple[bool, int | None]:
    """(busy, newer) of Facts."""
    rest = [one for one in rollouts if one.model == rollout.model and one.id != rollout.id]
    queues = settings.on_newer == "queue"
    # One that is paused lets the others pass: verbs are about the newest that waits, so nobody could resume it.
    busy = any(one.phase is not Phase.STAGED or (queues and one.id < rollout.id and not one.paused) for one in rest)
    newer = [one.version for one in rest if one.id > rollout.id and one.phase is Phase.STAGED and not one.paused]
    return busy, newer[-1] if newer else None


def _lacking(views: Sequence[ReplicaView], version: int) -> tuple[float | None, str]:
    """The longest time that a server has lacked the version, and which and how, for people."""
    found = [one for one in views if one.lacking_s is not None]
    if not found:
        return None, ""
    worst = max(found, key=lambda one: one.lacking_s or 0.0)
    return worst.lacking_s, f"{worst.target}: {worst.errors.get(version, worst.states.get(version, 'not listed'))}"


def shown(model: str, look: Look, settings: Settings, verdict: Verdict | None, plan: ModelPlan | None) -> ModelFacts:
    """A model as the status page shows it."""
    servers = tuple(
        ReplicaFacts(
            target=target,
            reachable=one.answers,
            accepted=accepts(one, look.config, model),
            versions={number: version.state for number, version in one.models.get(model, {}).items()},
            error=one.error,
        )
        for target, one in look.seen.items()
    )
    return ModelFacts(
        steps=len(settings.steps),
        share=0.0 if plan is None else plan.share,
        shadow=0.0 if plan is None else plan.shadow,
        outcome=None if verdict is None else verdict.outcome.value,
        reason="" if verdict is None else verdict.reason,
        evidence={} if verdict is None else dict(verdict.evidence),
        replicas=servers,
    )


def evidence(facts: Facts) -> dict[str, object]:
    """The facts as the ledger keeps them."""
    verdict = facts.verdict
    judged = {} if verdict is None else {"outcome": verdict.outcome.value, "numbers": dict(verdict.evidence)}
    servers = {
        one.target: {"answers": one.answers, "accepted": one.accepted, "states": dict(one.states)}
        for one in facts.replicas
    }
    return {**judged, "servers": servers, "restarts": facts.restarts}


def _state(seen: Seen, model: str, version: int) -> str | None:
    one = seen.models.get(model, {}).get(version)
    return None if one is None else one.state
