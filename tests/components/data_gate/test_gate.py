from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from components.data_gate.gate import judge
from components.data_gate.report import Finding, GateReport
from components.data_gate.window_checks import SpanStatistics

MakeSpan = Callable[..., SpanStatistics]
ROWS = 200


def _judge(spans: Sequence[SpanStatistics], schema: schema_pb2.Schema, **options: Any) -> GateReport:
    previous = spans[-2] if len(spans) > 1 else None
    return judge(spans, previous, schema, "TRAINING", label="liked", **options)


def _only(report: GateReport) -> Finding:
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


def test_good_records_pass_without_findings_and_with_their_drift(
    make_span: MakeSpan, schema: schema_pb2.Schema
) -> None:
    report = _judge([make_span(6), make_span(7)], schema)
    assert report.passed
    assert report.findings == ()
    assert report.rows == {6: {"train": 200, "eval": 60}, 7: {"train": 200, "eval": 60}}
    assert [(drift.feature, drift.measure, str(drift.verdict)) for drift in report.drifts] == [
        ("age", "jensen_shannon", "OK"),
        ("gender", "l_infinity", "OK"),
    ]
    assert [drift.threshold for drift in report.drifts] == pytest.approx([0.2, 0.1])
    assert all(drift.value == pytest.approx(0, abs=1e-6) for drift in report.drifts)
    assert all((drift.span, drift.previous) == (7, 6) for drift in report.drifts)


def test_a_single_span_has_nothing_to_drift_from(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(7)], schema)
    assert (report.passed, report.drifts) == (True, ())


@pytest.mark.parametrize(
    ("changed", "kind", "expected", "came", "rows"),
    [
        ({"age": None}, "SCHEMA_MISSING_COLUMN", "a column of INT", "no record has a value in it", ROWS),
        (
            {"extra": [1] * ROWS},
            "SCHEMA_NEW_COLUMN",
            "only columns of the schema",
            "a column of INT that the schema does not know",
            ROWS,
        ),
        ({"age": [b"old"] * ROWS}, "UNEXPECTED_DATA_TYPE", "INT", "STRING", ROWS),
        ({"age": [500] + [30] * 199}, "INT_TYPE_BIG_INT", "1 to 120", "30 to 500", None),
        ({"age": [-2] + [30] * 199}, "INT_TYPE_SMALL_INT", "1 to 120", "-2 to 30", None),
        (
            {"age": [None] * 10 + [30] * 190},
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            "a value in at least 100.0% of rows",
            "a value in 95.0%",
            10,
        ),
        (
            {"gender": [b"X"] * 30 + [b"F"] * 85 + [b"M"] * 85},
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            "one of F, M in at least 90.0% of values",
            "'X' x 30",
            30,
        ),
        ({"score": [float("nan")] * 3 + [1.0] * 197}, "FLOAT_TYPE_HAS_NAN", "finite numbers", "NaN", 3),
        ({"score": [float("inf")] + [1.0] * 199}, "FLOAT_TYPE_HAS_INF", "finite numbers", "infinity", None),
        (
            {"title": [b"\xff"] * 4 + [b"a"] * 196},
            "ENUM_TYPE_INVALID_UTF8",
            "text in UTF-8",
            "bytes that are not UTF-8",
            4,
        ),
    ],
)
def test_a_violation_of_the_schema_is_an_error_with_what_was_expected_and_what_came(
    make_span: MakeSpan,
    schema: schema_pb2.Schema,
    changed: dict[str, Any],
    kind: str,
    expected: str,
    came: str,
    rows: int | None,
) -> None:
    report = _judge([make_span(7, **changed)], schema)
    finding = _only(report)
    assert not report.passed
    assert finding == Finding("ERROR", kind, next(iter(changed)), 7, "train", expected, came, rows)


def test_a_feature_with_a_shape_must_be_in_every_row(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    finding = _only(_judge([make_span(7, score=[None] * 20 + [1.0] * 180)], schema))
    assert finding.kind == "INVALID_FEATURE_SHAPE"
    assert finding.expected == "exactly 1 values in every row (it has a shape)"
    assert finding.came == "1 to 1 values, and none in 20 rows"


def test_values_outside_a_domain_pass_within_its_mass(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    assert _judge([make_span(7, gender=[b"X"] * 10 + [b"F"] * 95 + [b"M"] * 95)], schema).findings == ()


def test_raw_bytes_of_a_feature_without_a_text_domain_are_fine(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    assert _judge([make_span(7, photo=[bytes([255, row % 256]) for row in range(ROWS)])], schema).passed


def test_an_error_in_an_older_span_stops_the_line(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(5), make_span(6, score=[float("nan")] * ROWS), make_span(7)], schema)
    assert [(finding.span, finding.kind) for finding in report.errors] == [(6, "FLOAT_TYPE_HAS_NAN")]


def test_a_violation_among_held_out_records_is_found_there(
    make_statistics: Callable[..., Any], schema: schema_pb2.Schema
) -> None:
    span = SpanStatistics(7, {"train": make_statistics(), "eval": make_statistics(60, age=[500] * 60)})
    assert _only(_judge([span], schema)).split == "eval"


@pytest.mark.parametrize(("share_of_men", "verdict"), [(0.5, "OK"), (0.65, "WARNING"), (0.75, "ERROR")])
def test_drift_warns_above_its_threshold_and_stops_above_twice_of_it(
    make_span: MakeSpan, schema: schema_pb2.Schema, share_of_men: float, verdict: str
) -> None:
    men = int(ROWS * share_of_men)
    report = _judge([make_span(6), make_span(7, gender=[b"M"] * men + [b"F"] * (ROWS - men))], schema)
    drift = next(drift for drift in report.drifts if drift.feature == "gender")
    assert drift.value == pytest.approx(share_of_men - 0.5, abs=1e-6)
    assert drift.verdict == verdict
    assert [finding.severity for finding in report.findings] == ([] if verdict == "OK" else [verdict])
    assert report.passed == (verdict != "ERROR")


def test_the_factor_that_turns_drift_into_an_error_is_an_option(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    spans = [make_span(6), make_span(7, gender=[b"M"] * 150 + [b"F"] * 50)]
    assert _judge(spans, schema, drift_error_factor=3.0).passed


def test_a_comparator_that_cannot_be_measured_is_said_and_does_not_stop(
    make_span: MakeSpan, schema: schema_pb2.Schema
) -> None:
    changed = schema_pb2.Schema()
    changed.CopyFrom(schema)
    changed.feature[0].drift_comparator.infinity_norm.threshold = 0.1
    report = _judge([make_span(6), make_span(7)], changed)
    assert _only(report).kind == "DRIFT_NOT_MEASURED"
    assert report.passed
    assert report.drifts[0].verdict == "NOT_MEASURED"


def test_a_feature_that_the_span_before_lacked_has_no_drift_rather_than_none(
    make_span: MakeSpan, schema: schema_pb2.Schema
) -> None:
    report = _judge([make_span(6, gender=None), make_span(7)], schema)
    assert [drift.verdict for drift in report.drifts if drift.feature == "gender"] == ["NOT_MEASURED"]


def test_a_span_without_records_is_an_error_wherever_it_is(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(5), make_span(6, rows=0, held_out=0), make_span(7)], schema)
    assert [(finding.span, finding.kind) for finding in report.errors] == [(6, "EMPTY_SPAN")]
    assert report.drifts[0].verdict == "NOT_MEASURED"


def test_a_newest_span_without_held_out_records_is_an_error(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(6, held_out=0), make_span(7, held_out=0)], schema)
    assert [(finding.span, finding.kind) for finding in report.findings] == [(7, "NO_EVALUATION_RECORDS")]


def test_a_window_without_training_records_is_an_error(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    assert [finding.kind for finding in _judge([make_span(7, rows=0)], schema).errors] == ["NO_TRAINING_RECORDS"]


def test_an_older_span_of_one_record_is_a_warning(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(5, rows=1, held_out=0), make_span(6), make_span(7)], schema)
    assert (_only(report).kind, _only(report).severity, _only(report).span) == ("ONE_ROW_SPAN", "WARNING", 5)


def test_a_newest_span_of_one_record_cannot_be_evaluated_on(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    kinds = [finding.kind for finding in _judge([make_span(6), make_span(7, rows=1, held_out=0)], schema).errors]
    assert "NO_EVALUATION_RECORDS" in kinds


def test_a_label_that_never_changes_in_the_window_is_an_error(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(6, liked=[1] * ROWS), make_span(7, liked=[1] * ROWS)], schema)
    assert [(found.kind, found.span, found.came) for found in report.errors] == [
        ("CONSTANT_LABEL", None, "every record says 1: there is nothing to learn")
    ]


def test_a_label_that_differs_between_spans_only_is_no_error(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    assert _judge([make_span(6, liked=[0] * ROWS), make_span(7, liked=[1] * ROWS)], schema).passed


def test_a_newest_span_of_unseen_values_only_is_a_warning_where_there_is_no_domain(
    make_span: MakeSpan, schema: schema_pb2.Schema
) -> None:
    report = _judge([make_span(6), make_span(7, zip=[f"7{row % 3}".encode() for row in range(ROWS)])], schema)
    finding = _only(report)
    assert (finding.kind, finding.severity, finding.feature) == ("ONLY_UNSEEN_VALUES", "WARNING", "zip")
    assert finding.came == "3 values, all of them new, such as '70'"


def test_a_newest_span_of_unseen_values_only_is_an_error_where_a_domain_is_curated(
    make_span: MakeSpan, schema: schema_pb2.Schema
) -> None:
    report = _judge([make_span(6), make_span(7, gender=[b"X"] * ROWS)], schema)
    assert "ENUM_TYPE_UNEXPECTED_STRING_VALUES" in {finding.kind for finding in report.errors}


def test_the_report_reads_as_a_table_and_as_plain_values(make_span: MakeSpan, schema: schema_pb2.Schema) -> None:
    report = _judge([make_span(6), make_span(7, age=[500] * ROWS)], schema)
    text = report.as_text("clicks")
    assert text.startswith("Data gate of clicks: STOPPED, ")
    row = next(line for line in text.splitlines() if "INT_TYPE_BIG_INT" in line)
    assert row.split() == ["ERROR", "7", "train", "age", "INT_TYPE_BIG_INT", "-", "1", "to", "120", "500", "to", "500"]
    assert "Drift of span 7 against span 6" in text
    plain = report.as_dict()
    assert plain["verdict"] == "STOPPED"
    assert plain["rows"] == {"6": {"train": 200, "eval": 60}, "7": {"train": 200, "eval": 60}}
