"""What gateways count of each variant, and how the rollout's controller reads it: sums that merge by addition.

A gateway's tallies are cumulative since it started; `instance` tells a gateway that was started anew, so that a reader
that keeps the newest of each instance and adds them up neither loses nor counts twice. The pure part: no locks here.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import accumulate, repeat
from operator import mul
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LATENCY_GROWTH = 1.1
LATENCY_FIRST_MS = 0.05
LATENCY_BUCKETS = 160  # to about 200 s
PREDICTION_GROWTH = 1.02
PREDICTION_FIRST = 1e-12  # what is nearer to 0 is counted as 0
PREDICTION_BUCKETS = 2792  # of either sign, to about 1e12
FORMAT = 1
_LATENCY_UPPER_MS = tuple(accumulate(repeat(LATENCY_GROWTH, LATENCY_BUCKETS - 1), mul, initial=LATENCY_FIRST_MS))
_PREDICTION_LOWER = tuple(PREDICTION_FIRST * PREDICTION_GROWTH**bucket for bucket in range(PREDICTION_BUCKETS))


@dataclass(frozen=True)
class TallyKey:
    """Whose tally: one variant in one step of one rollout (None: no rollout was under way)."""

    model: str
    rollout: int | None
    step: int
    variant: str
    version: int | None


@dataclass
class Tally:
    """Counts of one variant. Requests by override are in `by_override` alone; copies (shadow) are requests of canary.

    Attributes:
        keyed, random: requests that were assigned by key, and without one.
        by_override: requests of testers, left out of everything else here.
        shadow: of the requests, those that were copies.
        errors: gRPC code name -> requests, of those that failed (client's own mistakes, which stable refuses as well,
            are not counted).
        fell_back: requests that stable answered in the canary's place.
        latency: bucket -> requests; see `latency_bucket`.
        predictions: bucket -> numbers in sampled answers; see `prediction_bucket`.
        not_finite: sampled answers that hold NaN or an infinity.
        sampled: answers whose numbers were looked at.
    """

    keyed: int = 0
    random: int = 0
    by_override: int = 0
    shadow: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    fell_back: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    predictions: dict[int, int] = field(default_factory=dict)
    not_finite: int = 0
    sampled: int = 0

    @property
    def requests(self) -> int:
        """All that are analysed."""
        return self.keyed + self.random


def latency_bucket(ms: float) -> int:
    """The bucket of a latency: the first whose upper limit it does not exceed; the last for all beyond."""
    return min(bisect_left(_LATENCY_UPPER_MS, ms), LATENCY_BUCKETS - 1)


def latency_upper_ms(bucket: int) -> float:
    """The upper limit of a bucket; its lower limit is that of the one before, and 0 for bucket 0."""
    return _LATENCY_UPPER_MS[bucket]


def quantile(latency: Mapping[int, int], q: float) -> float:
    """The latency in ms that a share q of the requests does not exceed, interpolated within its bucket.

    At most 10 % off, as buckets are that wide; NaN where there are no requests.

    Raises:
        ValueError: q is not from 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile from 0 to 1 is wanted; got {q}")
    wanted = q * sum(latency.values())
    below = 0
    for bucket, count in sorted(latency.items()):
        if count and below + count >= wanted:
            lower = _LATENCY_UPPER_MS[bucket - 1] if bucket else 0.0
            return lower + (_LATENCY_UPPER_MS[bucket] - lower) * (wanted - below) / count
        below += count
    return math.nan


def prediction_bucket(value: float) -> int:
    """The bucket of a finite number: 0 near 0, positive for a positive number, and for a negative one its mirror's."""
    bucket = bisect_right(_PREDICTION_LOWER, abs(value))
    return -bucket if value < 0 else bucket


def prediction_buckets(values: "np.ndarray") -> "np.ndarray":
    """As `prediction_bucket`, of finite float64 numbers [n] -> int64 [n]."""
    import numpy as np

    found: np.ndarray = np.searchsorted(_lower_limits(), np.abs(values), side="right") * np.where(values < 0, -1, 1)
    return found


@cache
def _lower_limits() -> "np.ndarray":
    import numpy as np

    return np.array(_PREDICTION_LOWER)


def prediction_value(bucket: int) -> float:
    """The middle of a bucket: at most 1 % from every number in it, but for those beyond the last limit."""
    if not bucket:
        return 0.0
    return math.copysign(PREDICTION_FIRST * PREDICTION_GROWTH ** (abs(bucket) - 0.5), bucket)


def add(a: Tally, b: Tally) -> Tally:
    """Both together; neither is changed."""
    both = {one.name: _sum(getattr(a, one.name), getattr(b, one.name)) for one in fields(Tally)}
    return Tally(**both)


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return a | {key: a.get(key, 0) + count for key, count in b.items()}
    return a + b


def to_json(instance: str, tallies: Mapping[TallyKey, Tally], started_unix_s: float = 0.0) -> bytes:
    """What a gateway says.

    Args:
        instance: the gateway's process.
        tallies: cumulative since `started_unix_s`.
    """
    import orjson

    said = [vars(key) | vars(tally) for key, tally in tallies.items()]
    whole = {"format": FORMAT, "instance": instance, "started_unix_s": started_unix_s, "tallies": said}
    return orjson.dumps(whole, option=orjson.OPT_NON_STR_KEYS)


def from_json(content: bytes) -> tuple[str, dict[TallyKey, Tally]]:
    """The instance and the tallies that `to_json` was given; fields that a newer gateway may add are passed over.

    Raises:
        ValueError: says what is wrong with it.
    """
    import orjson

    try:
        said = orjson.loads(content)
        if said["format"] != FORMAT:
            raise ValueError(f"their format is {said['format']!r}; this controller reads {FORMAT}")
        tallies = {_key(one): _tally(one) for one in said["tallies"]}
        if len(tallies) != len(said["tallies"]):
            raise ValueError("one variant comes twice")
        return _text(said["instance"]), tallies
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"these are not a gateway's tallies: {why}") from error


def _key(said: Mapping[str, Any]) -> TallyKey:
    rollout, version = (None if said[name] is None else _count(said[name]) for name in ("rollout", "version"))
    return TallyKey(_text(said["model"]), rollout, _count(said["step"]), _text(said["variant"]), version)


def _tally(said: Mapping[str, Any]) -> Tally:
    errors = {_text(code): _count(count) for code, count in said["errors"].items()}
    latency = _buckets(said["latency"], 0, LATENCY_BUCKETS - 1)
    predictions = _buckets(said["predictions"], -PREDICTION_BUCKETS, PREDICTION_BUCKETS)
    counts = {one.name: _count(said[one.name]) for one in fields(Tally) if one.type is int}
    return Tally(**counts, errors=errors, latency=latency, predictions=predictions)


def _buckets(said: Mapping[str, Any], least: int, most: int) -> dict[int, int]:
    found = {int(bucket): _count(count) for bucket, count in said.items()}
    if len(found) != len(said) or (found and not least <= min(found) <= max(found) <= most):
        raise ValueError(f"buckets from {least} to {most} are wanted; got {sorted(said)}")
    return found


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value
