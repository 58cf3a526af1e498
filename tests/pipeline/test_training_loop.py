import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.task import Hyperparameters
from pipeline.training_loop import Progress, area_under_roc

FIVE = Hyperparameters(epochs=5, patience=2)
# Few different scores, so that ties abound; and any others.
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1, width=32))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=60))
def test_the_area_is_scikit_learns_with_ties(rows: list[tuple[bool, float]]) -> None:
    from sklearn.metrics import roc_auc_score

    labels = np.array([float(label) for label, _ in rows])
    scores = np.array([score for _, score in rows])
    area = area_under_roc(labels, scores)
    if labels.min() == labels.max():
        assert math.isnan(area)
    else:
        assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "area"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([1, 0], [0.1, 0.9], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
    ],
)
def test_the_area_of_small_cases_is_what_one_counts_by_hand(
    labels: list[int], scores: list[float], area: float
) -> None:
    assert area_under_roc(np.array(labels), np.array(scores)) == area


def test_a_million_rows_do_not_overflow() -> None:
    labels = np.arange(1_000_000, dtype=np.float32) % 2
    assert area_under_roc(labels, labels.astype(np.float32)) == 1.0
    assert area_under_roc(labels, np.zeros_like(labels)) == 0.5


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "stopped"),
    [
        (0, 0, False),  # nothing was tried yet
        (1, 1, False),
        (2, 1, False),
        (3, 1, True),  # two passes without a better one
        (4, 3, False),
        (5, 5, True),  # that was the last
        (2, 0, True),  # none was ever finite or better
    ],
)
def test_training_stops_at_the_last_pass_or_when_patience_ends(epoch: int, best_epoch: int, stopped: bool) -> None:
    assert Progress(epoch=epoch, best_epoch=best_epoch).stopped(FIVE) is stopped


def test_a_training_of_no_passes_has_nothing_to_do() -> None:
    assert Progress().stopped(Hyperparameters(epochs=0))
