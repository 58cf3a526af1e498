"""TFDV's anomalies in a user's words: what was expected, what came, how many rows."""

from collections.abc import Callable
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import path_pb2, schema_pb2, statistics_pb2

__all__ = [
    "COUNT_KINDS",
    "MISSING_KINDS",
    "RANGE_KINDS",
    "SHAPE_KINDS",
    "TYPE_KINDS",
    "Facts",
    "domain_values",
    "features_by_name",
    "stats_by_name",
    "wording",
]

SHOWN_VALUES = 8
MISSING_KINDS = ("SCHEMA_MISSING_COLUMN", "FEATURE_TYPE_NOT_PRESENT")
TYPE_KINDS = (
    "UNEXPECTED_DATA_TYPE",
    "ENUM_TYPE_INT_NOT_STRING",
    "ENUM_TYPE_FLOAT_NOT_STRING",
    "ENUM_TYPE_BYTES_NOT_STRING",
    "INT_TYPE_INT_EXPECTED",
    "INT_TYPE_STRING_EXPECTED",
    "INT_TYPE_NOT_STRING",
    "INT_TYPE_NOT_INT_STRING",
    "FLOAT_TYPE_NOT_FLOAT",
    "FLOAT_TYPE_STRING_NOT_FLOAT",
    "FLOAT_TYPE_NON_STRING",
    "STRING_TYPE_NOW_INT",
    "STRING_TYPE_NOW_FLOAT",
)
RANGE_KINDS = ("INT_TYPE_BIG_INT", "INT_TYPE_SMALL_INT", "FLOAT_TYPE_BIG_FLOAT", "FLOAT_TYPE_SMALL_FLOAT")
COUNT_KINDS = (
    "FEATURE_TYPE_HIGH_NUMBER_VALUES",
    "FEATURE_TYPE_LOW_NUMBER_VALUES",
    "FEATURE_TYPE_NO_VALUES",
    "FEATURE_TYPE_UNEXPECTED_REPEATED",
)
SHAPE_KINDS = ("INVALID_FEATURE_SHAPE",)


@dataclass(frozen=True)
class Facts:
    """What is known about one feature in one split.

    Attributes:
        feature: its entry in the schema; None where the schema does not know it.
        domain: the values that its string domain allows; None where it has none.
        stats: its statistics; None where no record has the column.
        rows: records in the split.
        said: TFDV's own description.
    """

    feature: schema_pb2.Feature | None
    domain: tuple[str, ...] | None
    stats: statistics_pb2.FeatureNameStatistics | None
    rows: int
    said: str

    @property
    def common(self) -> statistics_pb2.CommonStatistics:
        """Counts that statistics of every type have; zeros where there are no statistics."""
        if self.stats is None:
            return statistics_pb2.CommonStatistics()
        kind = self.stats.WhichOneof("stats")
        return getattr(self.stats, kind).common_stats if kind else statistics_pb2.CommonStatistics()


Words = tuple[str, str, int | None]


def wording(kind: str, facts: Facts) -> Words:
    """(expected, came, rows) of an anomaly; what came is TFDV's description where nothing better is known."""
    for kinds, words in _WORDS:
        if kind in kinds:
            return words(facts)
    return "what the schema says", facts.said, None


def domain_values(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> tuple[str, ...] | None:
    """The strings that `feature` may hold, by its own domain or a shared one; None where it has neither."""
    if feature.HasField("string_domain"):
        return tuple(feature.string_domain.value)
    shared = {domain.name: tuple(domain.value) for domain in schema.string_domain}
    return shared.get(feature.domain) if feature.HasField("domain") else None


def features_by_name(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    """The schema's features, by name."""
    return {feature.name: feature for feature in schema.feature}


def stats_by_name(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """One split's statistics, by feature; empty where there are no records."""
    features = statistics.datasets[0].features if statistics.datasets else []
    return {_name(feature.path): feature for feature in features}


def _name(path: path_pb2.Path) -> str:
    return ".".join(path.step)


def _type_in_schema(facts: Facts) -> str:
    return schema_pb2.FeatureType.Name(facts.feature.type) if facts.feature else "unknown"


def _type_in_records(facts: Facts) -> str:
    return statistics_pb2.FeatureNameStatistics.Type.Name(facts.stats.type) if facts.stats else "none"


def _missing_column(facts: Facts) -> Words:
    return f"a column of {_type_in_schema(facts)}", "no record has a value in it", facts.rows


def _new_column(facts: Facts) -> Words:
    came = f"a column of {_type_in_records(facts)} that the schema does not know"
    return "only columns of the schema", came, facts.common.num_non_missing


def _low_presence(facts: Facts) -> Words:
    least = facts.feature.presence.min_fraction if facts.feature else 0.0
    share = facts.common.num_non_missing / facts.rows if facts.rows else 0.0
    missing = facts.rows - facts.common.num_non_missing
    return f"a value in at least {least:.1%} of rows", f"a value in {share:.1%}", missing


def _low_count(facts: Facts) -> Words:
    least = facts.feature.presence.min_count if facts.feature else 0
    return f"a value in at least {least:,} rows", f"a value in {facts.common.num_non_missing:,}", None


def _wrong_type(facts: Facts) -> Words:
    return _type_in_schema(facts), _type_in_records(facts), facts.common.num_non_missing


def _unexpected_strings(facts: Facts) -> Words:
    allowed = facts.domain or ()
    buckets = facts.stats.string_stats.rank_histogram.buckets if facts.stats else []
    unexpected = [(bucket.label, int(bucket.sample_count)) for bucket in buckets if bucket.label not in allowed]
    came = _listed([f"{label!r} x {count}" for label, count in unexpected])
    mass = facts.feature.distribution_constraints.min_domain_mass if facts.feature else 1.0
    share = "" if mass >= 1.0 else f" in at least {mass:.1%} of values"
    return f"one of {_listed(list(allowed))}{share}", came, sum(count for _, count in unexpected)


def _invalid_utf8(facts: Facts) -> Words:
    count = facts.stats.string_stats.invalid_utf8_count if facts.stats else 0
    return "text in UTF-8", "bytes that are not UTF-8", int(count) or None


def _not_a_number(facts: Facts) -> Words:
    histograms = facts.stats.num_stats.histograms if facts.stats else []
    return "finite numbers", "NaN", max((int(histogram.num_nan) for histogram in histograms), default=0) or None


def _infinite(facts: Facts) -> Words:
    return "finite numbers", "infinity", None


def _out_of_range(facts: Facts) -> Words:
    domain = getattr(facts.feature, facts.feature.WhichOneof("domain_info") or "int_domain") if facts.feature else None
    numbers = facts.stats.num_stats if facts.stats else statistics_pb2.NumericStatistics()
    low = f"{domain.min:g}" if domain is not None and domain.HasField("min") else "any"
    high = f"{domain.max:g}" if domain is not None and domain.HasField("max") else "any"
    return f"{low} to {high}", f"{numbers.min:g} to {numbers.max:g}", None


def _value_count(facts: Facts) -> Words:
    counts = facts.feature.value_count if facts.feature else schema_pb2.ValueCount()
    low = f"{counts.min}" if counts.HasField("min") else "0"
    high = f"{counts.max}" if counts.HasField("max") else "any number of"
    came = f"{facts.common.min_num_values} to {facts.common.max_num_values} values"
    return f"{low} to {high} values in a row", came, None


def _wrong_shape(facts: Facts) -> Words:
    size = "x".join(str(dim.size) for dim in facts.feature.shape.dim) if facts.feature else ""
    missing = facts.rows - facts.common.num_non_missing
    came = f"{facts.common.min_num_values} to {facts.common.max_num_values} values, and none in {missing:,} rows"
    return f"exactly {size or '1'} values in every row (it has a shape)", came, None


def _listed(items: list[str]) -> str:
    shown = ", ".join(items[:SHOWN_VALUES])
    return shown if len(items) <= SHOWN_VALUES else f"{shown} and {len(items) - SHOWN_VALUES:,} more"


_WORDS: tuple[tuple[tuple[str, ...], Callable[[Facts], Words]], ...] = (
    (MISSING_KINDS, _missing_column),
    (("SCHEMA_NEW_COLUMN",), _new_column),
    (("FEATURE_TYPE_LOW_FRACTION_PRESENT",), _low_presence),
    (("FEATURE_TYPE_LOW_NUMBER_PRESENT",), _low_count),
    (TYPE_KINDS, _wrong_type),
    (("ENUM_TYPE_UNEXPECTED_STRING_VALUES",), _unexpected_strings),
    (("ENUM_TYPE_INVALID_UTF8",), _invalid_utf8),
    (("FLOAT_TYPE_HAS_NAN",), _not_a_number),
    (("FLOAT_TYPE_HAS_INF",), _infinite),
    (RANGE_KINDS, _out_of_range),
    (COUNT_KINDS, _value_count),
    (SHAPE_KINDS, _wrong_shape),
)
