"""One raw record through every road to the model: equal ids, floats to 1e-6."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import Run
from tests.e2e.left_behind import Home, examples
from tests.e2e.small.task import TASK

TOLERANCE = 1e-6
RECORDS = 7

Features = Mapping[str, "np.ndarray[Any, Any]"]


@pytest.fixture(scope="module")
def raw(first: Run, home: Home) -> list[bytes]:
    """Serialized raw records of the evaluation split; the third has no price, so that something is missing."""
    import tensorflow as tf

    chosen = list(examples(home.artifact(first.name, "SpanWindow", "examples") / "Split-eval"))[:RECORDS]
    example = tf.train.Example.FromString(chosen[2])
    example.features.feature["price"].Clear()
    chosen[2] = example.SerializeToString()
    return chosen


@pytest.fixture(scope="module")
def graph(first: Run, home: Home) -> Path:
    return home.artifact(first.name, "Transform", "transform_graph")


@pytest.fixture(scope="module")
def in_beam(raw: list[bytes], graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    """As Transform would materialize them."""
    import apache_beam as beam
    import pyarrow as pa
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.testing.util import assert_that
    from tfx_bsl.tfxio import tf_example_record

    folder = tmp_path_factory.mktemp("parity")
    with tf.io.TFRecordWriter(str(folder / "raw")) as writer:
        for record in raw:
            writer.write(record)
    output = tft.TFTransformOutput(str(graph))
    source = tf_example_record.TFExampleRecord(str(folder / "raw"), schema=output.raw_metadata.schema)

    def keep(batches: list[tuple[pa.RecordBatch, object]]) -> None:
        (batch,) = [one for one, _ in batches]
        with pa.OSFile(str(folder / "out"), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)

    with (
        beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline,
        tft_beam.Context(temp_dir=str(folder / "beam"), force_tf_compat_v1=False),
    ):
        transform_fn = pipeline | tft_beam.ReadTransformFn(str(graph))
        data = pipeline | source.BeamSource(batch_size=RECORDS)
        transformed, _ = ((data, source.TensorAdapterConfig()), transform_fn) | tft_beam.TransformDataset(
            output_record_batches=True
        )
        assert_that(transformed, keep)
    with pa.memory_map(str(folder / "out")) as file:
        table = pa.ipc.open_file(file).read_all()
    return {name: np.stack(table[name].to_numpy()) for name in table.column_names}


@pytest.fixture(scope="module")
def in_training(raw: list[bytes], graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    """As the training loop reads them."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from pipeline import training_input

    file = tmp_path_factory.mktemp("parity") / "raw.gz"
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for record in raw:
            writer.write(record)
    transform, found = tft.TFTransformOutput(str(graph)), training_input.find([str(file)])
    wanted = [name for name in transform.transformed_feature_spec() if name != TASK.label]
    batches = training_input.batches(found, transform, wanted, TASK.label, RECORDS, shuffle_seed=None, cache=False)
    ((features, label),) = batches
    return {**{name: tensor.numpy() for name, tensor in features.items()}, TASK.label: label.numpy()}


@pytest.fixture(scope="module")
def signatures(first: Run, home: Home) -> Any:
    """Those of the pushed version."""
    import tensorflow as tf

    return tf.saved_model.load(str(home.models() / "1")).signatures


def test_training_reads_what_beam_transforms(in_beam: Features, in_training: Features) -> None:
    _same(in_training, in_beam)


def test_the_pushed_version_transforms_as_beam_does(raw: list[bytes], in_beam: Features, signatures: Any) -> None:
    import tensorflow as tf

    answers = signatures["transform_features"](examples=tf.constant(raw))
    _same({name: tensor.numpy() for name, tensor in answers.items()}, in_beam)


def test_the_records_have_unequal_features(in_beam: Features) -> None:
    # Or the tests above would prove little.
    assert in_beam["price"][2] == -1.0
    assert all(len(np.unique(in_beam[name], axis=0)) > 1 for name in ("age", "price", "tags"))


def test_both_serving_signatures_give_each_record_the_same_score(raw: list[bytes], signatures: Any) -> None:
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils

    from pipeline.signatures import read_schema

    spec = schema_utils.schema_as_feature_spec(read_schema(str(TASK.schema_file))).feature_spec
    scores = signatures["serving_examples"](examples=tf.constant(raw))["score"].numpy()
    for record, score in zip(raw, scores, strict=True):
        parsed = tf.io.parse_example([record], spec)
        columns = {
            name: tf.sparse.to_dense(tensor) if isinstance(tensor, tf.SparseTensor) else tf.reshape(tensor, [-1])
            for name, tensor in parsed.items()
            if name != TASK.label
        }
        np.testing.assert_allclose(signatures["serving_default"](**columns)["score"].numpy(), [score], atol=TOLERANCE)
    assert len(np.unique(scores)) > 1


def test_no_serving_signature_takes_the_label(signatures: Any) -> None:
    _, named = signatures["serving_default"].structured_input_signature
    assert set(named) == {"user", "age", "price", "tags"}
    assert set(signatures["serving_examples"].structured_outputs) == {"score"}


def _same(got: Features, expected: Features) -> None:
    assert set(got) == set(expected)
    for name, wanted in expected.items():
        values = got[name].reshape(wanted.shape)
        if name == TASK.label or wanted.dtype.kind != "f":
            np.testing.assert_array_equal(values, wanted, name)
        else:
            np.testing.assert_allclose(values, wanted, rtol=0, atol=TOLERANCE, err_msg=name)
