"""Columns that a user's files have and the curated schema does not: the one place where types are inferred."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

SNIFFED_BYTES = 1 << 20


def with_newcomers(files: Sequence[Path], schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema, with an optional feature for every unknown column of the first file, so that it can be read.

    Types are what Arrow makes of the first MiB of a CSV or JSON lines file: good enough for a proposal that a person
    reviews. Features keep to a list of values, as many as there are.
    """
    known = {feature.name for feature in schema.feature}
    extended = schema_pb2.Schema()
    extended.CopyFrom(schema)
    for name, kind in _columns(files[0]):
        if name not in known:
            extended.feature.add(name=name, type=kind, value_count=schema_pb2.ValueCount(min=0, max=1 << 31))
    return extended


def _columns(file: Path) -> Iterator[tuple[str, int]]:
    suffixes = {suffix.lower() for suffix in file.suffixes}
    if {".tfrecord", ".tfrecords"} & suffixes:
        yield from _tfrecord_columns(file)
        return
    for field in _arrow_schema(file, suffixes):
        yield field.name, _kind(field.type)


def _arrow_schema(file: Path, suffixes: set[str]) -> pa.Schema:
    if ".parquet" in suffixes:
        import pyarrow.parquet as pq

        return pq.read_schema(file)
    with pa.input_stream(file) as stream:
        head = stream.read(SNIFFED_BYTES)
    head = head[: head.rfind(b"\n") + 1] or head
    if ".csv" in suffixes:
        import pyarrow.csv as pa_csv

        return pa_csv.read_csv(pa.BufferReader(head)).schema
    import pyarrow.json as pa_json

    return pa_json.read_json(pa.BufferReader(head)).schema


def _kind(type_: pa.DataType) -> int:
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return _kind(type_.value_type)
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_):
        return int(schema_pb2.INT)
    return int(schema_pb2.FLOAT) if pa.types.is_floating(type_) else int(schema_pb2.BYTES)


def _tfrecord_columns(file: Path) -> Iterator[tuple[str, int]]:
    import tensorflow as tf

    compression = "GZIP" if file.read_bytes()[:2] == b"\x1f\x8b" else ""
    kinds = {"bytes_list": schema_pb2.BYTES, "int64_list": schema_pb2.INT, "float_list": schema_pb2.FLOAT}
    for record in tf.data.TFRecordDataset(str(file), compression).take(1).as_numpy_iterator():
        for name, feature in tf.train.Example.FromString(record).features.feature.items():
            if feature.WhichOneof("kind"):
                yield name, int(kinds[feature.WhichOneof("kind")])
