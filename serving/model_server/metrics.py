"""TF Serving's metrics and their Prometheus page.

prometheus-client is not used: it writes HELP lines, appends `_total` to the names of counters and adds `_created`
series, so that dashboards and alerts written for TF Serving would find nothing here. The page is the real server's but
for two defects of its exporter: sums are written with all their digits (it writes 6, which flattens `rate(..._sum)`
once a sum is large), and line breaks in label values are escaped.

Counting is on the path of every request: a call takes a lock, one look into a dictionary and for histograms one
bisection, under 1 us together. All methods may be called from any thread.
"""

import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

# Of one metric. Names of models come from clients, also those of models that do not exist: past this, what is new is
# counted together, in a series whose labels all have the value OTHER.
MOST_SERIES = 10_000
OTHER = "(other)"

Labels = tuple[str, ...]


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Upper limits of `count` buckets, each `factor` times the one before; what lies above has a bucket more.

    Multiplied one after the other, as TensorFlow does: powers would differ in the last bits.
    """
    limits = [first]
    while len(limits) < count:
        limits.append(limits[-1] * factor)
    return tuple(limits)


MICROSECONDS = exponential(10, 1.8, 33)  # to about 20 minutes
QUEUE_MICROSECONDS = exponential(100, 1.2, 52)  # to about 1 second
EXAMPLES = exponential(1, 2, 15)
ROWS = exponential(1, 2, 14)


class Metric(Protocol):
    """What the page needs of a metric."""

    @property
    def name(self) -> str:
        """TensorFlow's, with slashes."""

    def lines(self) -> Iterable[str]:
        """The metric's part of the page."""


class Counter:
    """Numbers that only grow, one for each combination of label values."""

    def __init__(self, name: str, *labels: str) -> None:
        """
        Args:
            name: TensorFlow's, `/tensorflow/serving/request_count`.
            labels: their names.
        """
        self.name = name
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[Labels, int] = {}

    def add(self, *labels: str, by: int = 1) -> None:
        """Adds to the series with these label values.

        Raises:
            ValueError: too few or too many of them, found when a series begins.
        """
        with self._lock:
            try:
                self._values[labels] += by
            except KeyError:
                labels = _checked(self.name, self._labels, labels, len(self._values))
                self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> Iterable[str]:
        """The metric's part of the page."""
        with self._lock:
            values = sorted(self._values.items())
        return _scalars(self.name, "counter", self._labels, values)


class Gauge:
    """The last value set, one for each combination of label values. TensorFlow's exporter writes texts as 0."""

    def __init__(self, name: str, *labels: str) -> None:
        """As of Counter."""
        self.name = name
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[Labels, int | str] = {}

    def set(self, *labels: str, value: int | str) -> None:
        """Replaces the value of the series with these label values.

        Raises:
            ValueError: as of Counter.add.
        """
        with self._lock:
            if labels not in self._values:
                labels = _checked(self.name, self._labels, labels, len(self._values))
            self._values[labels] = value

    def value(self, *labels: str) -> int | str | None:
        """What was set last, or None."""
        return self._values.get(labels)

    def lines(self) -> Iterable[str]:
        """The metric's part of the page."""
        with self._lock:
            values = [(labels, value if isinstance(value, int) else 0) for labels, value in self._values.items()]
        return _scalars(self.name, "gauge", self._labels, sorted(values))


class _Series:
    """Counts of one histogram by bucket, and the sum of what was observed."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class Histogram:
    """How values are distributed over buckets, for each combination of label values."""

    def __init__(self, name: str, limits: Sequence[float], *labels: str) -> None:
        """
        Args:
            name: TensorFlow's.
            limits: upper limits of the buckets, ascending, without the infinite one.
            labels: their names.
        """
        self.name = name
        self._labels = labels
        self._limits = limits
        self._lock = threading.Lock()
        self._series: dict[Labels, _Series] = {}

    def observe(self, *labels: str, value: float) -> None:
        """Counts a value of the series with these label values. As in TensorFlow a limit itself is in the bucket above.

        Raises:
            ValueError: as of Counter.add.
        """
        bucket = bisect_right(self._limits, value)
        with self._lock:
            series = self._series.get(labels) or self._begin(labels)
            series.counts[bucket] += 1
            series.sum += value

    def _begin(self, labels: Labels) -> _Series:
        labels = _checked(self.name, self._labels, labels, len(self._series))
        return self._series.setdefault(labels, _Series(len(self._limits) + 1))

    def lines(self) -> Iterable[str]:
        """The metric's part of the page; counts are cumulative over the buckets."""
        with self._lock:
            found = sorted((labels, tuple(series.counts), series.sum) for labels, series in self._series.items())
        name = _metric_name(self.name)
        yield f"# TYPE {name} histogram"
        limits = [*(f"{limit:g}" for limit in self._limits), "+Inf"]
        for labels, counts, total in found:
            pairs = _pairs(self._labels, labels)
            before = f"{name}_bucket{{{pairs}{',' if pairs else ''}le="
            cumulative = 0
            for limit, count in zip(limits, counts, strict=True):
                cumulative += count
                yield f'{before}"{limit}"}} {cumulative}'
            yield f"{name}_sum{{{pairs}}} {_number(total)}"
            yield f"{name}_count{{{pairs}}} {cumulative}"


class Metrics:
    """All of TF Serving's metrics that this server can know.

    Left out are those of TensorFlow's runtime (`:tensorflow:core:graph_runs` and so on): its registry of them cannot be
    read from Python. Latencies are in microseconds.

    Attributes:
        request_count: model, status. gRPC Predict, Classify, Regress; every REST request (model "" if malformed).
        request_latency: model, API (`Predict` over gRPC, `predict` or "" over REST), entry point (`GRPC`, `REST`);
            of successes.
        runtime_latency: model, API (`Predict`, `Classify`, `Regress`), runtime (`TF1`); the run alone.
        request_example_counts, request_example_count_total: model; examples of MultiInference.
        request_log_count: model, status.
        model_warmup_latency, model_warmup_records_read: path of the version, status (`OK` or its whole text).
        queuing_latency: name of the batch threads.
        wrapped_run_count: runs of batches.
        padding_size: rows added to a batch; label: its rows with them.
        input_batch_size, processed_batch_size: rows of a request, and of a batch with its padding.
        mlmd_map: model, version; the text of assets.extra/mlmd_uuid.
        load_attempt_count: path of the version, `success` or `fail`.
        load_latency: path of the version; microseconds of successful loads, added up.
        load_latency_by_stage: path of the version, stage.
    """

    def __init__(self) -> None:
        serving, batching, saved_model = (
            "/tensorflow/serving",
            "/tensorflow/serving/batching_session",
            "/tensorflow/cc/saved_model",
        )
        self.request_count = Counter(f"{serving}/request_count", "model_name", "status")
        self.request_latency = Histogram(f"{serving}/request_latency", MICROSECONDS, "model_name", "API", "entrypoint")
        self.runtime_latency = Histogram(f"{serving}/runtime_latency", MICROSECONDS, "model_name", "API", "runtime")
        self.request_example_counts = Histogram(f"{serving}/request_example_counts", EXAMPLES, "model")
        self.request_example_count_total = Counter(f"{serving}/request_example_count_total", "model")
        self.request_log_count = Counter(f"{serving}/request_log_count", "model_name", "status_code")
        self.model_warmup_latency = Histogram(f"{serving}/model_warmup_latency", MICROSECONDS, "model_path", "status")
        self.model_warmup_records_read = Counter(f"{serving}/model_warmup_records_read", "model_path", "status")
        self.queuing_latency = Histogram(f"{batching}/queuing_latency", QUEUE_MICROSECONDS, "thread_pool_name")
        self.wrapped_run_count = Counter(f"{batching}/wrapped_run_count")
        self.padding_size = Histogram(f"{batching}/padding_size", ROWS, "execution_batch_size")
        self.input_batch_size = Histogram(f"{batching}/input_batch_size", ROWS)
        self.processed_batch_size = Histogram(f"{batching}/processed_batch_size", ROWS)
        self.mlmd_map = Gauge(f"{serving}/mlmd_map", "model_name", "version")
        self.load_attempt_count = Counter(f"{saved_model}/load_attempt_count", "model_path", "status")
        self.load_latency = Counter(f"{saved_model}/load_latency", "model_path")
        self.load_latency_by_stage = Histogram(
            f"{saved_model}/load_latency_by_stage", MICROSECONDS, "model_path", "stage"
        )
        self._all: list[Metric] = sorted(vars(self).values(), key=lambda metric: metric.name)

    def exposition(self) -> bytes:
        """The Prometheus page: metrics by name, series by label values; a series is there once it was used."""
        return page(self._all)


def page(metrics: Iterable[Metric]) -> bytes:
    """The Prometheus page of some metrics. What UTF-8 cannot express in a label value becomes `?`."""
    lines = [line for metric in metrics for line in metric.lines()]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _checked(name: str, names: Labels, labels: Labels, series: int) -> Labels:
    if len(labels) != len(names):
        raise ValueError(f"{name} has the labels {names}, not {len(labels)} of them: {labels}")
    return labels if series < MOST_SERIES else (OTHER,) * len(names)


def _scalars(name: str, kind: str, names: Labels, values: Iterable[tuple[Labels, int]]) -> Iterable[str]:
    name = _metric_name(name)
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{{{_pairs(names, labels)}}} {value}"


def _pairs(names: Labels, values: Labels) -> str:
    return ",".join(f'{_label_name(name)}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _metric_name(name: str) -> str:
    return _unlike_number(re.sub("[^A-Za-z0-9_]", ":", name))


def _label_name(name: str) -> str:
    return _unlike_number(re.sub("[^A-Za-z0-9]", "_", name))


def _unlike_number(name: str) -> str:
    return f"_{name}" if name[:1].isdigit() else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)
