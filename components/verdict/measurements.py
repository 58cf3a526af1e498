"""Reads TFMA's evaluation and speaks of it in the gates' words."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from components.verdict.judge import Interval, Measurement, SliceKey

TFMA_NAME = {
    "auc": "auc",
    "log_loss": "binary_crossentropy",
    "calibration_error": "calibration",
    "accuracy": "binary_accuracy",
    "precision": "precision",
    "recall": "recall",
}
CANDIDATE, BASELINE = "candidate", "baseline"


def read(evaluation: str) -> list[Measurement]:
    """The measurements in a TFMA output folder.

    Raises:
        FileNotFoundError: there is no evaluation.
    """
    import tensorflow_model_analysis as tfma

    found = list(measurements(tfma.load_metrics(evaluation)))
    if not found:
        raise FileNotFoundError(f"expected TFMA's metrics in {evaluation}; there are none that a gate can name")
    return found


def measurements(slices: Iterable[Any]) -> Iterator[Measurement]:
    """Turns TFMA's MetricsForSlice messages into measurements, one a slice and metric that a gate can name."""
    for one in slices:
        key = slice_key(one)
        numbers: dict[tuple[str, str, bool], Interval] = {}
        for pair in one.metric_keys_and_values:
            numbers[pair.key.name, pair.key.model_name, pair.key.is_diff] = _interval(pair)
        models = {model for _, model, is_diff in numbers if not is_diff}
        candidate = CANDIDATE if CANDIDATE in models else ""
        examples = _number(numbers, "example_count", candidate)
        for metric, name in TFMA_NAME.items():
            measured = numbers.get((name, candidate, False))
            if measured is None:
                continue
            baseline = numbers.get((name, BASELINE, False))
            difference = numbers.get((name, candidate, True))
            if metric == "auc" and _number(numbers, "mean_label", candidate) in (0.0, 1.0):
                # Of one class there is no ranking; TFMA says 0, which would read as the worst of models.
                measured, difference = Interval(math.nan), None if difference is None else Interval(math.nan)
            if metric == "calibration_error":
                difference = None if baseline is None else _minus(_error(measured), _error(baseline))
                measured = _error(measured)
            count = 0 if math.isnan(examples) else round(examples)
            yield Measurement(metric, key, count, measured, difference)


def slice_key(metrics_for_slice: Any) -> SliceKey:
    """((feature, value), ...) of a MetricsForSlice message; () for the overall slice."""
    return tuple((one.column, _text(one)) for one in metrics_for_slice.slice_key.single_slice_keys)


def _text(one: Any) -> str:
    kind = one.WhichOneof("kind")
    value = getattr(one, kind) if kind else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _interval(pair: Any) -> Interval:
    value = pair.value.bounded_value.value.value if pair.value.HasField("bounded_value") else None
    if value is None:
        value = pair.value.double_value.value if pair.value.HasField("double_value") else math.nan
    if not pair.HasField("confidence_interval"):
        return Interval(value)
    bounds = pair.confidence_interval
    return Interval(value, bounds.lower_bound.double_value.value, bounds.upper_bound.double_value.value)


def _number(numbers: dict[tuple[str, str, bool], Interval], name: str, model: str) -> float:
    found = numbers.get((name, model, False)) or numbers.get((name, "", False))
    return found.value if found else math.nan


def _error(calibration: Interval) -> Interval:
    """|calibration - 1|, where calibration is the mean prediction over the mean label."""
    ends = [abs(calibration.lower - 1), abs(calibration.upper - 1)]
    least = 0.0 if calibration.lower <= 1 <= calibration.upper else min(ends)
    return Interval(abs(calibration.value - 1), least if not math.isnan(ends[0]) else math.nan, max(ends))


def _minus(candidate: Interval, baseline: Interval) -> Interval:
    """A difference whose interval is not known: TFMA bootstraps the signed calibration, not its distance from 1."""
    return Interval(candidate.value - baseline.value)
