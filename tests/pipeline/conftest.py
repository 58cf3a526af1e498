"""What the tests of the line share: raw records of the small task on disk, and its transform graph, made once."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipeline import small_task


@dataclass(frozen=True)
class SmallLine:
    """Outputs of the first half of the line for the small task."""

    folder: Path
    schema_path: Path
    train: Path
    held_out: Path
    transform_output: Path


@pytest.fixture(scope="session")
def small_line(tmp_path_factory: pytest.TempPathFactory) -> SmallLine:
    """4,000 training and 1,000 held-out examples, and the transform graph that Beam makes of the former."""
    import apache_beam as beam
    import pyarrow as pa
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import dataset_metadata
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
    from tfx_bsl.tfxio import tf_example_record

    folder = tmp_path_factory.mktemp("small_line")
    schema = text_format.Parse(small_task.SCHEMA, schema_pb2.Schema())
    (folder / "schema.pbtxt").write_text(small_task.SCHEMA)
    kinds = {1: pa.large_list(pa.large_binary()), 2: pa.large_list(pa.int64()), 3: pa.large_list(pa.float32())}
    for name, count, seed in (("train", 4000, 1), ("eval", 1000, 2)):
        columns = small_task.rows(count, seed)
        arrays = [pa.array(columns[feature.name], kinds[feature.type]) for feature in schema.feature]
        batch = pa.RecordBatch.from_arrays(arrays, names=[feature.name for feature in schema.feature])
        with tf.io.TFRecordWriter(str(folder / f"{name}.gz"), "GZIP") as writer:
            for example in RecordBatchToExamplesEncoder().encode(batch):
                writer.write(example)
    output = folder / "transform"
    with (
        beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "beam"), force_tf_compat_v1=False),
    ):
        source = tf_example_record.TFExampleRecord(str(folder / "train.gz"), schema=schema)
        data = pipeline | source.BeamSource()
        transform_fn = (data, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(small_task.preprocessing_fn)
        _ = transform_fn | tft_beam.WriteTransformFn(str(output))
        metadata = dataset_metadata.DatasetMetadata(schema)
        _ = metadata | tft_beam.WriteMetadata(str(output / "metadata"), pipeline)
    return SmallLine(folder, folder / "schema.pbtxt", folder / "train.gz", folder / "eval.gz", output)
