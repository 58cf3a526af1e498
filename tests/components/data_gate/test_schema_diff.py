from collections.abc import Callable

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate.schema_diff import SchemaChange, schema_diff

MakeStatistics = Callable[..., statistics_pb2.DatasetFeatureStatisticsList]
TRANSFORMED = {"age": ["age_z", "age_bucket"], "gender": ["gender_id"]}
GATES = {"gender": ["auc by gender"]}


def test_records_that_fit_propose_nothing(schema: schema_pb2.Schema, make_statistics: MakeStatistics) -> None:
    diff = schema_diff(text_format.MessageToString(schema), [make_statistics(), make_statistics(0)])
    assert (diff.text, diff.changes) == ("", ())


def test_a_new_value_is_proposed_as_a_diff_that_names_what_it_touches(
    schema: schema_pb2.Schema, make_statistics: MakeStatistics
) -> None:
    text = text_format.MessageToString(schema)
    genders = [b"X"] * 60 + [b"F"] * 140
    diff = schema_diff(
        text,
        [make_statistics(200, gender=genders, extra=[1] * 200)],
        name="schemas/clicks.pbtxt",
        transformed=TRANSFORMED,
        models=["clicks"],
        gates=GATES,
    )
    assert diff.text.splitlines()[:2] == [
        "--- schemas/clicks.pbtxt (curated)",
        "+++ schemas/clicks.pbtxt (proposed)",
    ]
    added = [line for line in diff.text.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert any('value: "X"' in line for line in added)
    assert diff.changes == (
        SchemaChange("gender", "changed", ("gender_id",), ("clicks",), ("auc by gender",)),
        SchemaChange("extra", "added", (), (), ()),
    )
    proposed = text_format.Parse(diff.proposed, schema_pb2.Schema())
    assert [feature.name for feature in proposed.feature][-1] == "extra"


def test_both_splits_are_accepted_by_the_proposal(schema: schema_pb2.Schema, make_statistics: MakeStatistics) -> None:
    text = text_format.MessageToString(schema)
    held_out = make_statistics(60, gender=[b"Z"] * 60)
    diff = schema_diff(text, [make_statistics(200, gender=[b"X"] * 200), held_out])
    assert "Z" in diff.proposed
    assert "X" in diff.proposed
