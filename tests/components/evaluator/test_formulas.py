"""The formulas against their definitions, where a definition is short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.formulas import FORMULAS, columns_of

LABELS_AND_PREDICTIONS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=1, max_size=40).map(
    lambda pairs: (np.array([label for label, _ in pairs]), np.array([prediction for _, prediction in pairs]))
)


def _metric(name: str, labels: list[float], predictions: list[float]) -> float:
    columns = columns_of(np.array(labels), np.array(predictions))
    return float(FORMULAS[name](columns, np.ones((len(labels), 1)))[0])


@given(LABELS_AND_PREDICTIONS)
def test_auc_is_the_share_of_pairs_in_the_right_order_but_for_ties_of_10000_thresholds(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    label, prediction = pair
    gaps = prediction[label == 1][:, np.newaxis] - prediction[label == 0][np.newaxis, :]
    measured = float(FORMULAS["auc"](columns_of(label, prediction), np.ones((len(label), 1)))[0])
    if not gaps.size:
        assert measured == 0
        return
    # Predictions within two thresholds of each other may be one bucket.
    surely_right, perhaps_right = np.mean(gaps > 2e-4), np.mean(gaps >= -2e-4)
    assert surely_right - 1e-12 <= measured <= perhaps_right + 1e-12


@given(LABELS_AND_PREDICTIONS, st.integers(0, 2**32 - 1))
def test_a_record_of_weight_3_counts_like_three_records_and_one_of_0_like_none(
    pair: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    label, prediction = pair
    counts = np.random.default_rng(seed).integers(0, 4, len(label))
    weighted = columns_of(label, prediction)
    repeated = columns_of(np.repeat(label, counts), np.repeat(prediction, counts))
    for name, formula in FORMULAS.items():
        one = formula(weighted, counts[:, np.newaxis].astype(float))[0]
        if counts.sum() == 0:
            assert one == 0 if name in ("auc", "example_count") else np.isnan(one)
            continue
        other = formula(repeated, np.ones((counts.sum(), 1)))[0]
        assert one == pytest.approx(other, rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "expected"),
    [
        ("auc", [1, 1], [0.1, 0.9], 0),  # as TFMA: not NaN
        ("auc", [0, 1], [0.70001, 0.70002], 0.5),  # one bucket
        ("auc", [0, 1], [1.0, 1.0], 0.5),
        ("binary_accuracy", [0, 1], [0.5, 0.5], 0.5),  # 0.5 is negative
        ("precision", [0, 1], [0.1, 0.2], np.nan),
        ("recall", [0, 0], [0.1, 0.9], np.nan),
        ("calibration", [0, 0], [0.1, 0.9], np.nan),
        ("calibration", [1, 0], [0.5, 0.1], 0.6),
        ("binary_crossentropy", [1], [0.0], np.inf),
        ("binary_crossentropy", [0], [0.0], np.nan),  # 0 * log 0, as TFMA
        ("mean_label", [0.25, 0.75], [0.1, 0.2], 0.5),
        ("mean_prediction", [0, 1], [0.25, 0.75], 0.5),
        ("example_count", [0, 1], [0.25, 0.75], 2),
    ],
)
def test_edge_cases_are_those_of_tfma(
    name: str, labels: list[float], predictions: list[float], expected: float
) -> None:
    assert _metric(name, labels, predictions) == pytest.approx(expected, nan_ok=True)
