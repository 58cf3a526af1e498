"""Every metric of every slice, with TFMA's Poisson bootstrap intervals."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.utils import model_util

from components.evaluator.formulas import FORMULAS, Floats
from components.evaluator.request import Request
from components.evaluator.scoring import Scored
from components.evaluator.slices import SliceKey

__all__ = ["RESAMPLES", "SliceMetrics", "slice_metrics"]

RESAMPLES = 20  # metrics_plots_and_validations_evaluator._DEFAULT_NUM_BOOTSTRAP_SAMPLES
SEED = 20
SliceMetrics = tuple[SliceKey, dict[metric_types.MetricKey, Any]]


def slice_metrics(request: Request, scored: Scored) -> Iterator[SliceMetrics]:
    """What TFMA's evaluator yields: for each slice its key and its metrics.

    Values are floats, or tfma.types.ValueWithTDistribution where an interval is asked for: mean and standard deviation
    of 20 resamples, in which each record counts as often as Poisson(1) says (poisson_bootstrap._BootstrapCombineFn).
    In TFMA each slice draws on its own and without a seed; here all slices share one seeded draw, so that the same
    inputs give the same bytes. Both resample candidate and baseline together, so differences between them are paired.
    """
    weights = _weights(scored.rows, RESAMPLES if request.with_intervals else 0)
    baseline = model_util.get_baseline_model_spec(request.config)
    exact = metric_specs.metric_keys_to_skip_for_confidence_intervals(
        request.config.metrics_specs, eval_config=request.config
    )
    for slice_key, rows in scored.slices.items():
        columns = {name: columns.at(rows) for name, columns in scored.columns.items()}
        drawn = weights[rows]
        values = {key: FORMULAS[key.name](columns[key.model_name], drawn) for key in request.metric_keys}
        if baseline is not None:
            values |= _differences(values, baseline.name)
        yield slice_key, {key: _metric(value, key not in exact) for key, value in values.items()}


def _weights(rows: int, resamples: int) -> Floats:
    """[rows, 1 + resamples]: how often each record counts; the first column is all records once."""
    drawn: NDArray[np.int64] = np.random.default_rng(SEED).poisson(1, (rows, resamples))
    return np.concatenate([np.ones((rows, 1)), drawn], axis=1)


def _differences(values: dict[metric_types.MetricKey, Floats], baseline: str) -> dict[metric_types.MetricKey, Floats]:
    """Each model's metrics minus the baseline's, resample by resample."""
    with np.errstate(invalid="ignore"):  # of two infinite losses the difference is NaN, as in TFMA
        return {
            key.make_diff_key(): value - values[key.make_baseline_key(baseline)]
            for key, value in values.items()
            if key.model_name != baseline and key.make_baseline_key(baseline) in values
        }


def _metric(values: Floats, with_interval: bool) -> Any:
    if len(values) == 1 or not with_interval:
        return float(values[0])
    with np.errstate(invalid="ignore"):  # an infinite loss has no deviation
        return tfma.types.ValueWithTDistribution(
            sample_mean=float(values[1:].mean()),
            sample_standard_deviation=float(values[1:].std(ddof=1)),
            sample_degrees_of_freedom=len(values) - 2,
            unsampled_value=float(values[0]),
        )
