"""Warm-up files: what is replayed and what fails the load, in TF Serving's words."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server import signature, warmup
from serving.model_server.predict import CLASSIFY, REGRESS
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import Array, Signature
from serving.status import Code, StatusError
from tests.serving.model_server.models import example


class Recorder:
    """A session that keeps what it was asked for."""

    def __init__(self, directory: Path) -> None:
        self.inner = SavedModelSession(str(directory), SessionOptions())
        self.signatures: dict[str, Signature] = signature.read(self.inner.signature_definitions)
        self.runs: list[tuple[list[str], list[str]]] = []

    def run(self, feeds: Any, fetches: Any) -> list[Array]:
        self.runs.append((list(feeds), list(fetches)))
        return self.inner.run(feeds, fetches)

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(scope="module")
def model(models: Callable[[str], Path]) -> Recorder:
    return Recorder(models("half_plus_two_tf1"))


@pytest.fixture
def session(model: Recorder) -> Recorder:
    model.runs.clear()
    return model


def log(**kinds: Any) -> Any:
    return prediction_log_pb2.PredictionLog(**kinds)


def predict_log(x: Sequence[float] = (1.0,), signature_name: str = "") -> Any:
    record = log()
    request = record.predict_log.request
    request.model_spec.name = "another_model"
    request.model_spec.version.value = 99
    request.model_spec.signature_name = signature_name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array(x, np.float32)))
    return record


def examples_log(kind: str, signature_name: str) -> Any:
    record = log()
    request = getattr(record, kind).request
    request.model_spec.signature_name = signature_name
    request.input.example_list.examples.add().ParseFromString(example(x=2.0))
    return record


def several_log() -> Any:
    record = log()
    request = record.multi_inference_log.request
    for name, method in (("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "m", name
    request.input.example_list.examples.add().ParseFromString(example(x=2.0))
    return record


def written(folder: Path, *records: Any) -> str:
    path = folder / "requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())
    return str(path)


def replayed(path: str, session: Recorder, **options: Any) -> int:
    return max(warmup.replay(path, session, session.signatures, **options), default=0)


def refused(code: Code, path: str, session: Recorder, **options: Any) -> str:
    with pytest.raises(StatusError) as caught:
        replayed(path, session, **options)
    assert caught.value.code == code
    return caught.value.message


def test_every_kind_of_request_is_run_whatever_model_it_names(tmp_path: Path, session: Recorder) -> None:
    records = [
        predict_log(),
        examples_log("classify_log", "classify_x_to_y"),
        examples_log("regress_log", "regress_x_to_y2"),
        several_log(),
    ]
    assert replayed(written(tmp_path, *records), session) == 4
    assert session.runs == [
        (["x:0"], ["y:0"]),
        (["tf_example:0"], ["y:0"]),
        (["tf_example:0"], ["y2:0"]),
        (["tf_example:0"], ["y:0"]),
    ]


def test_each_request_is_run_as_often_as_asked(tmp_path: Path, session: Recorder) -> None:
    path = written(tmp_path, predict_log(), predict_log())
    assert replayed(path, session, iterations=3) == 2
    assert len(session.runs) == 6


def test_a_log_of_no_kind_and_an_empty_file_are_no_error(tmp_path: Path, session: Recorder) -> None:
    assert replayed(written(tmp_path, log(), predict_log()), session) == 2
    assert replayed(written(tmp_path), session) == 0
    assert len(session.runs) == 1


@pytest.mark.parametrize(("kind", "number"), [("session_run_log", 5), ("predict_streamed_log", 7)])
def test_what_cannot_be_replayed_is_unimplemented(kind: str, number: int, tmp_path: Path, session: Recorder) -> None:
    record = log()
    getattr(record, kind).SetInParent()
    message = refused(Code.UNIMPLEMENTED, written(tmp_path, record), session)
    assert message == f"Unsupported log_type for warmup: {number}"


def test_a_request_that_is_refused_ends_it(tmp_path: Path, session: Recorder) -> None:
    path = written(tmp_path, predict_log(), predict_log(signature_name="absent"), predict_log())
    message = refused(Code.FAILED_PRECONDITION, path, session)
    assert message == 'Serving signature key "absent" not found.'
    assert len(session.runs) == 1


def test_what_the_runtime_refuses_ends_it(tmp_path: Path, session: Recorder) -> None:
    record = predict_log()
    record.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expects arg"):
        replayed(written(tmp_path, record), session)


def test_outputs_are_checked_as_those_of_requests_are(tmp_path: Path, models: Callable[[str], Path]) -> None:
    session = Recorder(models("classes"))
    record = log()
    record.regress_log.request.model_spec.signature_name = "wide"
    features = record.regress_log.request.input.example_list.examples.add()
    features.ParseFromString(example(x=[1.0, 2.0, 3.0]))
    assert "[batch_size, 1] but got [1,3]" in refused(Code.INVALID_ARGUMENT, written(tmp_path, record), session)


def test_a_thousand_records_are_enough(tmp_path: Path, session: Recorder) -> None:
    assert replayed(written(tmp_path, *[predict_log()] * 1000), session) == 1000
    path = written(tmp_path, *[predict_log()] * 1001)
    message = refused(Code.INVALID_ARGUMENT, path, session)
    assert message == f"Number of warmup records exceeds the maximum (1000) at {path}"


def test_a_file_that_is_no_tfrecord_is_data_loss(tmp_path: Path, session: Recorder) -> None:
    path = tmp_path / "requests"
    path.write_bytes(predict_log().SerializeToString())
    message = refused(Code.DATA_LOSS, str(path), session)
    assert message.startswith("corrupted record at 0")
    assert message.endswith(". Please verify your warmup data is in TFRecord format.")
    assert "Op:" not in message


def test_a_file_cut_in_a_record_is_data_loss_after_what_came_before(tmp_path: Path, session: Recorder) -> None:
    path = Path(written(tmp_path, predict_log(), predict_log()))
    path.write_bytes(path.read_bytes()[:-3])
    assert refused(Code.DATA_LOSS, str(path), session).startswith("truncated record at ")
    assert len(session.runs) == 1


def test_a_record_that_is_no_prediction_log_is_refused(tmp_path: Path, session: Recorder) -> None:
    path = written(tmp_path, b"\xff\xffgarbage")
    message = refused(Code.INVALID_ARGUMENT, path, session)
    assert message == f"Failed to parse warmup record: ��garbage from {path}"


def test_methods_are_checked_where_that_is_asked_for(tmp_path: Path, session: Recorder) -> None:
    path = written(tmp_path, examples_log("classify_log", "regress_x_to_y"))
    message = refused(Code.INVALID_ARGUMENT, path, session, check_method=True)
    assert message.startswith("Expected classification signature method_name to be tensorflow/serving/classify.")


def test_the_file_is_found_beside_the_model(tmp_path: Path) -> None:
    assert warmup.path_in(str(tmp_path)) is None
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "tf_serving_warmup_requests").touch()
    assert warmup.path_in(f"{tmp_path}/") == f"{tmp_path}/assets.extra/tf_serving_warmup_requests"
