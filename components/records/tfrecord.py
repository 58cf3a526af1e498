"""TFRecord files of tf.Example, plain or gzip, as typed batches."""

from collections.abc import Iterator
from dataclasses import replace
from inspect import unwrap
from itertools import islice
from pathlib import Path

import pyarrow as pa

from components.records.columns import Column, check_names
from components.records.typed import Place, first_bad, typed_batch
from serving.errors import InputError

_BLOCK_BYTES = 16 << 20
_GZIP_MAGIC = b"\x1f\x8b"
# Records may be pictures: decoded a few thousand at a time they stay far below Arrow's 2 GiB a column.
_MOST_ROWS = 4096


def read_tfrecord(file: Path, columns: tuple[Column, ...], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The file's records; imports TensorFlow. Raises InputError where the file is not whole, or does not fit."""
    before = 0
    present: set[str] = set()
    for examples in _serialized(file, min(batch_rows, _MOST_ROWS)):
        place = Place(file, before)
        batch = _decode(examples, place)
        check_names(batch.schema.names, [replace(column, required=False) for column in columns], file)
        present |= set(batch.schema.names)
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        yield typed_batch(arrays, len(examples), columns, place)
        before += len(examples)
    if before:
        # Only at the end is it sure that no record has the column.
        check_names([column.name for column in columns if column.name in present], columns, file)


def _serialized(file: Path, rows: int) -> Iterator[list[bytes]]:
    import tensorflow as tf

    try:
        with file.open("rb") as opened:
            gzipped = opened.read(2) == _GZIP_MAGIC
        if gzipped:
            _check_end(file)
        options = tf.io.TFRecordOptions(compression_type="GZIP" if gzipped else "")
        # Not tf.data: that would claim the GPUs before the trainer has set their memory growth.
        # Unwrapped: the wrapper prints advice to use it.
        records = iter(unwrap(tf.compat.v1.io.tf_record_iterator)(str(file), options))
        while batch := list(islice(records, rows)):
            yield batch
    except (tf.errors.OpError, OSError) as error:
        said = error.message if isinstance(error, tf.errors.OpError) else str(error)
        raise InputError(
            f"{file}: expected a whole TFRecord file{' (gzip)' if gzipped else ''}; reading it failed: {said}. "
            "Was it cut short? Write it again."
        ) from error


def _check_end(file: Path) -> None:
    """TensorFlow takes a gzip stream that breaks off between two records for a whole one; Arrow does not."""
    with pa.input_stream(str(file), compression="gzip") as stream:
        while stream.read(_BLOCK_BYTES):
            pass


def _decode(examples: list[bytes], place: Place) -> pa.RecordBatch:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    # Without a schema it reports every feature that is there, with the type that each tf.Example itself states.
    decoder = ExamplesToRecordBatchDecoder()
    try:
        return decoder.DecodeBatch(examples)
    except RuntimeError as error:

        def works(start: int, stop: int) -> bool:
            try:
                decoder.DecodeBatch(examples[start:stop])
            except RuntimeError:
                return False
            return True

        said = str(error).strip().rstrip(".")
        bad = first_bad(len(examples), works)
        # Two examples that contradict each other are wrong only together.
        where = place.file if works(bad, bad + 1) else place.record(bad)
        raise InputError(f"{where}: expected a serialized tf.Example with one type a feature; {said}.") from error
