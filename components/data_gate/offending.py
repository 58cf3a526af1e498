"""The records that an anomaly is about: counted exactly, and a few of them to look at."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2

from components.data_gate.report import Finding
from components.data_gate.wording import (
    COUNT_KINDS,
    MISSING_KINDS,
    RANGE_KINDS,
    SHAPE_KINDS,
    TYPE_KINDS,
    domain_values,
    features_by_name,
)

__all__ = ["counted", "offending_rows", "sample_lines"]

Mask = NDArray[np.bool_]


def offending_rows(finding: Finding, batch: pa.RecordBatch, schema: schema_pb2.Schema) -> Mask | None:
    """Which rows of one split a finding is about, bool [rows]; None where a finding is about no row in particular.

    `batch` has one list column a feature, null where the value is missing, as tfx_bsl decodes tf.Examples.
    """
    feature = features_by_name(schema).get(finding.feature)
    at = batch.schema.get_field_index(finding.feature)
    for kinds, rows_of in _ROWS:
        if finding.kind in kinds:
            if at < 0:  # a column that no record has, all of them lack
                return np.ones(batch.num_rows, np.bool_) if rows_of is _missing else None
            return rows_of(batch.column(at), feature, schema)
    return None


def counted(finding: Finding, batch: pa.RecordBatch, schema: schema_pb2.Schema) -> Finding:
    """The finding with its exact number of rows in `batch`, where rows can be told."""
    rows = offending_rows(finding, batch, schema)
    return finding if rows is None else replace(finding, rows=int(rows.sum()))


def sample_lines(finding: Finding, batch: pa.RecordBatch, schema: schema_pb2.Schema, most: int) -> Iterator[str]:
    """The first `most` offending records as JSON lines: where, why, and the record with every column.

    `row` counts from 0 in the split. Missing values are null, bytes that are not UTF-8 are {"base64": ...}; NaN and
    infinity are strings, for JSON has no such numbers.
    """
    rows = offending_rows(finding, batch, schema)
    for row in [] if rows is None else np.flatnonzero(rows)[:most].tolist():
        record = {name: _readable(batch.column(at)[row].as_py()) for at, name in enumerate(batch.schema.names)}
        where: dict[str, Any] = {"span": finding.span, "split": finding.split, "row": row}
        yield json.dumps({**where, "feature": finding.feature, "kind": finding.kind, "record": record})


def _readable(value: Any) -> Any:
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value


def _any_value(column: pa.Array, bad: Mask) -> Mask:
    """From which values are bad, bool [values], to which rows hold one, bool [rows]."""
    rows = np.zeros(len(column), np.bool_)
    rows[pc.list_parent_indices(column).to_numpy(zero_copy_only=False)[bad]] = True
    return rows


def _values(column: pa.Array) -> pa.Array:
    return pc.list_flatten(column)


def _missing(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False), np.bool_)


def _present(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _outside_domain(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    values = _values(column)
    allowed = (domain_values(schema, feature) if feature else None) or ()
    inside = pc.is_in(values, value_set=pa.array([value.encode() for value in allowed], values.type))
    return _any_value(column, ~inside.to_numpy(zero_copy_only=False))


def _not_utf8(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    distinct = _values(column).dictionary_encode()
    bad = np.array([not _decodes(value) for value in distinct.dictionary.to_pylist()], np.bool_)
    return _any_value(column, bad[distinct.indices.to_numpy()])


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _nan(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    return _any_value(column, np.isnan(_values(column).to_numpy(zero_copy_only=False)))


def _infinite(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    return _any_value(column, np.isinf(_values(column).to_numpy(zero_copy_only=False)))


def _out_of_range(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    values = _values(column).to_numpy(zero_copy_only=False)
    domain = getattr(feature, feature.WhichOneof("domain_info") or "int_domain") if feature else None
    low = domain.min if domain is not None and domain.HasField("min") else -np.inf
    high = domain.max if domain is not None and domain.HasField("max") else np.inf
    return _any_value(column, (values < low) | (values > high))


def _wrong_count(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    counts = feature.value_count if feature else schema_pb2.ValueCount()
    high = counts.max if counts.HasField("max") else np.inf
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)  # NaN where the value is missing
    return np.asarray((lengths < counts.min) | (lengths > high), np.bool_)


def _wrong_shape(column: pa.Array, feature: schema_pb2.Feature | None, schema: schema_pb2.Schema) -> Mask:
    size = math.prod(dim.size for dim in feature.shape.dim) if feature else 1
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(lengths != size, np.bool_)


_Rows = Callable[[pa.Array, schema_pb2.Feature | None, schema_pb2.Schema], Mask]
_ROWS: tuple[tuple[tuple[str, ...], _Rows], ...] = (
    ((*MISSING_KINDS, "FEATURE_TYPE_LOW_FRACTION_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT"), _missing),
    (("SCHEMA_NEW_COLUMN", *TYPE_KINDS), _present),
    (("ENUM_TYPE_UNEXPECTED_STRING_VALUES",), _outside_domain),
    (("ENUM_TYPE_INVALID_UTF8",), _not_utf8),
    (("FLOAT_TYPE_HAS_NAN",), _nan),
    (("FLOAT_TYPE_HAS_INF",), _infinite),
    (RANGE_KINDS, _out_of_range),
    (COUNT_KINDS, _wrong_count),
    (SHAPE_KINDS, _wrong_shape),
)
