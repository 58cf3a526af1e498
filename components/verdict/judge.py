"""The verdict as a pure function: gates and measurements in, BLESSED, NOT_BLESSED or NOT_JUDGED with reasons out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from components.verdict.gates import HIGHER_IS_BETTER, Gate

BLESSED, NOT_BLESSED, NOT_JUDGED = "BLESSED", "NOT_BLESSED", "NOT_JUDGED"
PASS, FAIL, TOO_FEW, NO_BASELINE, UNDEFINED = "pass", "fail", "too few", "no baseline", "undefined"

SliceKey = tuple[tuple[str, str], ...]  # ((feature, value), ...); () is the overall slice


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % confidence interval; the bounds are NaN where there is none."""

    value: float
    lower: float = math.nan
    upper: float = math.nan


@dataclass(frozen=True)
class Measurement:
    """What TFMA measured of one metric on one slice.

    Attributes:
        metric: a name of METRICS.
        slice: () overall.
        examples: evaluated examples in the slice.
        candidate: the model just trained.
        difference: candidate minus baseline; None without a baseline.
    """

    metric: str
    slice: SliceKey
    examples: int
    candidate: Interval
    difference: Interval | None = None


@dataclass(frozen=True)
class GateResult:
    """One bound of one gate on one slice, judged.

    Attributes:
        metric, slice, examples: of the measurement.
        bound: `at_least`, `at_most` or `not_below_baseline_by`.
        limit: the bound's value.
        measured: the number that the bound was held against, with its interval.
        outcome: PASS, FAIL, TOO_FEW (reported, not judged), NO_BASELINE or UNDEFINED (not a number).
    """

    metric: str
    slice: SliceKey
    examples: int
    bound: str
    limit: float
    measured: Interval
    outcome: str

    @property
    def sentence(self) -> str:
        """What happened, in a sentence with its numbers."""
        where = " and ".join(f"{feature}={value}" for feature, value in self.slice) or "overall"
        number = f"{self.measured.value:.4f} [{self.measured.lower:.4f}, {self.measured.upper:.4f}]"
        what = f"{self.metric} minus baseline's" if self.bound == "not_below_baseline_by" else self.metric
        return f"{where}: {what} {number}, {self.bound} {self.limit:g}, {self.examples} examples: {self.outcome}"


@dataclass(frozen=True)
class Verdict:
    """The decision about one candidate.

    Attributes:
        verdict: BLESSED, NOT_BLESSED or NOT_JUDGED.
        reasons: why, a sentence each; never empty.
        results: every bound that was looked at.
        has_baseline: whether there was a blessed model to compare with.
    """

    verdict: str
    reasons: tuple[str, ...]
    results: tuple[GateResult, ...]
    has_baseline: bool


def judge(gates: Iterable[Gate], measurements: Iterable[Measurement], has_baseline: bool) -> Verdict:
    """Holds every bound of every gate against what was measured.

    An absolute bound is held against the measured number overall, and on a slice against the end of its interval that
    speaks for the model: a small slice fails when it is surely bad, not when it is merely noisy. A bound against the
    baseline fails when the candidate is surely worse than allowed: the whole interval of the difference lies beyond
    the bound. Where there is no interval the number itself decides.

    Returns:
        NOT_JUDGED when an overall number that a gate needs was not measured or is not finite; else NOT_BLESSED when a
        bound failed; else BLESSED.
    """
    measured = list(measurements)
    results: list[GateResult] = []
    missing: list[str] = []
    for gate in gates:
        wanted = [one for one in measured if one.metric == gate.metric and _demanded(gate, one.slice)]
        if not any(one.slice == () for one in wanted):
            missing.append(f"{gate.metric} was not measured")
        results += [result for one in wanted for result in _judge_one(gate, one, has_baseline)]
    missing += [result.sentence for result in results if result.outcome == UNDEFINED and result.slice == ()]
    failed = [result.sentence for result in results if result.outcome == FAIL]
    if missing:
        return Verdict(NOT_JUDGED, tuple(missing + failed), tuple(results), has_baseline)
    if failed:
        return Verdict(NOT_BLESSED, tuple(failed), tuple(results), has_baseline)
    passed = sum(result.outcome == PASS for result in results)
    reason = f"all {passed} bounds hold"
    if not has_baseline:
        reason += "; the first model of its task: there is no baseline to compare with"
    return Verdict(BLESSED, (reason,), tuple(results), has_baseline)


def _demanded(gate: Gate, key: SliceKey) -> bool:
    return key == () or tuple(feature for feature, _ in key) in gate.slices


def _judge_one(gate: Gate, one: Measurement, has_baseline: bool) -> list[GateResult]:
    higher = gate.metric in HIGHER_IS_BETTER
    rows: list[tuple[str, float, Interval, bool]] = []  # bound, limit, measured, whether higher is better
    if gate.at_least is not None:
        rows.append(("at_least", gate.at_least, one.candidate, True))
    if gate.at_most is not None:
        rows.append(("at_most", gate.at_most, one.candidate, False))
    if gate.not_below_baseline_by is not None:
        limit = -gate.not_below_baseline_by if higher else gate.not_below_baseline_by
        rows.append(("not_below_baseline_by", limit, one.difference or Interval(math.nan), higher))
    return [
        GateResult(gate.metric, one.slice, one.examples, bound, limit, measured,
                   _outcome(gate, one, bound, limit, measured, upwards, has_baseline))
        for bound, limit, measured, upwards in rows
    ]  # fmt: skip


def _outcome(
    gate: Gate, one: Measurement, bound: str, limit: float, measured: Interval, upwards: bool, has_baseline: bool
) -> str:
    against_baseline = bound == "not_below_baseline_by"
    if against_baseline and not has_baseline:
        return NO_BASELINE
    if one.slice and one.examples < gate.smallest_slice:
        return TOO_FEW
    deciding = measured.value
    if against_baseline or one.slice:
        favourable = measured.upper if upwards else measured.lower
        deciding = favourable if math.isfinite(favourable) else measured.value
    if not math.isfinite(deciding):
        return UNDEFINED
    return PASS if (deciding >= limit if upwards else deciding <= limit) else FAIL
