import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from components.data_gate.offending import counted, offending_rows, sample_lines
from components.data_gate.report import Finding

MakeBatch = Callable[..., pa.RecordBatch]


def _finding(feature: str, kind: str) -> Finding:
    return Finding("ERROR", kind, feature, 7, "train", "", "")


@pytest.mark.parametrize(
    ("feature", "kind", "values", "rows"),
    [
        ("age", "FEATURE_TYPE_LOW_FRACTION_PRESENT", [None, 3, None, 4], [0, 2]),
        ("age", "INT_TYPE_BIG_INT", [121, 3, 120, 500], [0, 3]),
        ("age", "UNEXPECTED_DATA_TYPE", [b"a", None, b"b", b"c"], [0, 2, 3]),
        ("age", "INVALID_FEATURE_SHAPE", [1, None, 2, 3], [1]),
        ("gender", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", [b"F", b"X", None, b"m"], [1, 3]),
        ("title", "ENUM_TYPE_INVALID_UTF8", [b"\xff", "é".encode(), b"", None], [0]),
        ("score", "FLOAT_TYPE_HAS_NAN", [float("nan"), 1.0, float("inf"), None], [0]),
        ("score", "FLOAT_TYPE_HAS_INF", [float("nan"), 1.0, float("-inf"), None], [2]),
        ("extra", "SCHEMA_NEW_COLUMN", [1, None, 2, None], [0, 2]),
    ],
)
def test_the_rows_of_a_finding_are_those_that_break_the_schema(
    make_batch: MakeBatch, schema: schema_pb2.Schema, feature: str, kind: str, values: list[Any], rows: list[int]
) -> None:
    batch = make_batch(4, **{feature: values})
    mask = offending_rows(_finding(feature, kind), batch, schema)
    assert mask is not None
    assert mask.nonzero()[0].tolist() == rows
    assert counted(_finding(feature, kind), batch, schema).rows == len(rows)


def test_one_bad_value_among_several_makes_a_row_bad(schema: schema_pb2.Schema) -> None:
    lists = pa.array([[b"F", b"X"], [b"F", b"M"], []], pa.list_(pa.binary()))
    batch = pa.RecordBatch.from_pydict({"gender": lists})
    mask = offending_rows(_finding("gender", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"), batch, schema)
    assert mask is not None
    assert mask.tolist() == [True, False, False]


def test_every_row_lacks_a_column_that_is_not_there(make_batch: MakeBatch, schema: schema_pb2.Schema) -> None:
    assert counted(_finding("age", "SCHEMA_MISSING_COLUMN"), make_batch(4, age=None), schema).rows == 4


def test_a_finding_about_no_row_in_particular_keeps_its_count(make_batch: MakeBatch, schema: schema_pb2.Schema) -> None:
    assert counted(_finding("age", "DRIFT"), make_batch(4), schema) == _finding("age", "DRIFT")


def test_a_sample_shows_where_why_and_the_whole_record(make_batch: MakeBatch, schema: schema_pb2.Schema) -> None:
    batch = make_batch(4, score=[1.0, float("nan"), 2.0, float("nan")], zip=[None, None, b"", b"x"])
    lines = list(sample_lines(_finding("score", "FLOAT_TYPE_HAS_NAN"), batch, schema, most=1))
    assert len(lines) == 1
    shown = json.loads(lines[0])
    assert {name: shown[name] for name in ("span", "split", "row", "feature", "kind")} == {
        "span": 7,
        "split": "train",
        "row": 1,
        "feature": "score",
        "kind": "FLOAT_TYPE_HAS_NAN",
    }
    assert shown["record"]["score"] == ["nan"]
    assert shown["record"]["zip"] is None
    assert shown["record"]["photo"] == [{"base64": "/9gA"}]
