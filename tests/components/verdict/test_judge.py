import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.verdict.gates import HIGHER_IS_BETTER, METRICS, Gate
from components.verdict.judge import (
    BLESSED,
    FAIL,
    NO_BASELINE,
    NOT_BLESSED,
    NOT_JUDGED,
    PASS,
    TOO_FEW,
    UNDEFINED,
    Interval,
    Measurement,
    SliceKey,
    judge,
)

MALE: SliceKey = (("gender", "M"),)
NUMBERS = st.floats(-2, 2, allow_nan=False)
ANY_NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
AUC = Gate("auc", at_least=0.6)
RANKS = {NOT_BLESSED: 0, BLESSED: 1}


def measured(
    value: float, of: SliceKey = (), examples: int = 1000, difference: float | None = None, metric: str = "auc"
) -> Measurement:
    return Measurement(metric, of, examples, Interval(value), None if difference is None else Interval(difference))


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    lower, value, upper = sorted([draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)])
    return draw(st.sampled_from([Interval(value), Interval(value, lower, upper)]))


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    metric = draw(st.sampled_from(METRICS))
    limits = st.one_of(st.none(), NUMBERS)
    absolute, allowance = draw(limits), draw(st.one_of(st.none(), st.floats(0, 1)))
    if absolute is None and allowance is None:
        absolute = 0.5
    bound = "at_least" if metric in HIGHER_IS_BETTER else "at_most"
    slices = draw(st.sampled_from([(), (("gender",),)]))
    smallest = draw(st.integers(1, 100))
    return Gate(metric, **{bound: absolute}, not_below_baseline_by=allowance, slices=slices, smallest_slice=smallest)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Gate], list[Measurement]]:
    """Gates, and for each metric an overall measurement and one of a slice."""
    chosen = draw(st.lists(gates(), min_size=1, max_size=4))
    found = []
    for metric in {gate.metric for gate in chosen}:
        for key in ((), MALE):
            count = draw(st.integers(0, 200))
            found.append(Measurement(metric, key, count, draw(intervals()), draw(intervals())))
    return chosen, found


def shifted(one: Interval, by: float) -> Interval:
    return Interval(one.value + by, one.lower + by, one.upper + by)


@settings(deadline=None)
@given(cases(), st.booleans(), st.floats(0, 3), st.data())
def test_a_better_number_never_turns_a_blessing_into_a_refusal(
    case: tuple[list[Gate], list[Measurement]], has_baseline: bool, gain: float, data: st.DataObject
) -> None:
    demands, found = case
    before = judge(demands, found, has_baseline)
    place = data.draw(st.integers(0, len(found) - 1))
    one = found[place]
    by = gain if one.metric in HIGHER_IS_BETTER else -gain
    assert one.difference is not None
    found[place] = replace(one, candidate=shifted(one.candidate, by), difference=shifted(one.difference, by))
    after = judge(demands, found, has_baseline)
    assert RANKS[after.verdict] >= RANKS[before.verdict]


@settings(deadline=None)
@given(cases(), st.booleans(), st.data())
def test_one_more_gate_never_turns_a_refusal_into_a_blessing(
    case: tuple[list[Gate], list[Measurement]], has_baseline: bool, data: st.DataObject
) -> None:
    demands, found = case
    fewer = demands[: data.draw(st.integers(1, len(demands)))]
    assert RANKS[judge(demands, found, has_baseline).verdict] <= RANKS[judge(fewer, found, has_baseline).verdict]


@settings(deadline=None)
@given(
    st.lists(gates(), max_size=4),
    st.lists(
        st.builds(
            Measurement,
            metric=st.sampled_from(METRICS),
            slice=st.sampled_from([(), MALE]),
            examples=st.integers(0, 500),
            candidate=st.builds(Interval, ANY_NUMBERS, ANY_NUMBERS, ANY_NUMBERS),
            difference=st.one_of(st.none(), st.builds(Interval, ANY_NUMBERS, ANY_NUMBERS, ANY_NUMBERS)),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_whatever_was_measured_there_is_a_verdict_with_its_reasons_and_it_fits_the_outcomes(
    demands: list[Gate], found: list[Measurement], has_baseline: bool
) -> None:
    verdict = judge(demands, found, has_baseline)
    outcomes = {result.outcome for result in verdict.results}
    assert verdict.reasons
    assert all(verdict.reasons)
    assert verdict.has_baseline is has_baseline
    if verdict.verdict == BLESSED:
        assert FAIL not in outcomes
    if verdict.verdict == NOT_BLESSED:
        assert FAIL in outcomes
    if not has_baseline:
        assert all(r.outcome == NO_BASELINE for r in verdict.results if r.bound == "not_below_baseline_by")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_an_overall_number_that_is_none_is_not_judged(number: float) -> None:
    verdict = judge([AUC], [measured(number)], has_baseline=False)
    assert verdict.verdict == NOT_JUDGED
    assert [result.outcome for result in verdict.results] == [UNDEFINED]
    assert "undefined" in verdict.reasons[0]


def test_a_metric_that_was_not_measured_overall_is_not_judged() -> None:
    gate = replace(AUC, slices=(("gender",),))
    assert judge([gate], [], has_baseline=False).reasons == ("auc was not measured",)
    verdict = judge([gate], [measured(0.9, MALE)], has_baseline=False)
    assert verdict.verdict == NOT_JUDGED


def test_an_unmeasured_metric_outweighs_a_failure_and_both_are_told() -> None:
    verdict = judge([AUC, Gate("log_loss", at_most=0.5)], [measured(0.1)], has_baseline=False)
    assert verdict.verdict == NOT_JUDGED
    assert verdict.reasons[0] == "log_loss was not measured"
    assert verdict.reasons[1].startswith("overall: auc 0.1000")


def test_a_difference_that_is_none_is_not_judged_where_there_is_a_baseline() -> None:
    gate = Gate("auc", not_below_baseline_by=0.01)
    assert judge([gate], [measured(0.9, difference=math.nan)], has_baseline=True).verdict == NOT_JUDGED
    assert judge([gate], [measured(0.9)], has_baseline=True).verdict == NOT_JUDGED


def test_a_slice_whose_number_is_none_is_reported_and_does_not_decide() -> None:
    gate = replace(AUC, slices=(("gender",),))
    verdict = judge([gate], [measured(0.7), measured(math.nan, MALE)], has_baseline=False)
    assert verdict.verdict == BLESSED
    assert [(result.slice, result.outcome) for result in verdict.results] == [((), PASS), (MALE, UNDEFINED)]


@pytest.mark.parametrize(("examples", "outcome"), [(199, TOO_FEW), (200, FAIL)])
def test_a_slice_with_too_few_examples_is_reported_and_not_judged(examples: int, outcome: str) -> None:
    gate = replace(AUC, slices=(("gender",),), smallest_slice=200)
    verdict = judge([gate], [measured(0.7), measured(0.1, MALE, examples)], has_baseline=False)
    assert [result.outcome for result in verdict.results] == [PASS, outcome]
    assert verdict.verdict == (BLESSED if outcome == TOO_FEW else NOT_BLESSED)


def test_the_overall_slice_is_judged_however_few_examples_it_has() -> None:
    assert judge([AUC], [measured(0.5, examples=3)], has_baseline=False).verdict == NOT_BLESSED


def test_a_slice_that_no_gate_names_is_not_judged() -> None:
    crossed: SliceKey = (("gender", "M"), ("age", "18"))
    gate = replace(AUC, slices=(("gender",),))
    found = [measured(0.7), measured(0.1, (("age", "18"),)), measured(0.1, crossed)]
    verdict = judge([gate], found, has_baseline=False)
    assert verdict.verdict == BLESSED
    assert len(verdict.results) == 1
    assert judge([replace(gate, slices=(("gender", "age"),))], found, False).verdict == NOT_BLESSED


def test_an_absolute_bound_is_held_against_the_number_itself_overall_and_the_bound_itself_passes() -> None:
    for value, verdict in ((0.6, BLESSED), (0.5999, NOT_BLESSED)):
        one = Measurement("auc", (), 1000, Interval(value, 0.1, 0.99))
        assert judge([AUC], [one], has_baseline=False).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "bound", "lower", "upper", "outcome"),
    [
        ("auc", "at_least", 0.40, 0.61, PASS),  # merely noisy
        ("auc", "at_least", 0.40, 0.59, FAIL),  # surely bad
        ("log_loss", "at_most", 0.59, 0.90, PASS),
        ("log_loss", "at_most", 0.61, 0.90, FAIL),
    ],
)
def test_an_absolute_bound_fails_on_a_slice_only_when_it_is_surely_bad(
    metric: str, bound: str, lower: float, upper: float, outcome: str
) -> None:
    slices = (("gender",),)
    gate = (
        Gate(metric, at_least=0.6, slices=slices) if bound == "at_least" else Gate(metric, at_most=0.6, slices=slices)
    )
    good = 0.9 if bound == "at_least" else 0.1
    found = [
        measured(good, metric=metric),
        Measurement(metric, MALE, 500, Interval(0.5 if bound == "at_least" else 0.7, lower, upper)),
    ]
    assert judge([gate], found, has_baseline=False).results[1].outcome == outcome


def test_a_slice_without_an_interval_is_decided_by_its_number() -> None:
    gate = replace(AUC, slices=(("gender",),))
    assert judge([gate], [measured(0.7), measured(0.59, MALE)], has_baseline=False).verdict == NOT_BLESSED
    assert judge([gate], [measured(0.7), measured(0.61, MALE)], has_baseline=False).verdict == BLESSED


@pytest.mark.parametrize(
    ("metric", "difference", "outcome"),
    [
        ("auc", Interval(-0.02, -0.04, -0.011), FAIL),  # all of it beyond the bound
        ("auc", Interval(-0.02, -0.04, -0.009), PASS),  # perhaps within
        ("auc", Interval(0.2, 0.1, 0.3), PASS),
        ("auc", Interval(-0.011), FAIL),
        ("auc", Interval(-0.01), PASS),
        ("log_loss", Interval(0.02, 0.011, 0.04), FAIL),
        ("log_loss", Interval(0.02, 0.009, 0.04), PASS),
        ("log_loss", Interval(-0.2, -0.3, -0.1), PASS),
        ("log_loss", Interval(0.011), FAIL),
        ("calibration_error", Interval(0.011), FAIL),
    ],
)
def test_a_bound_against_the_baseline_follows_the_metrics_direction(
    metric: str, difference: Interval, outcome: str
) -> None:
    gate = Gate(metric, not_below_baseline_by=0.01)
    verdict = judge([gate], [Measurement(metric, (), 1000, Interval(0.5), difference)], has_baseline=True)
    (result,) = verdict.results
    assert result.outcome == outcome
    assert result.measured == difference
    assert result.limit == (-0.01 if metric == "auc" else 0.01)
    assert verdict.verdict == (BLESSED if outcome == PASS else NOT_BLESSED)


def test_without_a_baseline_its_bound_is_not_judged_and_the_verdict_says_so() -> None:
    gate = Gate("auc", at_least=0.6, not_below_baseline_by=0.01)
    verdict = judge([gate], [measured(0.7)], has_baseline=False)
    assert [(result.bound, result.outcome) for result in verdict.results] == [
        ("at_least", PASS),
        ("not_below_baseline_by", NO_BASELINE),
    ]
    assert verdict.reasons == ("all 1 bounds hold; the first model of its task: there is no baseline to compare with",)
    assert "baseline" not in judge([gate], [measured(0.7, difference=0.0)], has_baseline=True).reasons[0]


def test_a_failure_is_told_in_a_sentence_with_its_numbers() -> None:
    gate = Gate("auc", at_least=0.6, not_below_baseline_by=0.01, slices=(("gender",),))
    overall = Measurement("auc", (), 1000, Interval(0.7, 0.6, 0.8), Interval(0.0))
    male = Measurement("auc", MALE, 300, Interval(0.5, 0.45, 0.55), Interval(-0.2, -0.3, -0.1))
    assert judge([gate], [overall, male], has_baseline=True).reasons == (
        "gender=M: auc 0.5000 [0.4500, 0.5500], at_least 0.6, 300 examples: fail",
        "gender=M: auc minus baseline's -0.2000 [-0.3000, -0.1000], not_below_baseline_by -0.01, 300 examples: fail",
    )
