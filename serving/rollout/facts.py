"""What is known when a rollout may move: of the model servers, of the analysis, of the other rollouts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.rollout.state import Outcome


class Verdict(Protocol):
    """What an analysis says of the step; analysis.Judgement is one."""

    @property
    def outcome(self) -> Outcome:
        """Success, failure or inconclusive."""
        ...

    @property
    def reason(self) -> str:
        """For people, one line."""
        ...

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The numbers, for the ledger."""
        ...


@dataclass(frozen=True)
class ReplicaView:
    """One model server, as far as one rollout is concerned.

    Attributes:
        target: HOST:PORT.
        answers: whether it answered last time.
        accepted: its last reload of the config that is wanted now succeeded since it (re)started, and every version of
            the model that has a label there is AVAILABLE.
        states: of the model's versions that it lists: version -> START, LOADING, AVAILABLE, UNLOADING or END. Without
            ENDs from before the version was last asked for.
        errors: of the versions that ended with one.
        lacking_s: for how long it has answered without the candidate being AVAILABLE, though it once was since the
            server started, or it ended; None where that is not so.
        missing_s: for how long the candidate has not been AVAILABLE there for whatever reason: the server is away, or
            came back and still loads.
    """

    target: str
    answers: bool = True
    accepted: bool = False
    states: Mapping[int, str] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)
    lacking_s: float | None = None
    missing_s: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What is known when a rollout may move.

    Attributes:
        replicas: every model server, answering or not. With none at all nothing moves that waits for them.
        verdict: of the analysis, of this step; None: none yet, or too old.
        stable: the model's stable version now.
        busy: another rollout of the model goes first: it is under way, or older in a queue and not paused there.
        newer: the version of a rollout that was asked for after this one, waits, and isn't paused.
        restarts: how many times a model server went away and came back since this rollout began.
        published_s: for how long the traffic plan of this phase has stood in the plan's file; None: it does not.
        accepted_s: for how long, in this phase, every replica has been `accepted`; None: not every one is.
        missing: the candidate's directory is not there.
    """

    replicas: tuple[ReplicaView, ...] = ()
    verdict: Verdict | None = None
    stable: int | None = None
    busy: bool = False
    newer: int | None = None
    restarts: int = 0
    published_s: float | None = None
    accepted_s: float | None = None
    missing: bool = False
