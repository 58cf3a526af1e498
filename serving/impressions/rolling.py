"""Feedback from the journal into the folder: each segment becomes Parquet files named after it.

So a segment that is written twice, because a gateway was killed before it removed the segment, replaces its own files
by the same ones, and nothing is ever there twice.
"""

import logging
import re
from typing import TYPE_CHECKING, Any

import orjson

from serving.impressions import schema
from serving.impressions.journal import Segment
from serving.impressions.storage import Storage
from serving.impressions.writer import parquet

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

Record = tuple[str, int, str, float, int]  # request id, row, label, value, microseconds since 1970
_SAFE = re.compile(r"[^A-Za-z0-9._-]")


def line(received_us: int, records: list[Record]) -> bytes:
    """One request's feedback as a line of the journal.

    Args:
        received_us: when it came, in microseconds since 1970.
    """
    return orjson.dumps((received_us, records), option=orjson.OPT_APPEND_NEWLINE)


def roll(segment: Segment, storage: Storage) -> int:
    """Writes a segment's feedback into the folder, and removes the segment; the number of records.

    Raises:
        OSError: something cannot be written, or whatever the store's plug-in raises. The segment is as it was.
    """
    hours = _by_hour(segment)
    for hour, rows in sorted(hours.items()):
        name = f"{_SAFE.sub('_', segment.path.stem)}.parquet"
        storage.write(f"{schema.FEEDBACK}/{schema.hour_folder(hour)}/{name}", parquet(_table(rows)))
    segment.remove()
    return sum(map(len, hours.values()))


def _by_hour(segment: Segment) -> dict[int, list[tuple[Any, ...]]]:
    """Rows as in the schema, by the hour of their arrival."""
    hours: dict[int, list[tuple[Any, ...]]] = {}
    *lines, torn = segment.read().split(b"\n")
    broken = 0
    for one in lines:
        try:
            received_us, records = orjson.loads(one)
            rows = [
                (request_id, row, label, value, time_us, received_us)
                for request_id, row, label, value, time_us in records
            ]
        except (ValueError, TypeError):
            broken += 1
            continue
        hours.setdefault(received_us // (schema.HOUR_S * schema.MICROSECONDS), []).extend(rows)
    if torn or broken:
        # A torn last line was never acknowledged. Any other is a disk's fault.
        log.warning("%s: left out %d torn and %d broken lines", segment.path, bool(torn), broken)
    return hours


def _table(rows: list[tuple[Any, ...]]) -> "pa.Table":
    import pyarrow as pa

    kinds = schema.feedback()
    arrays = [pa.array(values, kind.type) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.Table.from_arrays(arrays, schema=kinds)
