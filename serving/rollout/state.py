"""What a rollout is: the record that the database keeps and every part of the controller speaks of."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Phase(StrEnum):
    """Where a rollout stands. Each phase says what the labels, the plan and the model servers should be.

    The words of users (`words`): staged, warming, canary, stable, rolled_back, and paused beside one of them.
    """

    STAGED = "staged"  # waits for its turn; nothing has changed
    WARMING = "warming"  # servers load the version beside stable; no label, no traffic
    LABELLING = "labelling"  # servers give it the label canary (a first version: stable); no traffic
    CANARY = "canary"  # step k: a share of the keys
    PROMOTING = "promoting"  # both versions by number while servers move the label stable
    STABLE = "stable"  # it is stable; the version before stays loaded for `rollback_window_s`
    RETIRING = "retiring"  # that window is over: servers unload the version before
    WITHDRAWING = "withdrawing"  # share 0 is published; labels still stand until gateways have seen it
    UNLABELLING = "unlabelling"  # servers take the label away (after a promotion: move `stable` back)
    UNLOADING = "unloading"  # servers unload it
    DONE = "done"  # it was stable, and nothing of it is left to do
    ROLLED_BACK = "rolled_back"


LIVE = frozenset(Phase) - {Phase.DONE, Phase.ROLLED_BACK}  # a model has at most one that is past STAGED
LEAVING = frozenset({Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING})


class Outcome(StrEnum):
    """What the analysis says of a step so far."""

    SUCCESS = "success"
    FAILURE = "failure"
    INCONCLUSIVE = "inconclusive"  # too few samples, or no source to read them from; it never promotes


@dataclass(frozen=True)
class Rollout:
    """One walk of one version.

    Attributes:
        id: grows.
        model, version: whose.
        previous: stable when it began, and again if it leaves; None for a model's first version.
        phase: see there.
        step: of the settings' steps, from 1, while in CANARY and after; 0 before.
        paused: the share stays and no step ends, but guardrails still act.
        elapsed_s: in this phase or step, while a controller led and it was not paused.
        promoted: whether it has been stable, or left while it was becoming it: labels have moved, or may have.
        bad: it failed by itself or was aborted; it is not started again but by `retry`. In STABLE: it was aborted when
            the version before was already being unloaded, which is loaded again first.
        reason: why it is where it is, for people.
        created: when it was asked for, UTC.
        revision: grows with each change.
    """

    id: int
    model: str
    version: int
    previous: int | None
    phase: Phase
    step: int
    paused: bool
    elapsed_s: float
    promoted: bool
    bad: bool
    reason: str
    created: datetime
    revision: int

    @property
    def live(self) -> bool:
        """Whether it is still under way."""
        return self.phase in LIVE


def words(rollout: Rollout, steps: int) -> str:
    """The state in the words that users know: `canary 2/3, paused`.

    Args:
        steps: how many its settings have.
    """
    if rollout.phase is Phase.STABLE and rollout.bad:
        return "rolling back"
    known = {
        Phase.LABELLING: "warming",
        Phase.CANARY: f"canary {rollout.step}/{steps}",
        Phase.PROMOTING: f"canary {rollout.step}/{steps}, promoting",
        Phase.RETIRING: "stable",
        Phase.DONE: "stable" if rollout.promoted else "superseded",
        Phase.WITHDRAWING: "rolling back",
        Phase.UNLABELLING: "rolling back",
        Phase.UNLOADING: "rolling back",
    }.get(rollout.phase, rollout.phase.value)
    return f"{known}, paused" if rollout.paused else known
