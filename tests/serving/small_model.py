"""A small SavedModel with the three signatures of the house, whole or with a fault; and real-looking records for it.

Not a test module: the tests of the components that look after models use it too.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA_TEXT = """
feature { name: "age" type: INT presence { min_fraction: 1 } shape {} }
feature { name: "job" type: BYTES presence { min_fraction: 1 } shape {} }
feature { name: "genres" type: BYTES value_count { min: 0 max: 9 } }
feature { name: "weight" type: FLOAT value_count { min: 0 max: 1 } }
feature { name: "liked" type: INT presence { min_fraction: 1 } shape {} not_in_environment: "SERVING" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
GENRES = [b"drama", b"", b"\xff\x00raw", b"comedy", b"noir"]


def schema() -> Any:
    """The schema of the records: two required features, a list, an optional number and a label."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(SCHEMA_TEXT, schema_pb2.Schema())


def examples(rows: int, seed: int = 7) -> np.ndarray[Any, Any]:
    """Serialized tf.Examples, object [rows] of bytes: zeros, empty and non-UTF-8 texts, missing values."""
    import tensorflow as tf

    draw = np.random.default_rng(seed)

    def one(row: int) -> bytes:
        genres = [GENRES[number] for number in draw.integers(0, len(GENRES), row % 4)]
        features = {
            "age": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(draw.integers(0, 90))])),
            "job": tf.train.Feature(bytes_list=tf.train.BytesList(value=[[b"writer", b"", b"\xc3("][row % 3]])),
            "genres": tf.train.Feature(bytes_list=tf.train.BytesList(value=genres)),
            "liked": tf.train.Feature(int64_list=tf.train.Int64List(value=[row % 2])),
        }
        if row % 5:
            features["weight"] = tf.train.Feature(float_list=tf.train.FloatList(value=[float(draw.normal())]))
        serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
        return serialized

    return np.array([one(row) for row in range(rows)], object)


def write_examples(folder: Path, rows: int, split: str = "eval") -> Path:
    """An Examples artifact's folder with one compressed file in a split."""
    import tensorflow as tf

    path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in examples(rows):
            writer.write(record)
    return folder


def build(directory: Path, fault: str = "") -> Path:
    """Write the SavedModel.

    Faults: nan, infinite, slow, differs (raw answers from the examples'), drifts (within the tolerance),
    label (asks for the label), one_answer, renamed (the output), no_raw, no_examples, truncated, raises (at a call).
    """
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([0.01, 0.2, -0.3, 0.5])

        def score(self, age: Any, job: Any, genres: Any, weight: Any) -> Any:
            lists = [tf.reduce_sum(_hashed(genres), 1), tf.reduce_sum(weight, 1)]
            features = [tf.cast(age, tf.float32), _hashed(job), *lists]
            score = tf.sigmoid(tf.linalg.matvec(tf.stack(features, 1), self.weights)[:, None])
            return {"score": _broken(score, age, fault)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def from_examples(self, examples: Any) -> Any:
            parsed = tf.io.parse_example(examples, _spec())
            return self.score(parsed["age"], parsed["job"], parsed["genres"], parsed["weight"])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def transformed(self, examples: Any) -> Any:
            return {"age": tf.io.parse_example(examples, _spec())["age"]}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.int64, name="age"),
                tf.TensorSpec([None], tf.string, name="liked" if fault == "label" else "job"),
                tf.TensorSpec([None, None], tf.string, name="genres"),
                tf.TensorSpec([None, None], tf.float32, name="weight"),
            ]
        )
        def from_columns(self, age: Any, job: Any, genres: Any, weight: Any) -> Any:
            score = self.score(age, job, genres, weight)["score"]
            moved = {"differs": 1e-3, "drifts": 1e-7}.get(fault, 0.0)
            score = score[:1] if fault == "one_answer" else score + moved
            return {"probability" if fault == "renamed" else "score": score}

    model = Model()
    signatures = {
        "serving_default": model.from_columns,
        "serving_examples": model.from_examples,
        "transform_features": model.transformed,
    }
    for name, missing in (("serving_default", "no_raw"), ("serving_examples", "no_examples")):
        if fault == missing:
            del signatures[name]
    tf.saved_model.save(model, str(directory), signatures=signatures)
    if fault == "truncated":
        data = directory / "variables" / "variables.data-00000-of-00001"
        data.write_bytes(data.read_bytes()[:8])
    return directory


def as_trainer_output(model: Path, uri: Path) -> Path:
    """A Model artifact's folder as a Trainer leaves it."""
    shutil.copytree(model, uri / "Format-Serving")
    return uri


def _spec() -> dict[str, Any]:
    import tensorflow as tf

    return {
        "age": tf.io.FixedLenFeature([], tf.int64),
        "job": tf.io.FixedLenFeature([], tf.string),
        "genres": tf.io.RaggedFeature(tf.string),
        "weight": tf.io.RaggedFeature(tf.float32),
    }


def _hashed(texts: Any) -> Any:
    import tensorflow as tf

    if isinstance(texts, tf.RaggedTensor):
        return texts.with_values(_hashed(texts.values))
    return tf.cast(tf.strings.to_hash_bucket_fast(texts, 7), tf.float32)


def _broken(score: Any, age: Any, fault: str) -> Any:
    import tensorflow as tf

    if fault in ("nan", "infinite"):
        return tf.where(age[:, None] == tf.reduce_max(age), float("nan" if fault == "nan" else "inf"), score)
    if fault == "slow":
        return score + 0.0 * tf.reduce_mean(_powers(tf.fill([256, 256], tf.reduce_mean(score))))
    if fault == "raises":
        with tf.control_dependencies([tf.debugging.Assert(False, ["this model is no good"])]):
            return tf.identity(score)
    return score


def _powers(block: Any) -> Any:
    import tensorflow as tf

    def step(number: Any, block: Any) -> Any:
        return [number + 1, tf.matmul(block, block) / 256.0]

    return tf.while_loop(lambda number, _: number < 20, step, [tf.constant(0), block])[1]
