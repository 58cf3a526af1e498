"""Loading a version: what becomes of it, and of directories that are none."""

import asyncio
import gc
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.loader import LARGEST_MODEL_BYTES, Loader
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Feeds, Fetches, Run, Session
from serving.model_server.session import SessionOptions
from serving.model_server.signature import Array, Signature
from serving.status import Code, StatusError

X = np.array([1.0], np.float32)


def at_once(session: Session, signatures: Mapping[str, Signature], directory: str, name: str) -> Run:
    async def run(feeds: Feeds, fetches: Fetches, timeout_s: float | None) -> list[Array]:
        return session.run(feeds, fetches)

    return run


def refused(directory: Path, loader: Loader | None = None) -> StatusError:
    with pytest.raises(StatusError) as caught:
        (loader or Loader(at_once)).load("m", 1, str(directory))
    return caught.value


def copied(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder / "1"))


def with_warm_up(model: Path, folder: Path, signature_name: str = "") -> Path:
    """A copy with one Predict request to warm up with."""
    directory = copied(model, folder)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature_name
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(X))
    (directory / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(directory / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    return directory


def lines(metrics: Metrics, name: str) -> list[str]:
    page = metrics.exposition().decode()
    return [line for line in page.splitlines() if line.startswith((f":{name}{{", f":{name}_count{{"))]


@pytest.mark.parametrize("kind", ["half_plus_two", "half_plus_two_tf1"])
def test_a_saved_model_becomes_a_servable(models: Callable[[str], Path], kind: str) -> None:
    asked = []

    def make_run(session: Session, signatures: Mapping[str, Signature], directory: str, name: str) -> Run:
        asked.append((sorted(signatures)[-1], directory, name))
        return at_once(session, signatures, directory, name)

    servable = Loader(make_run).load("m", 7, str(models(kind)))
    assert (servable.name, servable.version) == ("m", 7)
    assert asked == [("serving_default", str(models(kind)), "m")]
    signature = servable.signatures["serving_default"]

    async def answer() -> list[Array]:
        return await servable.run({signature.inputs["x"].tensor: X}, [signature.outputs["y"].tensor], None)

    assert [output.tolist() for output in asyncio.run(answer())] == [[2.5]]
    servable.retire()


def test_a_directory_without_a_model_is_not_found(models: Callable[[str], Path], tmp_path: Path) -> None:
    for directory in (models("empty"), tmp_path / "absent"):
        error = refused(directory)
        assert error.code == Code.NOT_FOUND
        assert error.message == (
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {directory}. Check that the "
            "directory exists and that you have the right permissions for accessing it."
        )


def test_a_model_of_other_tags_is_not_found(models: Callable[[str], Path]) -> None:
    error = refused(models("wrong_tags"))
    assert error.code == Code.NOT_FOUND
    assert error.message == (
        "Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets in the "
        "SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )
    options = SessionOptions(tags=frozenset({"train", "gpu"}))
    assert "supplied tags: { gpu train }." in refused(models("wrong_tags"), Loader(at_once, options)).message


def test_tags_are_chosen_by_the_options(models: Callable[[str], Path]) -> None:
    options = SessionOptions(tags=frozenset({"train"}))
    Loader(at_once, options).load("m", 1, str(models("wrong_tags"))).retire()


def test_what_is_no_protobuf_is_data_loss(models: Callable[[str], Path], tmp_path: Path) -> None:
    error = refused(models("garbage"))
    assert error.code == Code.DATA_LOSS
    assert error.message == f"Can't parse {models('garbage')}/saved_model.pb as binary proto"
    (tmp_path / "saved_model.pbtxt").write_text("meta_graphs { nonsense")
    assert refused(tmp_path).message == f"Can't parse {tmp_path}/saved_model.pbtxt as text proto"


def test_a_file_too_large_for_a_protobuf_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "saved_model.pb").open("wb") as file:
        file.truncate(LARGEST_MODEL_BYTES + 1)  # sparse: takes no space
    error = refused(tmp_path)
    assert error.code == Code.DATA_LOSS
    assert error.message == f"Can't parse {tmp_path}/saved_model.pb as binary proto"


def test_an_empty_file_has_no_graph_for_the_tags(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert refused(tmp_path).code == Code.NOT_FOUND


def test_missing_and_truncated_variables_fail_the_load(models: Callable[[str], Path], tmp_path: Path) -> None:
    error = refused(models("no_variables"))
    assert error.code == Code.NOT_FOUND
    assert "variables/variables" in error.message
    directory = copied(models("big"), tmp_path)
    data = directory / "variables" / "variables.data-00000-of-00001"
    os.truncate(data, 8)
    assert refused(directory).code in (Code.OUT_OF_RANGE, Code.DATA_LOSS)


def test_an_operation_that_nobody_knows_fails_the_load(models: Callable[[str], Path], tmp_path: Path) -> None:
    directory = copied(models("matmul"), tmp_path)
    file = directory / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"MatMul", b"MatMvl"))
    assert "Op type not registered 'BatchMatMvlV2'" in refused(directory).message


def test_a_graph_that_does_not_hang_together_fails_the_load(models: Callable[[str], Path], tmp_path: Path) -> None:
    file = copied(models("half_plus_two_tf1"), tmp_path) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    saved.meta_graphs[0].saver_def.restore_op_name = "absent"
    file.write_bytes(saved.SerializeToString())
    error = refused(file.parent)
    assert error.code == Code.INVALID_ARGUMENT
    assert "'absent'" in error.message
    saved.meta_graphs[0].graph_def.node[-1].input.append("absent:7")
    file.write_bytes(saved.SerializeToString())
    assert refused(file.parent).code == Code.INVALID_ARGUMENT


def test_warm_up_runs_before_the_version_is_offered(models: Callable[[str], Path], tmp_path: Path) -> None:
    metrics = Metrics()
    directory = with_warm_up(models("half_plus_two"), tmp_path)
    Loader(at_once, metrics=metrics).load("m", 1, str(directory)).retire()
    labels = f'{{model_path="{directory}",status="OK"}}'
    assert lines(metrics, "tensorflow:serving:model_warmup_records_read") == [
        f":tensorflow:serving:model_warmup_records_read{labels} 1"
    ]
    assert lines(metrics, "tensorflow:serving:model_warmup_latency") == [
        f":tensorflow:serving:model_warmup_latency_count{labels} 1"
    ]


def test_a_failing_warm_up_fails_the_load(models: Callable[[str], Path], tmp_path: Path) -> None:
    metrics = Metrics()
    directory = with_warm_up(models("half_plus_two"), tmp_path, "absent")
    error = refused(directory, Loader(at_once, metrics=metrics))
    assert str(error) == 'FAILED_PRECONDITION: Serving signature key "absent" not found.'
    (line,) = lines(metrics, "tensorflow:serving:model_warmup_records_read")
    assert line.endswith('status="FAILED_PRECONDITION: Serving signature key \\"absent\\" not found."} 0')


def test_warm_up_can_be_switched_off(models: Callable[[str], Path], tmp_path: Path) -> None:
    directory = with_warm_up(models("half_plus_two"), tmp_path, "absent")
    Loader(at_once, warm_up=False).load("m", 1, str(directory)).retire()


def test_loads_are_counted_by_path(models: Callable[[str], Path]) -> None:
    metrics = Metrics()
    loader = Loader(at_once, metrics=metrics)
    good, bad = models("matmul"), models("garbage")
    loader.load("m", 1, str(good)).retire()
    refused(bad, loader)
    assert lines(metrics, "tensorflow:cc:saved_model:load_attempt_count") == sorted(
        [
            f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{good}",status="success"}} 1',
            f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{bad}",status="fail"}} 1',
        ],
        key=lambda line: line.split('"')[1],
    )
    (latency,) = lines(metrics, "tensorflow:cc:saved_model:load_latency")
    assert int(latency.split()[-1]) > 0


def test_an_mlmd_uuid_is_published(models: Callable[[str], Path], tmp_path: Path) -> None:
    metrics = Metrics()
    directory = copied(models("matmul"), tmp_path)
    (directory / "assets.extra").mkdir()
    (directory / "assets.extra" / "mlmd_uuid").write_text("a-uuid")
    Loader(at_once, metrics=metrics).load("m", 7, str(directory)).retire()
    assert metrics.mlmd_map.value("m", "7") == "a-uuid"


def test_a_run_that_cannot_be_made_fails_the_load(models: Callable[[str], Path]) -> None:
    def make_run(session: Session, signatures: Mapping[str, Signature], directory: str, name: str) -> Run:
        raise StatusError(Code.INVALID_ARGUMENT, "no such batching")

    error = refused(models("matmul"), Loader(make_run))
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, "no such batching")


def graphs() -> int:
    gc.collect()
    return sum(issubclass(type(one), tf.Graph) for one in gc.get_objects())


def test_a_failed_load_keeps_nothing_of_the_model_even_while_its_error_is_kept(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    warmed = with_warm_up(models("big"), tmp_path, "absent")
    before = graphs()
    errors: list[Any] = [refused(directory) for directory in (warmed, models("no_variables"), models("wrong_tags"))]
    assert graphs() == before
    assert [(error.__cause__, error.__context__) for error in errors] == [(None, None)] * 3
