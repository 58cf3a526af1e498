"""Warm-up records beside a model (contract 5)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.model_server.conformance.clients import predict_text
from tests.serving.model_server.conformance.nursery import Nursery
from tests.serving.model_server.conformance.shelf import Models, entry
from tests.serving.model_server.models import example, push

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
FEATURE = 'key: "x" value { float_list { value: 2 } }'


def records(*kinds: str) -> list[bytes]:
    """Serialized PredictionLogs; `bad` fails in the model, the others are as they are named in the proto."""
    from google.protobuf import text_format
    from tensorflow_serving.apis import prediction_log_pb2

    text = predict_text("another name", [1.0], spec="version { value: 99 }")
    one = f"input {{ example_list {{ examples {{ features {{ feature {{ {FEATURE} }} }} }} }} }}"
    spec = 'model_spec { name: "another name" signature_name: "regress_x_to_y" }'
    task = f'tasks {{ {spec} method_name: "tensorflow/serving/regress" }}'
    logs = {
        "predict": f"predict_log {{ request {{ {text} }} }}",
        "bad": f"predict_log {{ request {{ {predict_text('m', alias='z')} }} }}",
        "classify": f'classify_log {{ request {{ model_spec {{ signature_name: "classify_x_to_y" }} {one} }} }}',
        "regress": f'regress_log {{ request {{ model_spec {{ signature_name: "regress_x_to_y" }} {one} }} }}',
        "multi": f"multi_inference_log {{ request {{ {task} {one} }} }}",
        "session": "session_run_log { request { feed { name: 'x' } } }",
        "unset": "log_metadata {}",
    }
    return [text_format.Parse(logs[kind], prediction_log_pb2.PredictionLog()).SerializeToString() for kind in kinds]


def write(model: Path, content: list[bytes] | bytes) -> None:
    """The warm-up file of a version: TFRecords, or these bytes."""
    import tensorflow as tf

    (model / FILE).parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        (model / FILE).write_bytes(content)
        return
    with tf.io.TFRecordWriter(str(model / FILE)) as writer:
        for record in content:
            writer.write(record)


def test_every_kind_of_request_is_replayed(nursery: Nursery, models: Models) -> None:
    base = nursery.base("warm")
    model = push(models("half_plus_two_tf1"), base / "unseen", 1)
    write(model, records("predict", "classify", "regress", "multi", "unset"))
    model.rename(base / "1")
    nursery.reload(entry("warm", base))
    assert nursery.grpc.statuses("warm") == {1: "AVAILABLE"}
    lines = nursery.rest.get("/monitoring/prometheus/metrics").body.decode().splitlines()
    read = [line for line in lines if line.startswith(":tensorflow:serving:model_warmup_records_read{")]
    assert any(str(base / "1") in line and 'status="OK"' in line for line in read), read


@pytest.mark.parametrize(
    ("name", "content", "code", "text"),
    [
        ("warm_bad", lambda: records("predict", "bad"), "INVALID_ARGUMENT", "Signature input alias: x"),
        ("warm_session", lambda: records("session"), "UNIMPLEMENTED", ""),
        ("warm_text", lambda: b"this is no TFRecord file at all, is it?", "DATA_LOSS", "is in TFRecord format."),
        ("warm_many", lambda: records("unset") * 1001, "INVALID_ARGUMENT", "exceeds the maximum (1000)"),
        ("warm_junk", lambda: [b"\xff\xff\xff"], "", ""),
    ],
)  # fmt: skip
def test_a_failing_record_fails_the_load(
    nursery: Nursery, models: Models, name: str, content: Callable[[], Any], code: str, text: str
) -> None:
    base = nursery.base(name)
    model = push(models("half_plus_two_tf1"), base / "unseen", 1)
    write(model, content())
    model.rename(base / "1")
    came = nursery.refusal(entry(name, base))
    assert came.code == "UNKNOWN"
    assert nursery.grpc.statuses(name) == {1: "END"}
    error = nursery.error(name, 1)
    assert error[0] == code if code else error[0] != "OK"
    assert text in error[1]


def test_up_to_a_thousand_records_are_read(nursery: Nursery, models: Models) -> None:
    base = nursery.base("warm_thousand")
    model = push(models("half_plus_two_tf1"), base / "unseen", 1)
    write(model, records("predict") * 1000)
    model.rename(base / "1")
    nursery.reload(entry("warm_thousand", base))
    assert nursery.y("warm_thousand") == 3.0


def test_a_model_of_examples_is_warmed_up_by_predict(nursery: Nursery, models: Models) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "regress_x_to_y"
    log.predict_log.request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([example(x=[4.0])]))
    base = nursery.base("warm_examples")
    model = push(models("half_plus_two_tf1"), base / "unseen", 1)
    write(model, [log.SerializeToString()])
    model.rename(base / "1")
    nursery.reload(entry("warm_examples", base))
    assert nursery.y("warm_examples") == 3.0
