"""Made-up clicks records and the transform graph that Beam makes of them, once for all tests of the task."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.tasks.clicks.task import TASK

Records = list[dict[str, Any]]

RECORD: dict[str, Any] = {
    "user_id": b"u1", "item_id": b"i1", "age": 30, "gender": b"F", "occupation": b"writer", "zip_area": b"9",
    "release_year": 1995, "genres": [b"Comedy"], "timestamp": 880_000_000, "liked": 1,
}  # fmt: skip


def made_up(count: int) -> Records:
    """Records of 12 users and 30 items, i1 the most frequent item; comedies are liked, i5's year is missing."""
    chance = random.Random(7)
    records = []
    for index in range(count):
        item = 1 if index % 4 == 0 else chance.randrange(2, 31)
        user = chance.randrange(1, 13)
        genres = [b"Comedy"] if item % 2 else [b"Drama", b"War"]
        liked = int(chance.random() < (0.8 if item % 2 else 0.3))
        records.append(
            RECORD
            | {"user_id": f"u{user}".encode(), "item_id": f"i{item}".encode(), "age": 15 + 4 * user, "liked": liked}
            | {"gender": b"F" if user % 3 else b"M", "occupation": b"writer" if user % 2 else b"student"}
            | {"release_year": None if item == 5 else 1960 + item, "genres": genres}
        )
    return records


def serialized(records: Records) -> list[bytes]:
    """tf.Examples; None and [] are written as features without values."""
    import tensorflow as tf

    def feature(value: Any) -> "tf.train.Feature":
        values = [] if value is None else value if isinstance(value, list) else [value]
        if not values:
            return tf.train.Feature()
        if all(isinstance(one, int) for one in values):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    examples = []
    for record in records:
        features = {name: feature(value) for name, value in record.items()}
        examples.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return examples


@pytest.fixture(scope="session")
def schema() -> Any:
    """The curated schema of the raw records."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(TASK.schema_file.read_text(), schema_pb2.Schema())


@pytest.fixture(scope="session")
def training_records() -> Records:
    """What the transform graph was analysed from."""
    return made_up(400)


@pytest.fixture(scope="session")
def transform_output(tmp_path_factory: pytest.TempPathFactory, schema: Any, training_records: Records) -> Any:
    """The TFTransformOutput that Beam makes of the training records."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata
    from tfx_bsl.tfxio import tf_example_record

    from pipeline.tasks.clicks.preprocessing import preprocessing_fn

    folder: Path = tmp_path_factory.mktemp("clicks")
    with tf.io.TFRecordWriter(str(folder / "records")) as writer:
        for example in serialized(training_records):
            writer.write(example)
    with (
        beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "beam"), force_tf_compat_v1=False),
    ):
        source = tf_example_record.TFExampleRecord(str(folder / "records"), schema=schema)
        data = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
        _ = data | tft_beam.AnalyzeDataset(preprocessing_fn) | tft_beam.WriteTransformFn(str(folder / "out"))
        metadata = dataset_metadata.DatasetMetadata(schema)
        _ = metadata | tft_beam.WriteMetadata(str(folder / "out" / "metadata"), pipeline)
    return tft.TFTransformOutput(str(folder / "out"))


@pytest.fixture(scope="session")
def transformed(transform_output: Any) -> Callable[[Records], dict[str, Any]]:
    """Raw records -> {transformed feature: tensor}, by the saved transform graph."""
    import tensorflow as tf

    layer, spec = transform_output.transform_features_layer(), transform_output.raw_feature_spec()
    return lambda records: dict(layer(tf.io.parse_example(tf.constant(serialized(records), tf.string), spec)))
