"""The gateway's page for Prometheus.

Counting is on the path of every request, so the numbers lie in plain fields that callers hold on to (the counters of
prometheus-client take a lock each, and its histograms walk through their buckets); they become Prometheus' metrics when
the page is asked for.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from serving.gateway.plan_watch import PlanWatch

if TYPE_CHECKING:
    import numpy as np

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Names of models come from clients, also of those that do not exist: past MOST_UNPLANNED of what no plan names, the
# rest is counted together as OTHER.
MOST_UNPLANNED = 1000
LONGEST_NAME = 200
OTHER = "(other)"
_LATENCY_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0),
)
_POSITIVE = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0, 10.0, 100.0, 1000.0)
_PREDICTION = (-100.0, -10.0, -1.0, -0.1, 0.0, *_POSITIVE)
_OF_VARIANT = ("model", "version", "variant")
_Labels = tuple[str, ...]


class Series:
    """Requests of one variant over one protocol. Of the event loop alone."""

    __slots__ = ("codes", "fell_back", "latency", "sum_s")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.latency = [0] * (len(_LATENCY_S) + 1)
        self.sum_s = 0.0
        self.fell_back = 0

    def count(self, code: str, latency_s: float) -> None:
        """Counts a request."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.latency[bisect_left(_LATENCY_S, latency_s)] += 1
        self.sum_s += latency_s


class Predictions:
    """Numbers in answers of one variant. Of one thread at a time."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(_PREDICTION) + 1)
        self.sum = 0.0

    def count(self, numbers: "np.ndarray") -> None:
        """Counts finite numbers [n]."""
        import numpy as np

        buckets = np.searchsorted(_PREDICTION, numbers, side="left")
        found = np.bincount(buckets, minlength=len(self.counts)).tolist()
        self.counts = [count + more for count, more in zip(self.counts, found, strict=True)]
        with np.errstate(over="ignore"):
            self.sum += float(numbers.sum())


class GatewayMetrics:
    """What a gateway counts, and its page."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.assigned: dict[str, int] = {}  # how -> requests; of the event loop alone
        self.settle: Callable[[], None] = lambda: None  # called before a page, by whoever counts in batches
        self._lock = threading.Lock()
        self._series: dict[_Labels, Series] = {}
        self._predictions: dict[_Labels, Predictions] = {}
        self._unplanned: set[_Labels] = set()
        self._shed: Counter[str] = Counter()
        self._dropped_rows: Counter[str] = Counter()
        self._dropped_copies = 0
        self._watch: PlanWatch | None = None

    def watch(self, watch: PlanWatch) -> None:
        """Shows this watch's generation and refusals."""
        self._watch = watch

    def shed(self, reason: str = "busy") -> None:
        """A request was refused because there were too many; any thread."""
        with self._lock:
            self._shed[reason] += 1

    def dropped_rows(self, count: int = 1, reason: str = "queue") -> None:
        """Rows of the log of impressions were lost; any thread."""
        with self._lock:
            self._dropped_rows[reason] += count

    def dropped_copy(self) -> None:
        """A copy for the canary was not sent because there were too many; any thread."""
        with self._lock:
            self._dropped_copies += 1

    def series(self, model: str, version: int | None, variant: str, protocol: str) -> Series:
        """Where these requests are counted, for the caller to keep; any thread.

        Args:
            variant: "" for what no plan names.
        """
        with self._lock:
            labels = self._labels(model, version, variant)
            return self._series.setdefault((*labels, protocol), Series())

    def predictions(self, model: str, version: int | None, variant: str) -> Predictions:
        """Where the numbers of these answers are counted, for the caller to keep; any thread."""
        with self._lock:
            return self._predictions.setdefault(self._labels(model, version, variant), Predictions())

    def keep(self, versions: Set[tuple[str, int | None]]) -> None:
        """Ends the series of planned versions, (model, version), other than these; callers let go of theirs."""
        kept = {(model, "" if version is None else str(version)) for model, version in versions}
        with self._lock:
            of_both: tuple[MutableMapping[_Labels, Any], ...] = (self._series, self._predictions)
            for held in of_both:
                for labels in [one for one in held if one[2] and one[:2] not in kept]:
                    del held[labels]

    def page(self) -> bytes:
        """The page, in Prometheus' text format; its type is CONTENT_TYPE."""
        self.settle()
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: prometheus-client asks for it lest it collects in order to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as prometheus-client wants them."""
        with self._lock:
            series, predictions = sorted(self._series.items()), sorted(self._predictions.items())
            shed, rows = sorted(self._shed.items()), sorted(self._dropped_rows.items())
        by_code = [((*labels, code), n) for labels, one in series for code, n in sorted(one.codes.items())]
        yield _counter(
            "requests", "Requests by the gRPC code of the answer", (*_OF_VARIANT, "protocol", "code"), by_code
        )
        latency = HistogramMetricFamily(
            "pressline_gateway_latency_seconds", "Until the model server answered", labels=(*_OF_VARIANT, "protocol")
        )
        for labels, one in series:
            latency.add_metric(labels, _cumulative(_LATENCY_S, one.latency), one.sum_s)
        yield latency
        numbers = HistogramMetricFamily(
            "pressline_gateway_prediction", "Numbers in sampled answers", labels=_OF_VARIANT
        )
        for labels, each in predictions:
            numbers.add_metric(labels, _cumulative(_PREDICTION, each.counts), each.sum)
            # Left out by add_metric where limits are negative, since OpenMetrics has it so; this is not OpenMetrics.
            named = dict(zip(_OF_VARIANT, labels, strict=True))
            numbers.add_sample(f"{numbers.name}_count", named, sum(each.counts))
            numbers.add_sample(f"{numbers.name}_sum", named, each.sum)
        yield numbers
        fallbacks = [(labels, one.fell_back) for labels, one in series if one.fell_back]
        yield _counter("fallbacks", "Stable answered for the canary", (*_OF_VARIANT, "protocol"), fallbacks)
        assigned = [((how,), count) for how, count in sorted(self.assigned.items())]
        yield _counter("assignments", "Requests by how their variant was found", ("how",), assigned)
        yield _counter("shed", "Requests refused at once", ("reason",), [((why,), n) for why, n in shed])
        yield _counter("dropped_rows", "Rows of the log that were lost", ("reason",), [((why,), n) for why, n in rows])
        yield _counter("dropped_copies", "Copies for the canary not sent", (), [((), self._dropped_copies)])
        if self._watch is not None:
            generation = self._watch.plan.generation
            yield GaugeMetricFamily("pressline_gateway_plan_generation", "Of the traffic plan", value=generation)
            yield _counter("plan_refusals", "Traffic plans not taken", (), [((), self._watch.refusals)])

    def _labels(self, model: str, version: int | None, variant: str) -> _Labels:
        name = model.encode("utf-8", "replace").decode()  # the page cannot hold half of a surrogate pair
        labels = (name, "" if version is None else str(version), variant)
        if variant or labels in self._unplanned:
            return labels
        if len(self._unplanned) >= MOST_UNPLANNED or len(name) > LONGEST_NAME:
            return (OTHER, "", variant)
        self._unplanned.add(labels)
        return labels


def _counter(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"pressline_gateway_{name}", text, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _cumulative(limits: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """(upper limit, how many do not exceed it) of each bucket; the last has none."""
    found, below = [], 0
    for limit, count in zip([*(f"{limit:g}" for limit in limits), "+Inf"], counts, strict=True):
        below += count
        found.append((limit, float(below)))
    return found
