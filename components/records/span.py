"""Reads one span's files of a user as Arrow batches that are ready for tf.Example."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from components.records.columns import Column, columns_of
from components.records.csv_text import read_csv
from components.records.json_lines import read_json_lines
from components.records.parquet import read_parquet
from components.records.tfrecord import read_tfrecord
from serving.errors import InputError

BATCH_ROWS = 65_536

_READERS: dict[str, Callable[[Path, tuple[Column, ...], int], Iterator[pa.RecordBatch]]] = {
    "Parquet": read_parquet,
    "CSV": read_csv,
    "JSON lines": read_json_lines,
    "TFRecord": read_tfrecord,
}
_SUFFIXES = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON lines",
    ".tfrecord": "TFRecord",
    ".tfrecords": "TFRecord",
}


def read_span(
    files: Sequence[Path], schema: schema_pb2.Schema, batch_rows: int = BATCH_ROWS, environment: str = "TRAINING"
) -> Iterator[pa.RecordBatch]:
    """One span's records, in the order of `files` and of the records in them.

    Every batch holds the schema's columns in the schema's order, as list<binary | int64 | float32>: a missing value
    is a null list, an empty list stays one, and 0, 0.0, '' and bytes that are not UTF-8 stay themselves. Types come
    from the schema, never from what values look like. NaN and infinite floats pass, and a double beyond the range of
    float32 becomes infinite: the data gate judges them.

    Parquet, and TFRecord of tf.Example (plain or gzip), hold values or lists of them. JSON lines hold values, and lists
    for features of several values; {"b64": "..."} is bytes. CSV has a header line and follows RFC 4180: an empty field
    is a missing value, "" is the empty text, several values are separated by |, and "" is then the empty list. CSV and
    JSON lines may be gzipped (`.csv.gz`). A reader that sees a problem late has yielded the batches before it.

    Args:
        files: at least one, all of one format.
        schema: the curated schema.
        batch_rows: the most records in a batch; batches of wide records hold fewer.
        environment: of the schema; it says which columns are required.

    Raises:
        InputError: a file cannot be read, holds no records, or does not fit the schema.
    """
    columns = columns_of(schema, environment)
    read = _READERS[_format_of(files)]
    for file in files:
        seen = 0
        for batch in read(file, columns, batch_rows):
            seen += batch.num_rows
            if batch.num_rows:
                yield batch
        if not seen:
            raise InputError(f"{file} holds no records: remove the file, or write it again.")


def _format_of(files: Sequence[Path]) -> str:
    if not files:
        raise InputError("a span needs at least one record file; it has none.")
    formats = {file: _format(file) for file in files}
    first = formats[files[0]]
    for file, other in formats.items():
        if other != first:
            raise InputError(
                f"{files[0].parent} mixes {first} ({files[0].name}) with {other} ({file.name}): the files of one span "
                "are of one format; keep one of them, or let a name start with _ to have it ignored."
            )
    return first


def _format(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    # TFX's own names end in -00000-of-00001.gz, before which comes no suffix.
    name = next((_SUFFIXES[suffix] for suffix in reversed(suffixes) if suffix in _SUFFIXES), None)
    if name is None and "tfrecord" in file.name.lower():
        name = "TFRecord"
    if name is None:
        raise InputError(f"{file}: cannot tell its format; expected a name that ends in one of {', '.join(_SUFFIXES)}.")
    return name
