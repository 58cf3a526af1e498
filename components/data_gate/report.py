"""What the data gate found, as data, as JSON and as a table for the screen. Imports nothing heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Drift", "Finding", "GateReport", "Severity", "table"]

Severity = Literal["ERROR", "WARNING"]
WIDEST_CELL = 60
FINDING_HEADER = ("severity", "span", "split", "feature", "kind", "rows", "expected", "came")
DRIFT_HEADER = ("feature", "measure", "value", "threshold", "verdict")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        severity: ERROR stops the line.
        kind: TFDV's anomaly type, or one of the gate's own.
        feature: the raw feature; empty where the finding is about a whole span.
        span: where; None for the whole window.
        split: `train` or `eval`; empty for the whole span.
        expected: what the schema, or common sense, asks for.
        came: what the records hold.
        rows: how many records; None where statistics cannot tell.
    """

    severity: Severity
    kind: str
    feature: str
    span: int | None
    split: str
    expected: str
    came: str
    rows: int | None = None


@dataclass(frozen=True)
class Drift:
    """One comparator of one feature, the newest span against the one before it (training splits).

    Attributes:
        measure: `l_infinity` or `jensen_shannon` (both 0 to 1), or `normalized_difference`.
        value: the distance; None where it could not be measured.
        threshold: the schema's.
        verdict: OK, WARNING or ERROR, or NOT_MEASURED.
    """

    feature: str
    measure: str
    value: float | None
    threshold: float
    verdict: Literal["OK", "WARNING", "ERROR", "NOT_MEASURED"]
    span: int
    previous: int


@dataclass(frozen=True)
class GateReport:
    """All that the gate saw of one window.

    Attributes:
        rows: records by span (ascending) and split.
        findings: errors first, then by span.
        drifts: every comparator, passed or not; empty where there is no span before the newest.
        anomalies: TFDV's Anomalies by (span, split), as they are for SchemaDiff.pb.
    """

    rows: Mapping[int, Mapping[str, int]]
    findings: tuple[Finding, ...]
    drifts: tuple[Drift, ...]
    anomalies: Mapping[tuple[int, str], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def newest(self) -> int:
        """The newest span of the window."""
        return max(self.rows)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop the line."""
        return tuple(finding for finding in self.findings if finding.severity == "ERROR")

    @property
    def passed(self) -> bool:
        """Whether the line may go on."""
        return not self.errors

    @property
    def verdict(self) -> str:
        """PASSED or STOPPED."""
        return "PASSED" if self.passed else "STOPPED"

    def as_dict(self) -> dict[str, Any]:
        """For report.json and the ledger: plain values only."""
        return {
            "verdict": self.verdict,
            "newest_span": self.newest,
            "rows": {str(span): dict(splits) for span, splits in self.rows.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "drift": [asdict(drift) for drift in self.drifts],
        }

    def as_text(self, task: str) -> str:
        """For people: the verdict in one line, then what was found, then the drift."""
        spans, errors = list(self.rows), len(self.errors)
        total = sum(sum(splits.values()) for splits in self.rows.values())
        window = f"span {spans[0]}" if len(spans) == 1 else f"{len(spans)} spans, {spans[0]} to {spans[-1]}"
        lines = [
            f"Data gate of {task}: {self.verdict}, {errors} errors, {len(self.findings) - errors} warnings "
            f"({window}, {total:,} rows)"
        ]
        if self.findings:
            lines += ["", *table(FINDING_HEADER, [_finding_cells(finding) for finding in self.findings])]
        if self.drifts:
            title = f"Drift of span {self.newest} against span {self.drifts[0].previous}"
            lines += ["", title, *table(DRIFT_HEADER, [_drift_cells(drift) for drift in self.drifts])]
        return "\n".join(lines) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of left-aligned columns; a cell wider than WIDEST_CELL characters is cut, but for the last two columns."""
    whole = len(header) - 2
    cut = [[_cut(cell) if at < whole else cell for at, cell in enumerate(row)] for row in (header, *rows)]
    widths = [max(len(row[at]) for row in cut) for at in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cut]


def _cut(cell: str) -> str:
    return cell if len(cell) <= WIDEST_CELL else cell[: WIDEST_CELL - 3] + "..."


def _finding_cells(finding: Finding) -> tuple[str, ...]:
    return (
        finding.severity,
        "window" if finding.span is None else str(finding.span),
        finding.split or "-",
        finding.feature or "-",
        finding.kind,
        "-" if finding.rows is None else f"{finding.rows:,}",
        finding.expected,
        finding.came,
    )


def _drift_cells(drift: Drift) -> tuple[str, ...]:
    value = "-" if drift.value is None else f"{drift.value:.4f}"
    return (drift.feature, drift.measure, value, f"{drift.threshold:.4f}", drift.verdict)
