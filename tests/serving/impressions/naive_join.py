"""What the join should say, in plain Python: one record after the other."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from serving.impressions import schema
from serving.impressions.join import Outcomes
from serving.impressions.storage import Storage
from serving.impressions.writer import parquet
from tests.serving.impressions.making import T0

MODEL, ROLLOUT, LABEL = "clicks", 5, "click"


class Shown(NamedTuple):
    """One impression; `time` in seconds after T0."""

    request_id: str
    time: float = 0.0
    key: int | None = None
    variant: str = "stable"
    step: int = 1
    rollout: int | None = ROLLOUT
    how: str = "random"
    code: str = "OK"
    shadow: bool = False
    fell_back: bool = False

    @property
    def counted(self) -> bool:
        right = self.rollout == ROLLOUT and self.how in ("key", "random")
        return right and self.code == "OK" and not self.shadow and not self.fell_back


class Said(NamedTuple):
    """One record of feedback; times in seconds after T0."""

    request_id: str
    value: float = 1.0
    time: float = 0.0
    received: float = 0.0
    row: int = 0
    label: str = LABEL


class Read(NamedTuple):
    """All that Outcomes says, in a form that can be compared: units as sorted (impressions, value) pairs."""

    units: dict[str, list[tuple[int, float]]]
    keys: dict[str, int]
    waiting: dict[str, int]
    duplicates: int
    late: int
    early: int
    unknown: int
    repeated: int


@dataclass(frozen=True)
class Query:
    """Seconds after T0."""

    since: float = 0.0
    until: float = 1e6
    step: int | None = None
    now: float = 1e6
    window: float = 60.0
    skew: float = 5.0


def naive(shown: Iterable[Shown], said: Iterable[Said], query: Query) -> Read:
    """The answer; files, their order and their times have no part in it."""
    by_id: dict[str, list[Shown]] = defaultdict(list)
    for one in shown:
        if not one.shadow:
            by_id[one.request_id].append(one)
    first = {
        name: min(some, key=lambda one: (not one.counted, one.time, one.variant == "canary", one.step, one.key or 0))
        for name, some in by_id.items()
    }
    groups: dict[tuple[str, int], list[Said]] = defaultdict(list)
    for record in said:
        if record.label == LABEL:
            groups[record.request_id, record.row].append(record)
    counts = {"duplicates": 0, "late": 0, "early": 0, "unknown": 0}
    values: dict[str, float] = defaultdict(float)
    for (request_id, _), records in groups.items():
        about = first.get(request_id)
        if about is None:
            counts["unknown"] += 1
        elif about.counted and _within(about, query):
            counts["duplicates"] += len(records) - 1
            delays = [record.time - about.time for record in records]
            inside = [one for one, late in zip(records, delays, strict=True) if -query.skew <= late <= query.window]
            if inside:
                best = min(inside, key=lambda one: (-one.time, one.received, one.value))
                values[request_id] += best.value
            else:
                counts["late" if any(delay > query.window for delay in delays) else "early"] += 1
    every = [one for some in by_id.values() for one in some if _within(one, query)]
    ours = [one for one in first.values() if one.counted and _within(one, query)]
    repeated = sum(one.counted for one in every) - len(ours)
    old = [one for one in ours if one.time <= query.now - query.window]
    waiting = {name: sum(one.variant == name for one in ours if one not in old) for name in ("stable", "canary")}
    units = {name: _units([one for one in old if one.variant == name], values) for name in ("stable", "canary")}
    return Read(units, _keys(every), waiting, **counts, repeated=repeated)


def _within(one: Shown, query: Query) -> bool:
    return query.since <= one.time < query.until and query.step in (None, one.step)


def _units(some: list[Shown], values: dict[str, float]) -> list[tuple[int, float]]:
    units: dict[Any, list[float]] = defaultdict(list)
    for one in some:
        keyed = one.how == "key" and one.key is not None
        units[("key", one.key) if keyed else ("id", one.request_id)].append(values[one.request_id])
    return sorted((len(each), sum(each)) for each in units.values())


def _keys(every: list[Shown]) -> dict[str, int]:
    assigned = [one for one in every if one.how == "key" and one.key is not None and one.rollout == ROLLOUT]
    firsts: dict[Any, str] = {}
    for one in sorted(assigned, key=lambda one: (one.time, one.variant == "canary")):
        firsts.setdefault(one.key, one.variant)
    return {name: list(firsts.values()).count(name) for name in ("stable", "canary")}


def read(outcomes: Outcomes) -> Read:
    """What the join says."""
    units, keys, waiting = {}, {}, {}
    for name, one in outcomes.variants.items():
        units[name] = sorted(zip(one.impressions.tolist(), one.values.tolist(), strict=True))
        keys[name], waiting[name] = one.keys, one.waiting
    counts = (outcomes.duplicates, outcomes.late, outcomes.early, outcomes.unknown, outcomes.repeated)
    return Read(units, keys, waiting, *counts)


def put(storage: Storage, name: str, records: list[Shown] | list[Said]) -> None:
    """Writes a file as gateways do, in the hour of its first record."""
    seconds = records[0].time if isinstance(records[0], Shown) else records[0].received
    hour = schema.hour_folder(int(T0 + seconds) // schema.HOUR_S)
    if isinstance(records[0], Shown):
        table = pa.Table.from_pylist([_row(one) for one in records], schema.impressions())
        storage.write(f"{schema.model_folder(MODEL)}/{hour}/{name}.parquet", parquet(table))
    else:
        rows = [one._asdict() | {"time": _us(one.time), "received": _us(one.received)} for one in records]
        table = pa.Table.from_pylist(rows, schema.feedback())
        storage.write(f"{schema.FEEDBACK}/{hour}/{name}.parquet", parquet(table))


def _us(seconds: float) -> int:
    return round((T0 + seconds) * schema.MICROSECONDS)


def _row(one: Shown) -> dict[str, Any]:
    row = one._asdict() | {"key_hash": one.key, "time": _us(one.time), "model": MODEL}
    del row["key"]
    return row | {
        "protocol": "REST",
        "api": "predict",
        "latency_ms": 1.0,
        "request": None,
        "response": None,
        "rate": 1.0,
    }
