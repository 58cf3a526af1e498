"""The data gate's judgement: statistics in, a report out. Knows TFDV, not TFX."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.data_gate.report import Drift, Finding, GateReport, Severity
from components.data_gate.window_checks import (
    SpanStatistics,
    label_findings,
    row_count,
    size_findings,
    unseen_findings,
)
from components.data_gate.wording import Facts, domain_values, features_by_name, stats_by_name, wording

__all__ = ["judge"]

Measurement = anomalies_pb2.DriftSkewInfo.Measurement
MEASURES = {
    Measurement.L_INFTY: "l_infinity",
    Measurement.JENSEN_SHANNON_DIVERGENCE: "jensen_shannon",
    Measurement.NORMALIZED_ABSOLUTE_DIFFERENCE: "normalized_difference",
}
COMPARATORS = {
    "infinity_norm": "l_infinity",
    "jensen_shannon_divergence": "jensen_shannon",
    "normalized_abs_difference": "normalized_difference",
}
MEASURED_AS_DRIFT = (
    "COMPARATOR_L_INFTY_HIGH",
    "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
    "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH",
)
WARNINGS = ("COMPARATOR_CONTROL_DATA_MISSING", "COMPARATOR_TREATMENT_DATA_MISSING", "STATS_NOT_AVAILABLE")
WRONG_TYPE, TOO_FEW = "UNEXPECTED_DATA_TYPE", "FEATURE_TYPE_LOW_FRACTION_PRESENT"
TEXT_DOMAINS = ("domain", "string_domain", "natural_language_domain", "url_domain", "mid_domain")


def judge(
    spans: Sequence[SpanStatistics],
    previous: SpanStatistics | None,
    schema: schema_pb2.Schema,
    environment: str | None,
    *,
    label: str,
    drift_error_factor: float = 2.0,
) -> GateReport:
    """Judge a window of spans against the curated schema, and its newest span against the one before.

    Each split of each span is validated by itself. A violation of the schema is an ERROR in any span; NaN and
    infinity are violations whether or not the schema forbids them, and so are bytes that are not UTF-8 in a feature
    whose domain is text. Drift is a WARNING above its threshold and an ERROR above `drift_error_factor` times it.
    Splits without records are not validated; what an empty one means is in `window_checks`.

    Args:
        spans: the window, ascending, at least one; each has a split `train` and may have `eval`.
        previous: what the newest span's training split is compared with; None skips drift.
        schema: the curated schema.
        environment: one of the schema's default environments; None where it declares none.
        label: the raw feature that holds the answer.
        drift_error_factor: at least 1.
    """
    strict, newest = _without_nonfinite(schema), spans[-1]
    anomalies = {
        (span.span, split): tfdv.validate_statistics(
            _nonempty(statistics),
            strict,
            environment=environment,
            previous_statistics=_control(previous, statistics) if span is newest and split == "train" else None,
        )
        for span in spans
        for split, statistics in span.splits.items()
    }
    drifts = _drifts(anomalies[newest.span, "train"], strict, newest, previous, drift_error_factor)
    findings = [
        *size_findings(spans),
        *(found for span in spans for found in _schema_findings(span, anomalies, strict)),
        *label_findings(spans, label),
        *unseen_findings(spans, strict),
        *_drift_findings(drifts),
    ]
    return GateReport(
        rows={span.span: {split: row_count(statistics) for split, statistics in span.splits.items()} for span in spans},
        findings=tuple(sorted(findings, key=lambda found: (found.severity, found.span is None, found.span or 0))),
        drifts=drifts,
        anomalies=anomalies,
    )


def _without_nonfinite(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema with NaN and infinity forbidden in every feature of floats."""
    strict = schema_pb2.Schema()
    strict.CopyFrom(schema)
    for feature in strict.feature:
        if feature.type == schema_pb2.FLOAT and feature.WhichOneof("domain_info") in (None, "float_domain"):
            feature.float_domain.disallow_nan = True
            feature.float_domain.disallow_inf = True
    return strict


def _nonempty(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV refuses a list without a dataset, which is how statistics of no records may look."""
    if statistics.datasets:
        return statistics
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics_pb2.DatasetFeatureStatistics()])


def _control(
    previous: SpanStatistics | None, statistics: statistics_pb2.DatasetFeatureStatisticsList
) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    """What drift is measured against; None where either side is empty."""
    if previous is None or not row_count(previous.splits["train"]) or not row_count(statistics):
        return None
    return previous.splits["train"]


def _schema_findings(
    span: SpanStatistics,
    anomalies: Mapping[tuple[int, str], anomalies_pb2.Anomalies],
    schema: schema_pb2.Schema,
) -> Iterator[Finding]:
    features = features_by_name(schema)
    for split, statistics in span.splits.items():
        stats, rows = stats_by_name(statistics), row_count(statistics)
        if not rows:
            continue
        for name, info in sorted(anomalies[span.span, split].anomaly_info.items()):
            path = ".".join(info.path.step) or name
            feature = features.get(path)
            domain = domain_values(schema, feature) if feature else None
            for kind, said in _reasons(info).items():
                severity: Severity = "WARNING" if kind in WARNINGS else "ERROR"
                words = wording(kind, Facts(feature, domain, stats.get(path), rows, said))
                yield Finding(severity, kind, path, span.span, split, *words)
        yield from _undecodable(span.span, split, features, stats, anomalies[span.span, split])


def _reasons(info: anomalies_pb2.AnomalyInfo) -> dict[str, str]:
    """TFDV's description by anomaly type, without drift, and without what only follows from another reason."""
    reasons = {anomalies_pb2.AnomalyInfo.Type.Name(reason.type): reason.description for reason in info.reason}
    if WRONG_TYPE in reasons:
        return {WRONG_TYPE: reasons[WRONG_TYPE]}
    if TOO_FEW in reasons:
        reasons.pop("INVALID_FEATURE_SHAPE", None)
    return {kind: said for kind, said in reasons.items() if kind not in MEASURED_AS_DRIFT}


def _undecodable(
    span: int,
    split: str,
    features: Mapping[str, schema_pb2.Feature],
    stats: Mapping[str, statistics_pb2.FeatureNameStatistics],
    anomalies: anomalies_pb2.Anomalies,
) -> Iterator[Finding]:
    """Text features with bytes that are not UTF-8 where TFDV itself has not said so."""
    kind = "ENUM_TYPE_INVALID_UTF8"
    for name, feature in features.items():
        reasons = anomalies.anomaly_info[name].reason if name in anomalies.anomaly_info else []
        said = any(anomalies_pb2.AnomalyInfo.Type.Name(reason.type) == kind for reason in reasons)
        found = stats.get(name)
        if found is None or said or feature.WhichOneof("domain_info") not in TEXT_DOMAINS:
            continue
        if found.string_stats.invalid_utf8_count:
            rows = int(found.string_stats.invalid_utf8_count)
            yield Finding("ERROR", kind, name, span, split, "text in UTF-8", "bytes that are not UTF-8", rows)


def _drifts(
    anomalies: anomalies_pb2.Anomalies,
    schema: schema_pb2.Schema,
    newest: SpanStatistics,
    previous: SpanStatistics | None,
    error_factor: float,
) -> tuple[Drift, ...]:
    """Every comparator that the schema has, in the schema's order."""
    if previous is None:
        return ()
    now, before = stats_by_name(newest.splits["train"]), stats_by_name(previous.splits["train"])
    measured = {
        (".".join(info.path.step), MEASURES[found.type]): float(found.value)
        for info in anomalies.drift_skew_info
        for found in info.drift_measurements
        if _measurable(MEASURES[found.type], now.get(".".join(info.path.step)), before.get(".".join(info.path.step)))
    }
    return tuple(
        _drift(feature.name, measure, measured.get((feature.name, measure)), threshold, error_factor, newest, previous)
        for feature in schema.feature
        for measure, threshold in _thresholds(feature.drift_comparator)
    )


def _measurable(
    measure: str,
    now: statistics_pb2.FeatureNameStatistics | None,
    before: statistics_pb2.FeatureNameStatistics | None,
) -> bool:
    """Whether TFDV's distance means anything: where values were not counted, or one side has none, it says 0."""
    kinds = {stats.WhichOneof("stats") for stats in (now, before) if stats is not None}
    there = now is not None and before is not None and len(kinds) == 1
    return there and (measure != "l_infinity" or kinds == {"string_stats"})


def _thresholds(comparator: Any) -> list[tuple[str, float]]:
    return [
        (measure, float(getattr(comparator, name).threshold))
        for name, measure in COMPARATORS.items()
        if comparator.HasField(name)
    ]


def _drift(
    feature: str,
    measure: str,
    value: float | None,
    threshold: float,
    error_factor: float,
    newest: SpanStatistics,
    previous: SpanStatistics,
) -> Drift:
    if value is None:
        return Drift(feature, measure, None, threshold, "NOT_MEASURED", newest.span, previous.span)
    if value <= threshold:
        return Drift(feature, measure, value, threshold, "OK", newest.span, previous.span)
    verdict: Severity = "ERROR" if value > error_factor * threshold else "WARNING"
    return Drift(feature, measure, value, threshold, verdict, newest.span, previous.span)


def _drift_findings(drifts: Sequence[Drift]) -> Iterator[Finding]:
    for drift in drifts:
        if drift.verdict in ("ERROR", "WARNING") and drift.value is not None:
            severity: Severity = "ERROR" if drift.verdict == "ERROR" else "WARNING"
            expected = f"{drift.measure} to span {drift.previous} at most {drift.threshold:g}"
            kind, came = "DRIFT", f"{drift.value:.4f}"
            yield Finding(severity, kind, drift.feature, drift.span, "train", expected, came)
        elif drift.verdict == "NOT_MEASURED":
            expected = f"{drift.measure} to span {drift.previous}"
            came = "statistics do not allow it (whole numbers need is_categorical and statistics by the schema)"
            yield Finding("WARNING", "DRIFT_NOT_MEASURED", drift.feature, drift.span, "train", expected, came)
