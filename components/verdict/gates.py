"""What a task demands of a model before it may answer traffic."""

from dataclasses import dataclass

HIGHER_IS_BETTER = ("auc", "accuracy", "precision", "recall")
LOWER_IS_BETTER = ("log_loss", "calibration_error")
METRICS = HIGHER_IS_BETTER + LOWER_IS_BETTER


@dataclass(frozen=True)
class Gate:
    """One demand on one metric; every bound given must hold, overall and on each value of each slice.

    Attributes:
        metric: one of METRICS.
        at_least: the smallest value that passes, for a metric where higher is better.
        at_most: the largest value that passes, for a metric where lower is better.
        not_below_baseline_by: how much worse than the baseline the candidate may be, in the metric's unit (>= 0);
            "worse" follows the metric's direction. Not judged where there is no baseline.
        slices: feature names to slice by, one tuple a slice; `(("gender",),)` judges each gender too.
        smallest_slice: slices with fewer examples are reported and not judged.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    not_below_baseline_by: float | None = None
    slices: tuple[tuple[str, ...], ...] = ()
    smallest_slice: int = 200

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"Gate.metric is one of {', '.join(METRICS)}; got {self.metric!r}")
        if self.at_least is None and self.at_most is None and self.not_below_baseline_by is None:
            raise ValueError(f"Gate({self.metric!r}) demands nothing: give at_least, at_most or not_below_baseline_by")
        wrong = "at_most" if self.metric in HIGHER_IS_BETTER else "at_least"
        if getattr(self, wrong) is not None:
            better = "higher" if self.metric in HIGHER_IS_BETTER else "lower"
            raise ValueError(f"Gate({self.metric!r}).{wrong}: {better} is better for this metric, use the other bound")
        if self.not_below_baseline_by is not None and self.not_below_baseline_by < 0:
            raise ValueError(
                f"Gate({self.metric!r}).not_below_baseline_by is at least 0; got {self.not_below_baseline_by}"
            )
        if self.smallest_slice < 1:
            raise ValueError(f"Gate({self.metric!r}).smallest_slice is at least 1; got {self.smallest_slice}")
