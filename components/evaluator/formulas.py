"""TFMA's binary metrics as formulas on whole columns.

A record's weight is how often it counts: the first column of the weights is all 1 and gives the metric itself, each
other is one resample. Every formula takes the columns of m records and their weights [m, k], float64, and gives the
metric k times, [k] float64. No record at all (a resample may draw none) is NaN, where not said otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMULAS", "Columns", "columns_of"]

Floats = NDArray[np.float64]
BUCKETS = 10_000  # calibration_histogram.DEFAULT_NUM_BUCKETS, and by it the number of AUC's thresholds
EPSILON = 1e-7  # binary_confusion_matrices._EPSILON
THRESHOLD = 0.5  # ConfusionMatrixMetric._default_threshold


@dataclass(frozen=True)
class Columns:
    """One model's answers to n records, all [n].

    Attributes:
        label: share of the positive class, 0 to 1.
        prediction: probability of the positive class.
        loss: binary cross entropy of the record, natural logarithm; NaN or infinite at predictions of 0 and 1.
        bucket: AUC's threshold below which the prediction lies, int64.
    """

    label: Floats
    prediction: Floats
    loss: Floats
    bucket: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> "Columns":
        """These rows only."""
        return Columns(self.label[rows], self.prediction[rows], self.loss[rows], self.bucket[rows])


def columns_of(label: NDArray[Any], prediction: NDArray[Any]) -> Columns:
    """Columns of labels [n] within 0 to 1 and predictions [n], each of any numeric type; neither has a NaN."""
    exact = prediction.astype(np.float64)
    return Columns(label.astype(np.float64), exact, _loss(label, prediction), _bucket(exact))


def _loss(label: NDArray[Any], prediction: NDArray[Any]) -> Floats:
    """As cross_entropy_metrics._BinaryCrossEntropyCombiner, in the types that it computes in: logarithms of float32."""
    share = label * 1.0  # float32 stays, whole numbers become float64
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = -(share * np.log(prediction)) - (1 - share) * np.log(1 - prediction)
    return np.asarray(loss, np.float64)


def _bucket(prediction: Floats) -> NDArray[np.int64]:
    """Two steps as in TFMA: a histogram of 10,000 equal buckets, then its buckets by 10,000 thresholds.

    calibration_histogram._bucket_index and .rebin, binary_confusion_matrices._interpolated_thresholds. The last two
    thresholds are one here: at the last, above 1, TFMA counts every record as negative, so nothing lies between them.
    """
    place = np.clip(prediction * BUCKETS + 1, 0, BUCKETS + 1).astype(np.int64)
    edge = (place - 1) / BUCKETS
    edge[place == 0], edge[place == BUCKETS + 1] = -np.inf, np.inf
    inner = np.arange(1, BUCKETS - 1) / (BUCKETS - 1) + EPSILON
    thresholds = np.concatenate([[0.0], inner])
    return np.maximum(np.searchsorted(thresholds, edge, side="right") - 1, 0)


def _total(values: Floats, weights: Floats) -> Floats:
    """Weighted sums; a value that is NaN or infinite counts only where its weight is not 0."""
    counted = np.multiply(weights, values[:, np.newaxis], out=np.zeros_like(weights), where=weights > 0)
    return np.asarray(counted.sum(axis=0))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """NaN where the denominator is 0; it is never below."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def auc(columns: Columns, weights: Floats) -> Floats:
    """Area under the ROC curve by trapezoids, as confusion_matrix_metrics.AUC with its defaults.

    Predictions of one bucket are ties. It is 0, not NaN, where a label is missing, and for no records.
    """
    order = np.argsort(columns.bucket, kind="stable")
    starts = np.flatnonzero(np.diff(columns.bucket[order], prepend=-1))
    label, weights = columns.label[order, np.newaxis], weights[order]
    positive = np.add.reduceat(weights * label, starts, axis=0)
    negative = np.add.reduceat(weights * (1 - label), starts, axis=0)
    positives, negatives = positive.sum(axis=0), negative.sum(axis=0)
    above = positives - np.cumsum(positive, axis=0)
    area = (negative * (above + positive / 2)).sum(axis=0)
    pairs = positives * negatives
    return np.asarray(np.divide(area, pairs, out=np.zeros_like(area), where=pairs > 0))


def binary_accuracy(columns: Columns, weights: Floats) -> Floats:
    """Share of records on the right side of 0.5; exactly 0.5 is predicted negative."""
    right = np.where(columns.prediction > THRESHOLD, columns.label, 1 - columns.label)
    return _ratio(_total(right, weights), weights.sum(axis=0))


def precision(columns: Columns, weights: Floats) -> Floats:
    """Positives among the records above 0.5; NaN where none is above."""
    above = (columns.prediction > THRESHOLD).astype(np.float64)
    return _ratio(_total(columns.label * above, weights), _total(above, weights))


def recall(columns: Columns, weights: Floats) -> Floats:
    """Share of the positives that are above 0.5; NaN without positives."""
    above = (columns.prediction > THRESHOLD).astype(np.float64)
    return _ratio(_total(columns.label * above, weights), _total(columns.label, weights))


def binary_crossentropy(columns: Columns, weights: Floats) -> Floats:
    """Mean loss of the records, in nats."""
    return _ratio(_total(columns.loss, weights), weights.sum(axis=0))


def calibration(columns: Columns, weights: Floats) -> Floats:
    """Sum of predictions over sum of labels; NaN without positives."""
    return _ratio(_total(columns.prediction, weights), _total(columns.label, weights))


def mean_label(columns: Columns, weights: Floats) -> Floats:
    """Mean of the labels."""
    return _ratio(_total(columns.label, weights), weights.sum(axis=0))


def mean_prediction(columns: Columns, weights: Floats) -> Floats:
    """Mean of the predictions."""
    return _ratio(_total(columns.prediction, weights), weights.sum(axis=0))


def example_count(columns: Columns, weights: Floats) -> Floats:
    """Number of records; 0 for none."""
    return np.asarray(weights.sum(axis=0))


FORMULAS: dict[str, Callable[[Columns, Floats], Floats]] = {
    one.__name__: one
    for one in (
        auc,
        binary_accuracy,
        binary_crossentropy,
        calibration,
        example_count,
        mean_label,
        mean_prediction,
        precision,
        recall,
    )
}
