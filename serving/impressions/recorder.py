"""The log of impressions: tells what counts of every exchange, and writes a sample of them as Parquet.

The event loop only counts, and appends to a queue. A thread does the rest, in slices of about half a millisecond with
pauses between them: it shares Python's lock with the event loop, and must not hold up requests.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from serving.gateway.exchange import Exchange
from serving.gateway.request_id import sampled
from serving.impressions import decoding
from serving.impressions.messages import messages
from serving.impressions.storage import Storage
from serving.impressions.troubles import Troubles
from serving.impressions.writer import Row, Writer

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

SLICE = 32  # exchanges between two pauses
PAUSE_S = 0.0002
POLL_S = 0.1
_CLOCK_SET_BACK_S = 60  # less is a slow request that began in an earlier second
_OF_ONE = 600  # bytes that an exchange takes beside its bodies


class Counts(Protocol):
    """What is told of exchanges: serving.gateway.counting.Counting."""

    def count(self, exchange: Exchange) -> None:
        """Counts an exchange, on the event loop."""

    def predictions(self, exchange: Exchange, numbers: "np.ndarray") -> None:
        """Counts the numbers of an answer, in any thread."""


Dropped = Callable[[int, str], None]


@dataclass(frozen=True)
class LogSettings:
    """How impressions are logged.

    Attributes:
        folder: a local path or an fsspec URL; empty: nothing is written, but answers' numbers are still counted.
        rate: share of the requests that is logged, 0 to 1.
        flush_s: after which rows are written at the latest.
        flush_rows, flush_bytes: waiting rows, and bytes of their columns, that are written at once.
        queue_rows, queue_bytes: of exchanges that wait for the thread; those beyond are dropped.
        body_bytes: largest request, and answer, that is stored; a larger one is null in its row: an image, most likely.
        answers_per_s, answer_bytes_per_s: answers of each model's variant whose numbers are looked at; none that is
            larger than the second.
        numbers_per_answer: that are looked at.
    """

    folder: str
    rate: float = 1.0
    flush_s: float = 10.0
    flush_rows: int = 20_000
    flush_bytes: int = 64 << 20
    queue_rows: int = 20_000
    queue_bytes: int = 128 << 20
    body_bytes: int = 64 << 10
    answers_per_s: int = 100
    answer_bytes_per_s: int = 1 << 20
    numbers_per_answer: int = 1000


@dataclass(slots=True)
class _Looked:
    """How many answers of a variant were looked at in a second."""

    second: int = -1
    count: int = 0
    bytes: int = 0


class Log:
    """The gateway's Recorder."""

    def __init__(self, counting: Counts, dropped: Dropped, settings: LogSettings, name: str) -> None:
        """
        Args:
            dropped: told of rows that were lost (`queue_full`, `disk_full`, `write_failed`, `defect`), or lack a body
                (`too_large`, `undecodable`), in any thread: GatewayMetrics.dropped_rows.
            name: of the gateway, for file names: letters, digits, `.`, `-`, `_`.

        Raises:
            InputError: the folder is a URL that nothing here knows.
        """
        self._counting = counting
        self._dropped = dropped
        self._settings = settings
        self._rate = settings.rate if settings.folder else 0.0
        self._queue: deque[tuple[Exchange, bool, bool]] = deque()
        self._taken_bytes = self._done_bytes = 0  # each written by one thread alone
        self._looked: dict[tuple[str, str], _Looked] = {}
        self._wake = threading.Event()
        self._closing = False
        self._troubles = Troubles("impressions are not written")
        self.storage = Storage(settings.folder) if settings.folder else None
        self._writer: Writer | None = None
        if self.storage is not None:
            start = f"{name}-{time.time_ns() // 1000}.{os.getpid()}"
            limits = (settings.flush_s, settings.flush_rows, settings.flush_bytes)
            self._writer = Writer(self.storage, start, settings.rate, self._lost, *limits)
        self._thread = threading.Thread(target=self._run, name="impressions", daemon=True)

    @property
    def waiting(self) -> int:
        """Exchanges that the thread has not taken yet."""
        return len(self._queue)

    def start(self) -> None:
        """Starts the thread that writes; first imports what it needs (a second), while no request waits."""
        messages()
        if self.storage is not None:
            import pyarrow.parquet  # noqa: F401
        self._thread.start()

    def record(self, exchange: Exchange) -> None:
        """Counts and logs an exchange; called on the event loop alone. Never blocks, never raises."""
        try:
            self._counting.count(exchange)
            if not exchange.routed.variant:
                return
            logged = self._rate >= 1 or sampled(exchange.request_id, self._rate)
            looked = bool(exchange.response) and self._looks(exchange)
            if logged or looked:
                self._append(exchange, logged, looked)
        except Exception:
            self._defect()

    def close(self, limit_s: float = 10.0) -> None:
        """Writes what is waiting; blocks for at most `limit_s`, so call it in a thread of the loop's executor."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(limit_s)

    def _looks(self, exchange: Exchange) -> bool:
        """Whether this answer is among the first of its second, which is as good as chance: nobody chooses them."""
        key = (exchange.routed.model, exchange.routed.variant)
        looked = self._looked.get(key)
        if looked is None:
            looked = self._looked[key] = _Looked()
        second = int(exchange.began_unix_s)
        if second > looked.second or second < looked.second - _CLOCK_SET_BACK_S:
            looked.second, looked.count, looked.bytes = second, 0, 0
        size = len(exchange.response)
        if looked.count >= self._settings.answers_per_s or looked.bytes + size > self._settings.answer_bytes_per_s:
            return False
        looked.count += 1
        looked.bytes += size
        return True

    def _append(self, exchange: Exchange, logged: bool, looked: bool) -> None:
        settings = self._settings
        if max(len(exchange.request), len(exchange.response)) > settings.body_bytes:
            exchange = self._cut(exchange, logged, looked)
        size = len(exchange.request) + len(exchange.response) + _OF_ONE
        waiting = len(self._queue)
        if waiting >= settings.queue_rows or self._taken_bytes - self._done_bytes + size > settings.queue_bytes:
            if logged:
                self._dropped(1, "queue_full")
            return
        self._taken_bytes += size
        self._queue.append((exchange, logged, looked))
        if waiting * 2 == settings.queue_rows:
            self._wake.set()

    def _cut(self, exchange: Exchange, logged: bool, looked: bool) -> Exchange:
        """Without what is too large to be stored; an answer that is looked at stays until then."""
        most = self._settings.body_bytes
        if logged:
            self._dropped(1, "too_large")
        request = exchange.request if len(exchange.request) <= most else b""
        response = exchange.response if len(exchange.response) <= most or looked else b""
        return replace(exchange, request=request, response=response)

    def _run(self) -> None:
        if self.storage is not None:
            self.storage.clean()
        while True:
            self._wake.wait(POLL_S)
            self._wake.clear()
            closing = self._closing
            try:
                self._drain()
                if self._writer is not None and (closing or self._writer.due):
                    self._flush(self._writer)
            except Exception:
                self._defect()
            if closing and not self._queue:
                return

    def _drain(self) -> None:
        while self._queue:
            taken = [self._queue.popleft() for _ in range(min(SLICE, len(self._queue)))]
            self._done_bytes += sum(len(one.request) + len(one.response) + _OF_ONE for one, _, _ in taken)
            rows = [row for one in taken if (row := self._decoded(*one)) is not None]
            if rows and self._writer is not None:
                self._writer.add(rows)
                if self._writer.due:
                    self._flush(self._writer)
            if not self._closing:
                time.sleep(PAUSE_S)

    def _decoded(self, exchange: Exchange, logged: bool, looked: bool) -> Row | None:
        """The row, where it is logged; tells the counts what numbers the answer holds, where it is looked at."""
        if looked:
            self._look(exchange)
        if not logged:
            return None
        request = self._json(decoding.request, exchange, exchange.request)
        return exchange, request, self._json(decoding.answer, exchange, exchange.response)

    def _json(self, read: Callable[[Exchange, int], bytes], exchange: Exchange, body: bytes) -> bytes | None:
        most = self._settings.body_bytes
        try:
            return read(exchange, most) if 0 < len(body) <= most else None
        except ValueError:
            self._dropped(1, "undecodable")
        except Exception:
            self._defect()
        return None

    def _look(self, exchange: Exchange) -> None:
        settings = self._settings
        try:
            numbers = decoding.numbers(exchange, settings.answer_bytes_per_s, settings.numbers_per_answer)
            if numbers.size:
                self._counting.predictions(exchange, numbers)
        except ValueError:
            log.debug("An answer without numbers that can be read", exc_info=True)
        except Exception:
            self._defect()

    def _flush(self, writer: Writer) -> None:
        if writer.flush():
            self._troubles.over()

    def _lost(self, rows: int, error: Exception) -> None:
        self._dropped(rows, self._troubles.reason(error))

    def _defect(self) -> None:
        self._dropped(1, "defect")
        log.exception("The log of impressions has a defect; requests are answered all the same.")
