"""The state machine of a rollout: pure functions from what is known to what comes next. `state.Phase` names the states.

`advance` moves a rollout by what is seen, `obey` by what an operator asks for. Neither touches the revision.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from serving.rollout.facts import Facts
from serving.rollout.settings import Settings
from serving.rollout.state import LEAVING, Outcome, Phase, Rollout

Verb = Literal["pause", "resume", "promote", "abort"]
MISSING_S = 10.0  # how long the directory of a version may be late on the controller's host
_FORWARD = frozenset({Phase.STAGED, Phase.WARMING, Phase.LABELLING, Phase.CANARY, Phase.PROMOTING, Phase.STABLE})
_LOADED = frozenset({"START", "LOADING", "AVAILABLE", "UNLOADING"})  # in memory, or about to be, or still


def advance(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    """The rollout after one move, or None where it stays as it is. `elapsed_s` is 0 after a move."""
    move = _MOVES.get(rollout.phase)
    return None if move is None else move(rollout, settings, facts)


def obey(rollout: Rollout, verb: Verb, why: str) -> Rollout:
    """The rollout after an operator's verb; the same one where the verb changes nothing (so twice is as once).

    pause: the share stays, no step ends; guardrails still act. resume: resets nothing. promote: from CANARY, without
    the remaining steps. abort: from everywhere, also after the promotion while the rollout is live.

    Args:
        why: for people: the new reason.
    """
    match verb:
        case "pause":
            fit = rollout.phase in _FORWARD and not rollout.bad and not rollout.paused
            return replace(rollout, paused=True, reason=why) if fit else rollout
        case "resume":
            return replace(rollout, paused=False, reason=why) if rollout.paused else rollout
        case "promote":
            return _moved(rollout, Phase.PROMOTING, why) if rollout.phase is Phase.CANARY else rollout
        case "abort":
            return _aborted(rollout, why)


def stable(rollout: Rollout) -> int | None:
    """The model's stable version by a rollout that has left STAGED: the one before until it is promoted."""
    is_it = rollout.phase in (Phase.STABLE, Phase.RETIRING) or (rollout.phase is Phase.DONE and rollout.promoted)
    return rollout.version if is_it else rollout.previous


def _aborted(rollout: Rollout, why: str) -> Rollout:
    if not rollout.live or rollout.bad:
        return rollout
    if rollout.phase is Phase.STAGED:
        return _moved(rollout, Phase.ROLLED_BACK, why, bad=True)
    if rollout.phase in LEAVING:
        return replace(rollout, bad=True, reason=why)
    if rollout.phase in (Phase.STABLE, Phase.RETIRING) and rollout.previous is None:
        return rollout  # a first version: there is nothing to go back to
    if rollout.phase is Phase.RETIRING:  # the version before may be gone: it is loaded again first
        return _moved(rollout, Phase.STABLE, why, bad=True)
    return _withdrawn(rollout, why, bad=True)


def _moved(rollout: Rollout, phase: Phase, reason: str = "", **changes: Any) -> Rollout:
    """Into another phase, or another step; without a reason the one that it has stays."""
    known = {"phase": phase, "paused": False, "elapsed_s": 0.0, "reason": reason or rollout.reason}
    return replace(rollout, **{**known, **changes})


def _withdrawn(rollout: Rollout, reason: str, bad: bool) -> Rollout:
    moved = rollout.promoted or rollout.phase in (Phase.PROMOTING, Phase.STABLE)
    return _moved(rollout, Phase.WITHDRAWING, reason, bad=bad, promoted=moved)


def _staged(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    if settings.on_newer == "supersede" and facts.newer is not None:
        return _moved(rollout, Phase.DONE, f"superseded by version {facts.newer}")
    if rollout.paused or facts.busy:
        return None
    if facts.stable == rollout.version:
        return _moved(rollout, Phase.DONE, "it is stable already", promoted=True)
    return _moved(rollout, Phase.WARMING, "model servers load it", previous=facts.stable)


def _warming(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    gone = _gone(rollout, settings, facts)
    if gone is not None:
        return gone
    if rollout.paused or not _everywhere(facts, rollout.version):
        return None
    return _moved(rollout, Phase.LABELLING, "every model server has loaded it")


def _labelling(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    gone = _gone(rollout, settings, facts)
    if gone is not None:
        return gone
    if rollout.paused or not _accepted(facts):
        return None
    if rollout.previous is None:
        return _moved(rollout, Phase.STABLE, "it is the model's first version", promoted=True)
    return _moved(rollout, Phase.CANARY, "every model server knows it by its label", step=1)


def _canary(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    gone = _gone(rollout, settings, facts)
    if gone is not None:
        return gone
    step = settings.steps[min(rollout.step, len(settings.steps)) - 1]
    if rollout.paused or rollout.elapsed_s < step.least_s:
        return None
    verdict = facts.verdict
    if verdict is not None and verdict.outcome is Outcome.SUCCESS:
        if rollout.step < len(settings.steps):
            return _moved(rollout, Phase.CANARY, verdict.reason, step=rollout.step + 1)
        return _moved(rollout, Phase.PROMOTING, verdict.reason)
    if rollout.elapsed_s < step.most_s:
        return None
    why = f"inconclusive after {rollout.elapsed_s:.0f} s: {verdict.reason if verdict else 'nothing could be read'}"
    if settings.on_inconclusive == "roll_back":
        return _withdrawn(rollout, why, bad=True)
    return replace(rollout, paused=True, reason=why)


def _promoting(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    why = _trouble(rollout, settings, facts)
    if why:
        return _withdrawn(rollout, why, bad=True)
    if rollout.paused or not _settled(facts, settings) or not _accepted(facts):
        return None
    return _moved(rollout, Phase.STABLE, promoted=True)


def _stable(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    if rollout.previous is None:
        return _moved(rollout, Phase.DONE)
    if rollout.bad:  # aborted while the version before was being unloaded
        if _somewhere_and_not_amiss(facts, rollout.previous):
            return _withdrawn(rollout, rollout.reason, bad=True)
        late = rollout.elapsed_s > settings.warm_limit_s
        why = f"version {rollout.previous} could not be loaded again, so {rollout.version} stays stable"
        return _moved(rollout, Phase.RETIRING, why, bad=False) if late else None
    superseded = settings.on_newer == "supersede" and facts.newer is not None
    over = superseded or (not rollout.paused and rollout.elapsed_s >= settings.rollback_window_s)
    return _moved(rollout, Phase.RETIRING) if over and _settled(facts, settings) else None


def _retiring(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    done = _accepted(facts) and _unloaded(facts, rollout.previous)
    return _moved(rollout, Phase.DONE) if done else None


def _withdrawing(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    if rollout.step == 0:  # no plan has ever named it
        return _moved(rollout, Phase.UNLOADING)
    return _moved(rollout, Phase.UNLABELLING) if _settled(facts, settings) else None


def _unlabelling(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    done = facts.accepted_s is not None and facts.accepted_s >= settings.drain_s
    return _moved(rollout, Phase.UNLOADING) if done else None


def _unloading(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    done = _accepted(facts) and _unloaded(facts, rollout.version)
    return _moved(rollout, Phase.ROLLED_BACK) if done else None


def _gone(rollout: Rollout, settings: Settings, facts: Facts) -> Rollout | None:
    """The rollout on its way out, for a failure or for a newer version."""
    why = _trouble(rollout, settings, facts)
    if why:
        return _withdrawn(rollout, why, bad=True)
    if settings.on_newer == "supersede" and facts.newer is not None:
        return _withdrawn(rollout, f"superseded by version {facts.newer}", bad=False)
    return None


def _trouble(rollout: Rollout, settings: Settings, facts: Facts) -> str | None:
    """Why the candidate has failed; None where it hasn't. What servers say comes before what users met."""
    bounds, version = settings.guardrails, rollout.version
    if facts.restarts > bounds.restarts:
        return f"model servers restarted {facts.restarts} times since it came, more than the {bounds.restarts} allowed"
    for one in facts.replicas:
        if version in one.errors:
            return f"{one.target} could not load it: {one.errors[version]}"
        if rollout.phase is not Phase.WARMING and one.lacking_s is not None and one.lacking_s >= bounds.unavailable_s:
            return f"{one.target} has lost it: its state is {one.states.get(version, 'not listed')}"
    if rollout.phase in (Phase.WARMING, Phase.LABELLING):
        return _late(rollout, settings, facts)
    without = [one.target for one in facts.replicas if one.missing_s > settings.warm_limit_s]
    if without:
        return f"{', '.join(without)} has been without it for more than {settings.warm_limit_s:g} s"
    failed = facts.verdict is not None and facts.verdict.outcome is Outcome.FAILURE
    return facts.verdict.reason if failed and facts.verdict is not None else None


def _late(rollout: Rollout, settings: Settings, facts: Facts) -> str | None:
    """Why a candidate that nobody meets yet is given up; None while it has time."""
    if facts.missing and rollout.elapsed_s > MISSING_S:
        return "its directory is not there"
    if rollout.elapsed_s <= settings.warm_limit_s:
        return None
    labelled = rollout.phase is Phase.LABELLING
    late = [
        one.target
        for one in facts.replicas
        if one.states.get(rollout.version) != "AVAILABLE" or not one.answers or (labelled and not one.accepted)
    ]
    if facts.replicas and not late:
        return None
    return f"not ready on {', '.join(late) or 'any model server'} after {settings.warm_limit_s:g} s"


def _settled(facts: Facts, settings: Settings) -> bool:
    """Whether the gateways have had the time to see the plan."""
    return facts.published_s is not None and facts.published_s >= settings.settle_s


def _accepted(facts: Facts) -> bool:
    return bool(facts.replicas) and all(one.accepted for one in facts.replicas)


def _everywhere(facts: Facts, version: int) -> bool:
    there = [one.answers and one.states.get(version) == "AVAILABLE" for one in facts.replicas]
    return bool(there) and all(there)


def _somewhere_and_not_amiss(facts: Facts, version: int) -> bool:
    """On every replica that answers, and on one at least: a rollback does not wait for a server that is away."""
    there = [one.states.get(version) == "AVAILABLE" for one in facts.replicas if one.answers]
    return bool(there) and all(there)


def _unloaded(facts: Facts, version: int | None) -> bool:
    """Nowhere in memory; a server that doesn't answer is not `accepted` either."""
    return version is None or not any(one.states.get(version) in _LOADED for one in facts.replicas)


_MOVES: Mapping[Phase, Callable[[Rollout, Settings, Facts], Rollout | None]] = MappingProxyType(
    {
        Phase.STAGED: _staged,
        Phase.WARMING: _warming,
        Phase.LABELLING: _labelling,
        Phase.CANARY: _canary,
        Phase.PROMOTING: _promoting,
        Phase.STABLE: _stable,
        Phase.RETIRING: _retiring,
        Phase.WITHDRAWING: _withdrawing,
        Phase.UNLABELLING: _unlabelling,
        Phase.UNLOADING: _unloading,
    }
)
