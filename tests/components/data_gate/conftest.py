"""Statistics of small spans, made by TFDV from columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate.window_checks import SpanStatistics

SCHEMA = """
feature { name: "user" type: INT presence { min_fraction: 1 } shape {} }
feature {
  name: "age" type: INT presence { min_fraction: 1 } shape {} int_domain { min: 1 max: 120 }
  drift_comparator { jensen_shannon_divergence { threshold: 0.2 } }
}
feature {
  name: "gender" type: BYTES presence { min_fraction: 1 } shape {} string_domain { value: "F" value: "M" }
  distribution_constraints { min_domain_mass: 0.9 }
  drift_comparator { infinity_norm { threshold: 0.1 } }
}
feature { name: "zip" type: BYTES }
feature { name: "title" type: BYTES natural_language_domain {} }
feature { name: "photo" type: BYTES }
feature { name: "score" type: FLOAT presence { min_fraction: 0.5 } shape {} }
feature { name: "liked" type: INT presence { min_fraction: 1 } shape {} int_domain { min: 0 max: 1 } }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
TYPES = {
    "user": pa.int64(),
    "age": pa.int64(),
    "gender": pa.binary(),
    "zip": pa.binary(),
    "title": pa.binary(),
    "photo": pa.binary(),
    "score": pa.float32(),
    "liked": pa.int64(),
}
Columns = Mapping[str, Sequence[Any] | None]


@pytest.fixture(scope="session")
def schema() -> schema_pb2.Schema:
    return text_format.Parse(SCHEMA, schema_pb2.Schema())


def good_columns(rows: int) -> dict[str, list[Any]]:
    at = range(rows)
    return {
        "user": [row % 50 for row in at],
        "age": [20 + row % 40 for row in at],
        "gender": [b"FM"[row % 2 : row % 2 + 1] for row in at],
        "zip": [f"9{row % 10}".encode() for row in at],
        "title": [f"story {row % 5}".encode() for row in at],
        "photo": [b"\xff\xd8\x00" for _ in at],
        "score": [row / 10 for row in at],
        "liked": [row % 2 for row in at],
    }


MakeBatch = Callable[..., pa.RecordBatch]


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """Good records, list columns, with the columns given in place of theirs (None leaves one out)."""

    def make(rows: int = 200, **changed: Sequence[Any] | None) -> pa.RecordBatch:
        columns: dict[str, Sequence[Any] | None] = {**good_columns(rows), **changed}
        arrays = {
            name: pa.array([None if value is None else [value] for value in values], pa.list_(_type(name, values)))
            for name, values in columns.items()
            if values is not None
        }
        return pa.RecordBatch.from_pydict(arrays)

    return make


def _type(name: str, values: Sequence[Any]) -> pa.DataType:
    inferred = pa.array([value for value in values if value is not None]).type
    return TYPES[name] if name in TYPES and inferred.id == TYPES[name].id else _narrow(name, inferred)


def _narrow(name: str, inferred: pa.DataType) -> pa.DataType:
    return pa.float32() if pa.types.is_floating(inferred) else inferred


MakeStatistics = Callable[..., statistics_pb2.DatasetFeatureStatisticsList]


@pytest.fixture(scope="session")
def make_statistics(make_batch: MakeBatch) -> MakeStatistics:
    def make(rows: int = 200, **changed: Sequence[Any] | None) -> statistics_pb2.DatasetFeatureStatisticsList:
        if rows == 0:
            empty = statistics_pb2.DatasetFeatureStatistics()
            return statistics_pb2.DatasetFeatureStatisticsList(datasets=[empty])
        with np.errstate(invalid="ignore"):
            return stats_impl.generate_statistics_in_memory(make_batch(rows, **changed), tfdv.StatsOptions())

    return make


MakeSpan = Callable[..., SpanStatistics]


@pytest.fixture(scope="session")
def make_span(make_statistics: MakeStatistics) -> MakeSpan:
    """A span of good records whose training split has the columns given, and whose eval split has `held_out` rows."""

    def make(span: int, rows: int = 200, held_out: int = 60, **changed: Sequence[Any] | None) -> SpanStatistics:
        return SpanStatistics(span, {"train": make_statistics(rows, **changed), "eval": make_statistics(held_out)})

    return make
