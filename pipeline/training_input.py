"""Training input: serialized tf.Examples on disk to batches of transformed features, by the one transform graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_transform as tft

AT_ONCE = 8192  # examples in a block that is counted, or transformed to be kept
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
    blocks = _records(paths).batch(AT_ONCE) if paths else []
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
        cache: transform once and keep the transformed features in memory; else each pass reads and transforms anew,
            and only a window of examples is shuffled. The order of the examples is the same both ways while they fit
            into that window.
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
    step: Any = transformed
    if cache:
        kept = _in_memory(examples.batch(AT_ONCE).map(transformed))
        examples = tf.data.Dataset.range(files.count)
        step = _rows_of(kept)
    if shuffle_seed is not None:
        buffer = min(files.count, SHUFFLE_BUFFER)
        examples = examples.shuffle(buffer, seed=shuffle_seed, reshuffle_each_iteration=True)
    whole = shuffle_seed is not None and files.count >= batch_size
    batched = examples.batch(batch_size, drop_remainder=whole)
    # The transform graph runs on whole batches, here: it is quickest so, and nothing of it is written to disk.
    ready = batched.map(step, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    # Every worker reads all files and takes its part of each batch: split by file they would take unequal steps.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return ready.with_options(options)


def _in_memory(blocks: "tf.data.Dataset") -> Any:
    """All blocks in one, in the memory of the host: the structure of a block, with [examples, ...] tensors."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *blocks)


def _rows_of(kept: Any) -> "Callable[[tf.Tensor], Any]":
    """A function from the numbers of some examples, int64 [batch], to their batch of what is kept."""
    import tensorflow as tf

    def rows(numbers: "tf.Tensor") -> Any:
        return tf.nest.map_structure(lambda column: tf.gather(column, numbers), kept)

    unconverted: Callable[[tf.Tensor], Any] = tf.autograph.experimental.do_not_convert(rows)
    return unconverted


def _records(paths: tuple[str, ...]) -> "tf.data.Dataset":
    import tensorflow as tf

    files = tf.data.Dataset.from_tensor_slices(list(paths))
    return files.interleave(
        lambda path: tf.data.TFRecordDataset(path, compression_type="GZIP"),
        cycle_length=4,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
