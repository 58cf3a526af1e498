"""schemas/clicks.pbtxt against the real spans: they pass, and what should stop a line does."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.records import columns_of, read_span, required_features
from data.ensure import ensure
from data.spans import list_spans

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schemas" / "clicks.pbtxt"
SCHEMA = text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema())


@pytest.fixture(scope="module")
def spans() -> list[pa.RecordBatch]:
    return [next(read_span(span.files, SCHEMA)) for span in list_spans(ensure("clicks"))]


@pytest.fixture(scope="module")
def statistics(spans: list[pa.RecordBatch]) -> list[Any]:
    return [summary(batch) for batch in spans]


def summary(batch: pa.RecordBatch) -> Any:
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory

    return generate_statistics_in_memory(batch, tfdv.StatsOptions(schema=SCHEMA))


def anomalies(statistics: Any, previous: Any = None, environment: str = "TRAINING") -> dict[str, str]:
    import tensorflow_data_validation as tfdv

    found = tfdv.validate_statistics(statistics, SCHEMA, environment=environment, previous_statistics=previous)
    assert not found.dataset_anomaly_info.reason
    return {name: info.short_description for name, info in found.anomaly_info.items()}


def values(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(name).flatten()


def test_the_schema_knows_each_column_of_the_real_spans(spans: list[pa.RecordBatch]) -> None:
    assert {column.name: column.kind for column in columns_of(SCHEMA)} == {
        "user_id": "BYTES", "item_id": "BYTES", "age": "INT", "gender": "BYTES", "occupation": "BYTES",
        "zip_area": "BYTES", "release_year": "INT", "genres": "BYTES", "timestamp": "INT", "liked": "INT",
    }  # fmt: skip
    assert [column.name for column in columns_of(SCHEMA) if column.several] == ["genres"]
    assert sum(batch.num_rows for batch in spans) == 100_000


def test_a_client_sends_neither_the_label_nor_the_timestamp() -> None:
    assert required_features(SCHEMA) - required_features(SCHEMA, "SERVING") == {"liked", "timestamp"}


def test_every_real_span_passes_and_drifts_within_bounds_from_the_one_before(statistics: list[Any]) -> None:
    found = [anomalies(now, before) for before, now in zip([None, *statistics], statistics, strict=False)]
    assert found == [{}] * 16


def test_records_without_label_and_timestamp_pass_as_serving_data_only(spans: list[pa.RecordBatch]) -> None:
    sent = summary(spans[9].select([name for name in spans[9].schema.names if name not in ("liked", "timestamp")]))
    assert anomalies(sent, environment="SERVING") == {}
    assert anomalies(sent) == {"liked": "Column dropped", "timestamp": "Column dropped"}


def keep(batch: pa.RecordBatch, name: str, value: Any) -> pa.RecordBatch:
    return batch.filter(pc.equal(values(batch, name), value))


PLANTED = {
    "gender": lambda batch: keep(batch, "gender", b"F"),
    "occupation": lambda batch: keep(batch, "occupation", b"student"),
    "age": lambda batch: batch.filter(pc.greater(values(batch, "age"), 45)),
    "genres": lambda batch: batch.filter(pa.array([b"Drama" in row for row in batch.column("genres").to_pylist()])),
    "liked": lambda batch: batch.filter(_fewer_likes(batch)),
}


def _fewer_likes(batch: pa.RecordBatch) -> pa.Array:
    """Drops two likes in three: the like rate falls from 0.54 to about 0.28."""
    liked = values(batch, "liked").to_numpy()
    return pa.array((liked == 0) | (np.arange(len(liked)) % 3 == 0))


@pytest.mark.parametrize("feature", PLANTED)
def test_a_planted_shift_is_found_in_its_feature(
    feature: str, spans: list[pa.RecordBatch], statistics: list[Any]
) -> None:
    assert feature in anomalies(summary(PLANTED[feature](spans[9])), statistics[8])


@pytest.mark.parametrize(
    ("feature", "value"),
    [("age", 1970), ("gender", b"?"), ("occupation", b"astronaut"), ("release_year", 0), ("timestamp", 874724710000),
     ("liked", 2), ("liked", None), ("user_id", None)],
)  # fmt: skip
def test_one_wrong_value_in_a_span_is_found(feature: str, value: Any, spans: list[pa.RecordBatch]) -> None:
    batch = spans[9]
    wrong = pa.array([None if value is None else [value]], batch.column(feature).type)
    column = pa.concat_arrays([wrong, batch.column(feature)[1:]])
    changed = batch.set_column(batch.schema.get_field_index(feature), feature, column)
    assert list(anomalies(summary(changed))) == [feature]


def test_users_and_items_never_seen_before_are_no_anomaly(spans: list[pa.RecordBatch], statistics: list[Any]) -> None:
    batch = spans[9]
    for name in ("user_id", "item_id"):
        fresh = pc.binary_join_element_wise(b"new", values(batch, name), b"-")
        column = pa.ListArray.from_arrays(pa.array(range(batch.num_rows + 1), pa.int32()), fresh)
        batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    assert anomalies(summary(batch), statistics[8]) == {}
