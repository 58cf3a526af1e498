"""Real raw records for a model: out of an Examples artifact, as serialized tf.Examples and as columns."""

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.probe.request import Array, Group, Records

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2


class RecordsError(Exception):
    """There are no records of the expected kind; the message says what there is."""


def read(directory: str, schema: "schema_pb2.Schema", limit: int) -> Records:
    """The first `limit` records of a split.

    Args:
        directory: of the split's TFRecord files; names that end in `.gz` are compressed.
        schema: of the raw records; features outside the SERVING environment are no columns.

    Raises:
        RecordsError: the split holds none, or what it holds does not fit the schema.
    """
    import tensorflow as tf

    files = sorted(tf.io.gfile.glob(f"{directory}/*"))
    if not files:
        raise RecordsError(f"no records in {directory}")
    compression = "GZIP" if files[0].endswith(".gz") else ""
    batches = tf.data.TFRecordDataset(files, compression).take(limit).batch(limit).as_numpy_iterator()
    serialized: Array | None = next(batches, None)
    if serialized is None:
        raise RecordsError(f"the files of {directory} hold no records")
    return Records(serialized, columns(serialized, schema))


def serving_features(schema: "schema_pb2.Schema") -> dict[str, Any]:
    """Name -> TensorFlow dtype of the features that a client sends."""
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2

    dtypes = {schema_pb2.BYTES: tf.string, schema_pb2.INT: tf.int64, schema_pb2.FLOAT: tf.float32}
    return {one.name: dtypes[one.type] for one in schema.feature if "SERVING" not in one.not_in_environment}


def columns(serialized: Array, schema: "schema_pb2.Schema") -> tuple[Group, ...]:
    """The records as raw columns, grouped by how many values each feature has, so that no value is padding.

    Raises:
        RecordsError: a record is not a tf.Example, or has a feature of another type than the schema's.
    """
    import tensorflow as tf

    features = serving_features(schema)
    if not features:
        raise RecordsError("the schema has no feature that a client sends: all are outside the SERVING environment")
    try:
        parsed = tf.io.parse_example(serialized, {name: tf.io.VarLenFeature(dtype) for name, dtype in features.items()})
    except tf.errors.InvalidArgumentError as error:
        raise RecordsError(f"the records do not fit the schema: {error.message}") from error
    rows = len(serialized)
    values = {name: parsed[name].values.numpy() for name in features}
    counts = {name: np.bincount(parsed[name].indices.numpy()[:, 0], minlength=rows) for name in features}
    starts = {name: np.cumsum(count) - count for name, count in counts.items()}
    patterns, group_of = np.unique(np.stack(list(counts.values()), axis=1), axis=0, return_inverse=True)
    members = [np.flatnonzero(group_of.ravel() == group) for group in range(len(patterns))]
    return tuple(
        Group(
            chosen,
            {
                name: values[name][starts[name][chosen][:, None] + np.arange(count)]
                for name, count in zip(features, pattern, strict=True)
            },
        )
        for chosen, pattern in zip(members, patterns, strict=True)
    )
