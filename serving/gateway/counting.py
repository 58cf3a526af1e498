"""Counts exchanges: for the controller (tallies) and for Prometheus."""

import math
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.gateway.exchange import Exchange, Routed
from serving.gateway.metrics import GatewayMetrics, Predictions, Series
from serving.tallies import PREDICTION_BUCKETS, Tally, TallyKey, latency_bucket, prediction_buckets, to_json

if TYPE_CHECKING:
    import numpy as np

KEPT_S = 3600.0
MOST_FOUND = 10_000
BATCH = 4096
# What a request itself is to blame for, unless another version answered it.
_CLIENTS_OWN = frozenset(
    {
        *("CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION"),
        *("OUT_OF_RANGE", "UNIMPLEMENTED", "UNAUTHENTICATED"),
    }
)


class Counting:
    """Counts of this process since it started.

    A request counts as the variant's that was asked first: one that stable answered because the canary failed is a
    request of the canary, and an error. Of errors that are known to be the client's (see _CLIENTS_OWN) those count that
    another version did not have: `fell_back`, and copies, which are made of requests that stable answered.

    Attributes:
        instance: of this process: its name and a random number.
    """

    def __init__(
        self, metrics: GatewayMetrics, name: str = "gateway", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            metrics: gets the series.
            name: of this gateway, for people.
            clock: in seconds.
        """
        self.instance = f"{name}-{secrets.token_hex(8)}"
        self._started_unix_s = time.time()
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._tallies: dict[TallyKey, Tally] = {}
        self._moved: dict[TallyKey, tuple[int, float]] = {}  # how many requests there were, since when
        self._found: dict[tuple[object, ...], tuple[Series, Tally | None]] = {}
        self._batches: dict[tuple[object, ...], _Batch] = {}
        metrics.settle = self._settled

    def count(self, exchange: Exchange) -> None:
        """Counts an exchange, in 1 to 2 us; called on the event loop alone."""
        routed, code, latency_s = exchange.routed, exchange.code, exchange.latency_s
        of = (
            *(routed.model, routed.variant, routed.version, routed.rollout, routed.step),
            *(exchange.version, exchange.protocol, exchange.shadow, code == "OK"),
        )
        series, tally = self._found.get(of) or self._find(of, exchange)
        series.count(code, latency_s)
        if exchange.fell_back:
            series.fell_back += 1
        if not exchange.shadow:
            assigned = self._metrics.assigned
            assigned[routed.how] = assigned.get(routed.how, 0) + 1
        if tally is None:
            return
        if routed.how == "override":
            tally.by_override += 1
            return
        if routed.key_hash is None:
            tally.random += 1
        else:
            tally.keyed += 1
        bucket = latency_bucket(latency_s * 1000)
        tally.latency[bucket] = tally.latency.get(bucket, 0) + 1
        if exchange.shadow:
            tally.shadow += 1
        if exchange.fell_back:
            tally.fell_back += 1
        if code != "OK" and (exchange.fell_back or exchange.shadow or code not in _CLIENTS_OWN):
            tally.errors[code] = tally.errors.get(code, 0) + 1

    def predictions(self, exchange: Exchange, numbers: "np.ndarray") -> None:
        """Counts the numbers of a sampled answer, in about 3 us; called from any thread.

        Args:
            numbers: of any shape and of any type that becomes float64; none is fine.
        """
        import numpy as np

        flat = np.array(numbers, np.float64).ravel()  # a copy: it may be a view into the whole answer
        routed = exchange.routed
        of = (
            *(routed.model, routed.variant, routed.version, routed.rollout, routed.step),
            *(exchange.version, exchange.shadow, exchange.code == "OK", routed.how == "override"),
        )
        with self._lock:
            batch = self._batches.get(of) or self._begin(of, exchange)
            batch.answers.append(flat)
            batch.size += len(flat)
            if batch.size >= BATCH or len(batch.answers) >= BATCH:
                batch.settle()

    def tallies(self) -> bytes:
        """The JSON of GET /v1/tallies: `serving.tallies.from_json` reads it."""
        with self._lock:
            self._settle()
            self._forget()
            return to_json(self.instance, self._tallies, self._started_unix_s)

    def _find(self, of: tuple[object, ...], exchange: Exchange) -> tuple[Series, Tally | None]:
        routed = exchange.routed
        tally = None
        if routed.variant:
            with self._lock:
                self._settle()
                self._forget()
                tally = self._tallies.setdefault(_key(routed), Tally())
        series = self._metrics.series(routed.model, _version(exchange), _variant(exchange), exchange.protocol)
        if len(self._found) >= MOST_FOUND:  # names of models and versions may be what clients made up
            self._found.clear()
        self._found[of] = series, tally
        return series, tally

    def _begin(self, of: tuple[object, ...], exchange: Exchange) -> "_Batch":
        """A batch for such answers, with the lock held."""
        routed = exchange.routed
        if len(self._batches) >= MOST_FOUND:
            self._settle()
            self._batches.clear()
        counted = routed.variant and routed.how != "override"
        tally = self._tallies.setdefault(_key(routed), Tally()) if counted else None
        shown = self._metrics.predictions(routed.model, _version(exchange), _variant(exchange))
        batch = self._batches[of] = _Batch(tally, shown)
        return batch

    def _settled(self) -> None:
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        for batch in self._batches.values():
            batch.settle()

    def _forget(self) -> None:
        """Drops what has not moved for KEPT_S and is not of its model's newest rollout, with the lock held.

        The newest is the one that requests came for last: the plan names it as long as any come.
        """
        now = self._clock()
        newest: dict[str, tuple[float, int]] = {}
        for key, tally in self._tallies.items():
            total = tally.requests + tally.by_override + tally.sampled
            before, since = self._moved.get(key, (-1, now))
            self._moved[key] = total, (now if before != total else since)
            newest[key.model] = max(newest.get(key.model, (-math.inf, 0)), (self._moved[key][1], key.rollout or 0))
        old = [key for key, (_, since) in self._moved.items() if since < now - KEPT_S]
        old = [key for key in old if (key.rollout or 0) != newest[key.model][1]]
        if old:
            for key in old:
                del self._tallies[key], self._moved[key]
            self._found.clear()
            self._batches.clear()
            self._metrics.keep({(key.model, key.version) for key in self._tallies})


class _Batch:
    """Numbers of sampled answers that are not counted yet: one by one it would take 20 times as long."""

    def __init__(self, tally: Tally | None, shown: Predictions) -> None:
        self.answers: list[np.ndarray] = []
        self.size = 0
        self._tally = tally
        self._shown = shown

    def settle(self) -> None:
        """Counts them."""
        import numpy as np

        if not self.answers:
            return
        answers, self.answers, self.size = self.answers, [], 0
        numbers = np.concatenate(answers)
        finite = np.isfinite(numbers)
        bad = 0 if finite.all() else sum(not np.isfinite(one).all() for one in answers)
        numbers = numbers[finite]
        self._shown.count(numbers)
        if self._tally is None:
            return
        self._tally.sampled += len(answers)
        self._tally.not_finite += bad
        counts = np.bincount(prediction_buckets(numbers) + PREDICTION_BUCKETS)
        held = self._tally.predictions
        for bucket in np.flatnonzero(counts).tolist():
            held[bucket - PREDICTION_BUCKETS] = held.get(bucket - PREDICTION_BUCKETS, 0) + int(counts[bucket])


def _key(routed: Routed) -> TallyKey:
    return TallyKey(routed.model, routed.rollout, routed.step, routed.variant, routed.version)


def _version(exchange: Exchange) -> int | None:
    """That answered; None for a failure outside of the plan: then it is what a client made up."""
    return exchange.version if exchange.routed.variant or exchange.code == "OK" else None


def _variant(exchange: Exchange) -> str:
    return "shadow" if exchange.shadow else exchange.routed.variant
