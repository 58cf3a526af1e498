"""Impressions as Parquet: rows are put into columns bit by bit, and files are written seldom."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serving.gateway.exchange import Exchange
from serving.impressions import schema
from serving.impressions.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

Row = tuple[Exchange, bytes | None, bytes | None]  # with the JSON of its request and of its answer
_ROWS_IN_GROUP = 50_000
_ROWS_AT_A_TIME = 256  # that become columns: costs 130 us and 1 us a row, and Python's lock is held meanwhile


def parquet(table: "pa.Table") -> "pa.Buffer":
    """A table as a file's content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd", row_group_size=_ROWS_IN_GROUP)
    return content.getvalue()


def columns(rows: Sequence[Row], rate: float) -> "pa.RecordBatch":
    """Rows as impressions, in the same order.

    Args:
        rate: of the sampling.
    """
    import pyarrow as pa

    exchanges, requests, responses = zip(*rows, strict=True) if rows else ((), (), ())
    routed = [one.routed for one in exchanges]
    names = {name: schema.impressions().field(name).type for name in schema.impressions().names}
    values: dict[str, Any] = {
        "request_id": [one.request_id for one in exchanges],
        "time": [int(one.began_unix_s * schema.MICROSECONDS) for one in exchanges],
        "model": [one.model for one in routed],
        "rollout": [one.rollout for one in routed],
        "step": [one.step for one in routed],
        "variant": [one.variant for one in routed],
        "version": [one.version for one in exchanges],
        "how": [one.how for one in routed],
        "key_hash": [one.key_hash for one in routed],
        "protocol": [one.protocol for one in exchanges],
        "api": [one.api for one in exchanges],
        "code": [one.code for one in exchanges],
        "latency_ms": [one.latency_s * 1e3 for one in exchanges],
        "request": _texts(requests),
        "response": _texts(responses),
        "rate": [rate] * len(rows),
        "shadow": [one.shadow for one in exchanges],
        "fell_back": [one.fell_back for one in exchanges],
    }
    arrays = [one if isinstance(one, pa.Array) else pa.array(one, names[name]) for name, one in values.items()]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.impressions())


def _texts(values: Iterable[bytes | None]) -> "pa.Array":
    """As texts; bytes that are no UTF-8 (TF Serving passes them on) become the sign for an unknown character."""
    import pyarrow as pa

    raw = pa.array(values, pa.binary())
    try:
        return raw.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if one is None else one.decode("utf-8", "replace") for one in values], pa.string())


@dataclass
class _Part:
    """What goes into one file."""

    waiting: list[Row] = field(default_factory=list)
    batches: "list[pa.RecordBatch]" = field(default_factory=list)
    rows: int = 0


class Writer:
    """Collects rows by model and hour, and writes them. For one thread."""

    def __init__(
        self,
        storage: Storage,
        start: str,
        rate: float,
        lost: Callable[[int, Exception], None],
        flush_s: float,
        most_rows: int,
        most_bytes: int,
    ) -> None:
        """
        Args:
            start: begins the names of files; no other process, and no other writer of this one, has it.
            lost: told how many rows could not be written, and why.
            flush_s, most_rows, most_bytes: rows are written after this time, or when so many are waiting.
        """
        self._storage = storage
        self._start = start
        self._rate = rate
        self._lost = lost
        self._flush_s = flush_s
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._parts: dict[tuple[str, int], _Part] = {}
        self._rows = self._bytes = self._files = 0
        self._since = 0.0

    def add(self, rows: Sequence[Row]) -> None:
        """Takes rows."""
        if not self._rows:
            self._since = time.monotonic()
        self._rows += len(rows)
        for row in rows:
            exchange = row[0]
            key = exchange.routed.model, int(exchange.began_unix_s // schema.HOUR_S)
            part = self._parts.get(key)
            if part is None:
                part = self._parts[key] = _Part()
            part.waiting.append(row)
            if len(part.waiting) >= _ROWS_AT_A_TIME:
                self._into_columns(part)

    @property
    def due(self) -> bool:
        """Whether it is time to flush."""
        if not self._rows:
            return False
        late = time.monotonic() - self._since >= self._flush_s
        return late or self._rows >= self._most_rows or self._bytes >= self._most_bytes

    def flush(self) -> int:
        """Writes all that waits; what cannot be written is lost. Returns the number of rows that were written."""
        written = 0
        parts, self._parts = self._parts, {}
        self._rows = self._bytes = 0
        for (model, hour), part in parts.items():
            try:
                if part.waiting:
                    self._into_columns(part)
                self._write(model, hour, part)
                written += part.rows
            except Exception as error:  # a full disk, a store that is away; plug-ins raise what they like
                self._lost(part.rows, error)
        return written

    def _into_columns(self, part: _Part) -> None:
        rows, part.waiting = part.waiting, []
        part.rows += len(rows)
        batch = columns(rows, self._rate)
        part.batches.append(batch)
        self._bytes += batch.nbytes

    def _write(self, model: str, hour: int, part: _Part) -> None:
        import pyarrow as pa

        self._files += 1
        name = f"{self._start}-{self._files}.parquet"
        content = parquet(pa.Table.from_batches(part.batches))
        self._storage.write(f"{schema.model_folder(model)}/{schema.hour_folder(hour)}/{name}", content)
