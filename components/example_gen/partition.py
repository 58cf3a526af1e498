"""Which split a record belongs to, decided on columns, exactly as the stock ExampleGen decides it record by record."""

import bisect
import hashlib
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from serving.errors import InputError

__all__ = ["assign_splits"]

SHOWN_CHARACTERS = 300


def assign_splits(batch: pa.RecordBatch, split_by: str, hash_buckets: Sequence[int]) -> NDArray[np.int64]:
    """The index of each row's split, int64 [rows].

    A row's bucket is SHA-256 of its serialized `split_by` Feature modulo the sum of `hash_buckets`; equal values
    share a split. The hash is taken once for each distinct value. No rows give no indices.

    Raises:
        InputError: no such column, a row without a value in it, or a column of floats (which stock refuses too).
    """
    if split_by not in batch.schema.names:
        raise InputError(
            f"records are split by {split_by!r}, which is not a column; the columns are {', '.join(batch.schema.names)}"
        )
    column = batch.column(batch.schema.get_field_index(split_by))
    if pa.types.is_floating(column.type.value_type):
        raise InputError(f"records are split by {split_by!r}, which holds floats: split by whole numbers or strings")
    if column.null_count:
        first = batch.slice(int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]), 1).to_pylist()[0]
        raise InputError(
            f"records are split by {split_by!r}, but {column.null_count:,} of {len(column):,} records have no value "
            f"in it, such as {str(first)[:SHOWN_CHARACTERS]}: fill it in, or split by a column that is always there"
        )
    only = pa.RecordBatch.from_arrays([column], [split_by])
    serialized = pa.array(RecordBatchToExamplesEncoder().encode(only), pa.binary()).dictionary_encode()
    uppers = list(accumulate(hash_buckets))
    of_value = [_split_of(value, split_by, uppers) for value in serialized.dictionary.to_pylist()]
    splits: NDArray[np.int64] = np.asarray(of_value, np.int64)[serialized.indices.to_numpy()]
    return splits


def _split_of(example: bytes, split_by: str, uppers: Sequence[int]) -> int:
    feature = tf.train.Example.FromString(example).features.feature[split_by]
    digest = hashlib.sha256(feature.SerializeToString(deterministic=True)).hexdigest()
    return bisect.bisect(uppers, int(digest, 16) % uppers[-1])
