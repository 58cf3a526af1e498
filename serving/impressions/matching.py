"""Feedback matched with impressions: arrays in, arrays out; no loop over records.

Ids are 64-bit hashes. Two ids of one model's log share one with a probability of n^2 / 2^65: 3e-6 for ten million.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

# Flags of an impression.
COUNTED = 1  # somebody saw the answer: of this rollout, assigned by key or at random, successful, no copy
ASSIGNED = 2  # by key, in this rollout; also when it failed
KEYED = 4
CANARY = 8

# What became of feedback, best first.
USED, LATE, EARLY, LEFT_OUT, UNKNOWN = range(5)

_POSITIONS = 128  # of a character in an id


@dataclass(frozen=True)
class _Columns:
    """Arrays of the same length, one element a record."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return sum(getattr(self, one.name).nbytes for one in fields(self))

    def take(self, index: NDArray[Any]) -> Self:
        """The records at these places, or where this is true."""
        return type(self)(**{one.name: getattr(self, one.name)[index] for one in fields(self)})

    @classmethod
    def joined(cls, parts: "list[Self]") -> Self:
        """Of at least one part; one array after the other, so that only one is there twice at a time."""
        return cls(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)})


@dataclass(frozen=True)
class Impressions(_Columns):
    """27 bytes each.

    Attributes:
        id: hash of the request id.
        time: microseconds since 1970.
        key: hash of the user's key; 0 without one.
        step: of the rollout.
        flags: see above.
    """

    id: NDArray[np.uint64]
    time: NDArray[np.int64]
    key: NDArray[np.uint64]
    step: NDArray[np.uint16]
    flags: NDArray[np.uint8]

    @classmethod
    def none(cls) -> Self:
        """No impressions."""
        kinds: tuple[Any, ...] = (np.uint64, np.int64, np.uint64, np.uint16, np.uint8)
        return cls(*(np.empty(0, kind) for kind in kinds))


@dataclass(frozen=True)
class Told(_Columns):
    """Feedback with one label, 36 bytes each.

    Attributes:
        id: hash of the request id.
        row: of the request.
        value: what was told.
        time: microseconds since 1970, as the client says.
        received: when it came.
    """

    id: NDArray[np.uint64]
    row: NDArray[np.int32]
    value: NDArray[np.float64]
    time: NDArray[np.int64]
    received: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """No feedback."""
        kinds: tuple[Any, ...] = (np.uint64, np.int32, np.float64, np.int64, np.int64)
        return cls(*(np.empty(0, kind) for kind in kinds))


@dataclass(frozen=True)
class Matched:
    """Which feedback counts for which impression. Of one (request, row) at most one counts, the group's.

    Attributes:
        impressions: of these, sorted by id.
        first: (impressions,) bool: whether it is the one of its id that feedback is about.
        at: (groups,) index of the impression; meaningless where `state` is UNKNOWN.
        state: (groups,) USED and so on.
        value: (groups,) that counts.
        more: (groups,) records beside the one that counts.
    """

    impressions: Impressions
    first: NDArray[np.bool_]
    at: NDArray[np.int64]
    state: NDArray[np.uint8]
    value: NDArray[np.float64]
    more: NDArray[np.int64]


def match(impressions: Impressions, told: Told, window_us: int, skew_us: int) -> Matched:
    """Matches; the order of the records is of no consequence.

    Of impressions with one id, feedback is about the first that counts, else the first. Of feedback on one row the
    newest within the window counts; at the same time the one that came first, then the smallest value.

    Args:
        impressions, told: sorted by id.
        window_us: after the impression, in which feedback counts; the end is part of it.
        skew_us: by how much feedback may seem to be earlier than its impression.
    """
    first = _first_of_id(impressions)
    index = np.flatnonzero(first)
    at, known = _found(impressions.id[index], told.id)
    at = index[at] if len(index) else np.zeros(len(told), np.int64)
    state = np.full(len(told), UNKNOWN, np.uint8)
    if len(index):
        delay = told.time - impressions.time[at]
        state = np.where(delay > window_us, LATE, np.where(delay < -skew_us, EARLY, USED)).astype(np.uint8)
        state[impressions.flags[at] & COUNTED == 0] = LEFT_OUT
        state[~known] = UNKNOWN
    order, begins = _best_of_row(told, state)
    starts = np.flatnonzero(begins)
    chosen = order[starts]
    more = np.diff(np.append(starts, len(told))) - 1
    return Matched(impressions, first, at[chosen], state[chosen], told.value[chosen], more)


def _first_of_id(impressions: Impressions) -> NDArray[np.bool_]:
    first = _changes(impressions.id)
    among = _several(first)
    if len(among):
        some = impressions.take(among)
        uncounted = some.flags & COUNTED == 0
        order = np.lexsort((some.key, some.step, some.flags, some.time, uncounted, some.id))
        first[among] = False
        first[among[order[_changes(some.id[order])]]] = True
    return first


def _best_of_row(told: Told, state: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(order in which groups are together and begin with the record that counts, whether a group begins)"""
    order = np.arange(len(told))
    among = _several(_changes(told.id))
    some = told.take(among)
    order[among] = among[np.lexsort((some.value, some.received, -some.time, state[among], some.row, some.id))]
    return order, _changes(told.id) | _changes(told.row[order])  # ids are in the same order as before


def _several(begins: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of those that aren't alone, where this is true for the first of each lot."""
    return np.flatnonzero(~(begins & np.append(begins[1:], True)))


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether an element differs from the one before; the first does."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _found(ids: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(an index into ids for each that is wanted, whether it is the right one)"""
    if not len(ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return at, ids[at] == wanted


def hashes(texts: "pa.ChunkedArray") -> NDArray[np.uint64]:
    """64 bits of each text, by tabulation: a random number for each character at each place, added up.

    Raises:
        ValueError: one is null.
    """
    import pyarrow as pa

    if texts.null_count:
        raise ValueError("a request id is null")
    whole = texts.cast(pa.large_string()).combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], pa.large_string())
    if not len(whole):
        return np.empty(0, np.uint64)
    _, offsets, content = whole.buffers()
    ends = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
    lengths = np.diff(ends)
    if content is None or not lengths.all():
        raise ValueError("a request id is empty")
    bytes_ = np.frombuffer(content, np.uint8)[ends[0] : ends[-1]]
    starts = ends[:-1] - ends[0]
    places = (np.arange(len(bytes_)) - np.repeat(starts, lengths)) % _POSITIONS
    return np.add.reduceat(_table()[places, bytes_], starts)


@cache
def _table() -> NDArray[np.uint64]:
    return np.random.PCG64(7).random_raw(_POSITIONS * 256).reshape(_POSITIONS, 256)
