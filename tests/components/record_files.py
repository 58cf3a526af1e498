"""Writes the same records in each of the four formats, the way a user's own program would."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

SCHEMA = text_format.Parse(
    """
    feature { name: "text" type: BYTES presence { min_count: 1 } shape { dim { size: 1 } } }
    feature { name: "count" type: INT shape { dim { size: 1 } } }
    feature { name: "score" type: FLOAT value_count { min: 1 max: 1 } }
    feature { name: "texts" type: BYTES value_count { min: 0 } }
    feature { name: "counts" type: INT value_count { min: 0 max: 9 } }
    feature { name: "scores" type: FLOAT value_count { min: 0 max: 9 } }
    """,
    schema_pb2.Schema(),
)
_ARROW = {
    "text": pa.binary(),
    "count": pa.int64(),
    "score": pa.float32(),
    "texts": pa.list_(pa.binary()),
    "counts": pa.list_(pa.int64()),
    "scores": pa.list_(pa.float32()),
}

Record = Mapping[str, Any]


def write_parquet(folder: Path, records: Sequence[Record]) -> Path:
    """One column a feature; None is null."""
    columns = {name: pa.array([record[name] for record in records], kind) for name, kind in _ARROW.items()}
    pq.write_table(pa.table(columns), folder / "records.parquet")
    return folder / "records.parquet"


def write_csv(folder: Path, records: Sequence[Record]) -> Path:
    """Text is always quoted, so that the empty text differs from a missing one."""
    rows = [b",".join(_csv_field(record[name]) for name in _ARROW) for record in records]
    (folder / "records.csv").write_bytes(b"\n".join([",".join(_ARROW).encode(), *rows, b""]))
    return folder / "records.csv"


def write_json_lines(folder: Path, records: Sequence[Record]) -> Path:
    """Missing values are left out; bytes that are no text are {"b64": ...}."""
    rows = [{name: _json_value(value) for name, value in record.items() if value is not None} for record in records]
    # One key at least: a record of nothing but missing values.
    lines = [json.dumps({"text": None} | row) for row in rows]
    (folder / "records.jsonl").write_text("\n".join([*lines, ""]))
    return folder / "records.jsonl"


def write_tfrecord(folder: Path, records: Sequence[Record]) -> Path:
    """Missing values are left out."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(folder / "records.tfrecord.gz"), "GZIP") as writer:
        for record in records:
            features = {name: _feature(name, value) for name, value in record.items() if value is not None}
            # Written even if no record has it, as the schema requires the column.
            features.setdefault("text", tf.train.Feature())
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return folder / "records.tfrecord.gz"


WRITERS: Mapping[str, Callable[[Path, Sequence[Record]], Path]] = {
    "parquet": write_parquet,
    "csv": write_csv,
    "json lines": write_json_lines,
    "tfrecord": write_tfrecord,
}


def _csv_field(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, list):
        joined = b"|".join(one if isinstance(one, bytes) else repr(one).encode() for one in value)
        return b'"' + joined.replace(b'"', b'""') + b'"'
    return b'"' + value.replace(b'"', b'""') + b'"' if isinstance(value, bytes) else repr(value).encode()


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(one) for one in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _feature(name: str, value: Any) -> Any:
    import tensorflow as tf

    values = value if isinstance(value, list) else [value]
    if name.startswith("text"):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if name.startswith("count"):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
