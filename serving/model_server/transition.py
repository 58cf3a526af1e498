"""What happens next to the versions of a model: TF Serving's availability-preserving policy. No threads, no clock."""

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar


class State(enum.IntEnum):
    """Where a version is in its life; the values are those of ModelVersionStatus.State."""

    UNKNOWN = 0
    START = 10  # wanted, not begun
    LOADING = 20  # loading, or waiting to try again
    AVAILABLE = 30
    UNLOADING = 40  # no new requests; those in flight end
    END = 50  # unloaded, or given up with an error


class Kind(enum.IntEnum):
    """What to do with a version; across models the lower value goes first."""

    UNLOAD = 0
    LOAD = 1


@dataclass(frozen=True)
class Action:
    """One step.

    Attributes:
        kind: load or unload.
        number: of the version.
    """

    kind: Kind
    number: int


@dataclass
class Version:
    """One version that is looked after.

    Attributes:
        number: of the version.
        state: as published.
        aspired: whether the last aspired set holds it. An END that is aspired has failed and stays so.
    """

    number: int
    state: State = State.START
    aspired: bool = True


V = TypeVar("V", bound=Version)


def flush(versions: dict[int, V]) -> list[V]:
    """Drops, and returns, the versions that nobody wants and that hold no memory: never begun, or ended."""
    gone = [
        version for version in versions.values() if not version.aspired and version.state in (State.START, State.END)
    ]
    for version in gone:
        del versions[version.number]
    return gone


def aspire(versions: dict[int, V], wanted: Collection[int], make: Callable[[int], V]) -> bool:
    """Makes `wanted` the aspired set of a flushed model.

    A version that is leaving has to be gone before it is wanted again, so such a set changes nothing yet. One that is
    un-aspired but serves on, because nothing better is ready, is only marked again. (TF Serving unloads it first, and
    where the better one is broken that never comes: the set is postponed for ever.)

    Args:
        versions: of one model; changed in place.
        wanted: version numbers.
        make: a new version in state START.

    Returns:
        False if the set has to be tried again later.
    """
    leaving = (State.LOADING, State.UNLOADING)
    if any(number in wanted and not each.aspired and each.state in leaving for number, each in versions.items()):
        return False
    for number, version in versions.items():
        version.aspired = number in wanted
    for number in sorted(set(wanted) - versions.keys()):
        versions[number] = make(number)
    return True


def next_action(versions: Iterable[Version]) -> Action | None:
    """The step that one model needs next.

    An un-aspired version is unloaded, lowest first, when nothing is aspired, when something aspired is available, or
    when another un-aspired one is available too. Otherwise the highest aspired version that was not begun is loaded.
    So a model with something to serve always has something available, once it had.

    Returns:
        None if there is nothing to do, or only to wait.
    """
    aspired = False
    aspired_available = False
    begin: list[int] = []
    leave: list[int] = []
    for version in versions:
        if version.aspired:
            aspired = True
            aspired_available = aspired_available or version.state is State.AVAILABLE
            if version.state is State.START:
                begin.append(version.number)
        elif version.state is State.AVAILABLE:
            leave.append(version.number)
    if leave and (not aspired or aspired_available or len(leave) > 1):
        return Action(Kind.UNLOAD, min(leave))
    return Action(Kind.LOAD, max(begin)) if begin else None


def choose(actions: Mapping[str, Action]) -> str | None:
    """The model whose step goes first: unloads before loads, since they free memory; then by name."""
    return min(actions, key=lambda name: (actions[name].kind, name), default=None)
