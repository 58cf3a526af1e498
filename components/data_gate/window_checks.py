"""What TFDV does not look at: sizes of spans, a label that never changes, categories never seen before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate.report import Finding
from components.data_gate.wording import features_by_name, stats_by_name

__all__ = ["SpanStatistics", "label_findings", "row_count", "size_findings", "unseen_findings"]

CLOSED_DOMAINS = ("domain", "string_domain", "bool_domain")
UNPRINTABLE = "__BYTES_VALUE__"  # how TFDV counts values that are not UTF-8


@dataclass(frozen=True)
class SpanStatistics:
    """One span's statistics, by split (`train`, `eval`)."""

    span: int
    splits: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]


def row_count(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    """Records that the statistics were made of."""
    return sum(int(dataset.num_examples) for dataset in statistics.datasets)


def size_findings(spans: Sequence[SpanStatistics]) -> Iterator[Finding]:
    """Empty spans, a window without training records, a newest span without evaluation records, spans of one record."""
    for span in spans:
        rows = sum(row_count(split) for split in span.splits.values())
        if rows == 0:
            yield Finding("ERROR", "EMPTY_SPAN", "", span.span, "", "records", "none", 0)
        if rows == 1:
            yield Finding("WARNING", "ONE_ROW_SPAN", "", span.span, "", "records to learn from", "a single record", 1)
    newest = spans[-1]
    if "eval" in newest.splits and row_count(newest.splits["eval"]) == 0:
        expected = "records to evaluate on in the newest span"
        came = "no value of the split feature fell into the held-out part: more records, or a smaller holdout"
        yield Finding("ERROR", "NO_EVALUATION_RECORDS", "", newest.span, "eval", expected, came, 0)
    if sum(row_count(span.splits["train"]) for span in spans) == 0:
        yield Finding("ERROR", "NO_TRAINING_RECORDS", "", None, "train", "records to train on", "none in any span", 0)


def label_findings(spans: Sequence[SpanStatistics], label: str) -> Iterator[Finding]:
    """A label with one value in all training records is an error; with one in the evaluation records, a warning."""
    trained = [stats_by_name(span.splits["train"]).get(label) for span in spans]
    values = {value for feature in trained for value in _extremes(feature)}
    if len(values) == 1:
        rows = sum(row_count(span.splits["train"]) for span in spans)
        came = f"every record says {values.pop()}: there is nothing to learn"
        yield Finding("ERROR", "CONSTANT_LABEL", label, None, "train", "at least two answers", came, rows)
    newest = spans[-1]
    held_out = newest.splits.get("eval", statistics_pb2.DatasetFeatureStatisticsList())
    values = set(_extremes(stats_by_name(held_out).get(label)))
    if len(values) == 1:
        came = f"every held-out record says {values.pop()}: AUC has no meaning there"
        rows = row_count(held_out)
        yield Finding("WARNING", "CONSTANT_LABEL", label, newest.span, "eval", "at least two answers", came, rows)


def unseen_findings(spans: Sequence[SpanStatistics], schema: schema_pb2.Schema) -> Iterator[Finding]:
    """Strings without a domain of which the newest span's training records hold none that an older span held.

    Not judged where the older spans hold more values than their statistics list, for then absence proves nothing.
    """
    newest, older = spans[-1], spans[:-1]
    now = stats_by_name(newest.splits["train"])
    for name, feature in features_by_name(schema).items():
        if feature.type != schema_pb2.BYTES or feature.WhichOneof("domain_info") in CLOSED_DOMAINS or name not in now:
            continue
        before = [stats_by_name(span.splits["train"]).get(name) for span in older]
        known = [stats for stats in before if stats is not None and stats.string_stats.unique]
        if not known or not all(_complete(stats) for stats in known):
            continue
        seen = {label for stats in known for label in _labels(stats)}
        came = _labels(now[name])
        if came and not came & seen and UNPRINTABLE not in came:
            expected = f"some of the {len(seen):,} values of the spans before"
            told = f"{len(came):,} values, all of them new, such as {min(came)!r}"
            rows = row_count(newest.splits["train"])
            yield Finding("WARNING", "ONLY_UNSEEN_VALUES", name, newest.span, "train", expected, told, rows)


def _extremes(feature: statistics_pb2.FeatureNameStatistics | None) -> tuple[str, ...]:
    """The values that a label takes, or only the least and the greatest of its numbers; none without records."""
    if feature is None:
        return ()
    if feature.WhichOneof("stats") == "num_stats":
        numbers = feature.num_stats
        return (f"{numbers.min:g}", f"{numbers.max:g}") if numbers.common_stats.num_non_missing else ()
    return tuple(_labels(feature))


def _labels(feature: statistics_pb2.FeatureNameStatistics) -> set[str]:
    return {bucket.label for bucket in feature.string_stats.rank_histogram.buckets}


def _complete(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    return len(feature.string_stats.rank_histogram.buckets) >= int(feature.string_stats.unique)
