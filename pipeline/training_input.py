"""Training input: serialized tf.Examples on disk to batches of transformed features, by the one transform graph."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_transform as tft

COUNTED_AT_ONCE = 8192
SHUFFLE_BUFFER = 200_000  # serialized examples; a few hundred bytes each


@dataclass(frozen=True)
class ExampleFiles:
    """TFRecord files (gzip) of serialized tf.Examples.

    Attributes:
        paths: sorted, so that the same files are read in the same order.
        count: records in all of them.
        size_bytes: of all of them on disk.
    """

    paths: tuple[str, ...]
    count: int
    size_bytes: int


def find(patterns: list[str]) -> ExampleFiles:
    """The files that match the patterns, counted.

    Raises:
        ValueError: there is no record in them.
    """
    import tensorflow as tf

    paths = tuple(sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern)))
    blocks = _records(paths).batch(COUNTED_AT_ONCE) if paths else []
    count = sum(int(tf.size(block)) for block in blocks)
    if count == 0:
        raise ValueError(f"expected training examples in {', '.join(patterns)}, found none")
    return ExampleFiles(paths, count, sum(tf.io.gfile.stat(path).length for path in paths))


def batches(
    files: ExampleFiles,
    transform: "tft.TFTransformOutput",
    wanted: list[str],
    label: str,
    batch_size: int,
    shuffle_seed: int | None,
    cache: bool,
) -> "tf.data.Dataset":
    """Batches of ({transformed feature: [batch, ...]}, label float32 [batch, 1]).

    Args:
        files: what to read, in parallel, in a fixed order.
        transform: output of the Transform node.
        wanted: the transformed features that the model takes; others are there to slice by.
        label: name of the transformed label.
        batch_size: examples a batch; the last one is smaller, or dropped when shuffling and others came before.
        shuffle_seed: of the order, a new one each pass; None keeps the files' order.
        cache: keep the serialized examples in memory after the first pass.
    """
    import tensorflow as tf

    layer = transform.transform_features_layer()
    spec = transform.raw_feature_spec()

    # Converting the code behind the transform graph takes seconds and changes nothing.
    @tf.autograph.experimental.do_not_convert
    def transformed(serialized: "tf.Tensor") -> "tuple[dict[str, tf.Tensor], tf.Tensor]":
        features = layer(tf.io.parse_example(serialized, spec))
        answer = tf.reshape(tf.cast(features[label], tf.float32), [-1, 1])
        return {name: features[name] for name in wanted}, answer

    examples = _records(files.paths)
    if cache:
        examples = examples.cache()
    if shuffle_seed is not None:
        buffer = min(files.count, SHUFFLE_BUFFER)
        examples = examples.shuffle(buffer, seed=shuffle_seed, reshuffle_each_iteration=True)
    whole = shuffle_seed is not None and files.count >= batch_size
    batched = examples.batch(batch_size, drop_remainder=whole)
    # The transform graph runs here, on the fly: one batch at a time is analysed fastest, and nothing is stored twice.
    ready = batched.map(transformed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    # Every worker reads all files and takes its part of each batch: split by file they would take unequal steps.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return ready.with_options(options)


def _records(paths: tuple[str, ...]) -> "tf.data.Dataset":
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(list(paths))
    return files.interleave(
        lambda path: tf.data.TFRecordDataset(path, compression_type="GZIP"),
        cycle_length=4,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
