import pytest

from components.verdict.gates import HIGHER_IS_BETTER, LOWER_IS_BETTER, METRICS, Gate


def test_a_metric_that_no_gate_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"metric is one of auc, .*log_loss.*; got 'acu'"):
        Gate("acu", at_least=0.6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_gate_without_a_bound_is_refused(metric: str) -> None:
    with pytest.raises(ValueError, match="demands nothing: give at_least, at_most or not_below_baseline_by"):
        Gate(metric)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_an_upper_bound_is_refused_where_higher_is_better(metric: str) -> None:
    with pytest.raises(ValueError, match="at_most: higher is better"):
        Gate(metric, at_most=0.5)
    assert Gate(metric, at_least=0.5).at_least == 0.5


@pytest.mark.parametrize("metric", LOWER_IS_BETTER)
def test_a_lower_bound_is_refused_where_lower_is_better(metric: str) -> None:
    with pytest.raises(ValueError, match="at_least: lower is better"):
        Gate(metric, at_least=0.5)
    assert Gate(metric, at_most=0.5).at_most == 0.5


def test_the_wrong_bound_is_refused_beside_a_right_one() -> None:
    with pytest.raises(ValueError, match="at_most"):
        Gate("auc", at_least=0.6, at_most=0.9)


def test_a_negative_allowance_against_the_baseline_is_refused_and_none_at_all_is_allowed() -> None:
    with pytest.raises(ValueError, match="not_below_baseline_by is at least 0; got -0.1"):
        Gate("auc", not_below_baseline_by=-0.1)
    assert Gate("auc", not_below_baseline_by=0.0).not_below_baseline_by == 0.0


def test_a_smallest_slice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest_slice is at least 1; got 0"):
        Gate("auc", at_least=0.6, smallest_slice=0)
