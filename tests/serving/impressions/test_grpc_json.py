"""gRPC requests as REST's JSON: our model server's REST side reads the same from it."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.impressions.grpc_json import answer_json, answer_numbers, request_json
from serving.model_server.rest import features, json_tensors
from serving.model_server.rest.json_reading import parse
from serving.model_server.signature import TensorInfo

NUMBERS = st.sampled_from([np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
TEXTS = hnp.arrays(object, hnp.array_shapes(max_dims=2, max_side=3), elements=st.binary(max_size=5))
# A dimension of 0 says nothing of those after it in JSON.
TENSORS = NUMBERS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)))


def example(**values: Any) -> tf.train.Example:
    made = tf.train.Example()
    for name, value in values.items():
        feature = made.features.feature[name]
        if isinstance(value[0], bytes):
            feature.bytes_list.value.extend(value)
        elif isinstance(value[0], float):
            feature.float_list.value.extend(value)
        else:
            feature.int64_list.value.extend(value)
    return made


@given(st.dictionaries(st.text(max_size=3), st.one_of(TENSORS, TEXTS), min_size=1, max_size=3), st.text(max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_predict_request_asks_rest_for_the_same(inputs: dict[str, Any], signature: str) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "clicks"
    request.model_spec.signature_name = signature
    for alias, values in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(values))
    body = parse(request_json("predict", request.SerializeToString()))
    assert body.get("signature_name", "") == signature
    expected = {alias: tf.make_ndarray(proto) for alias, proto in request.inputs.items()}
    infos = {alias: TensorInfo("", proto.dtype) for alias, proto in request.inputs.items()}
    found, _ = json_tensors.read(body, infos)
    assert found.keys() == expected.keys()
    for alias, values in expected.items():
        assert found[alias].dtype == values.dtype
        if values.dtype == np.float64:  # RapidJSON, which reads what isn't finite, is off by up to three units
            np.testing.assert_allclose(found[alias], values, rtol=1e-15)
        else:
            np.testing.assert_array_equal(found[alias], values)


@pytest.mark.parametrize("api", ["classify", "regress"])
@pytest.mark.parametrize("with_context", [False, True])
def test_examples_ask_rest_for_the_same(api: str, with_context: bool) -> None:
    examples = [example(a=[1, 2], b=[0.1, 2.0, float("nan")], c=[b"x", b"\xff"]), tf.train.Example()]
    context = example(d=[b"user"])
    given = input_pb2.Input()
    if with_context:
        given.example_list_with_context.examples.extend(examples)
        given.example_list_with_context.context.CopyFrom(context)
    else:
        given.example_list.examples.extend(examples)
    kind = {"classify": classification_pb2.ClassificationRequest, "regress": regression_pb2.RegressionRequest}[api]
    body = parse(request_json(api, kind(input=given).SerializeToString()))
    for content, sent in zip(features.read(body), examples, strict=True):
        found, expected = tf.train.Example.FromString(content), tf.train.Example()
        if with_context:
            expected.MergeFrom(context)
        expected.MergeFrom(sent)
        assert str(found) == str(expected)  # as text, since NaN is not equal to NaN


def test_a_predict_answer_keeps_its_outputs_names_and_gives_its_numbers() -> None:
    response = predict_pb2.PredictResponse()
    response.outputs["score"].CopyFrom(tf.make_tensor_proto(np.array([[0.5], [np.nan]], np.float32)))
    response.outputs["id"].CopyFrom(tf.make_tensor_proto(np.array([7, 8], np.int64)))
    response.outputs["yes"].CopyFrom(tf.make_tensor_proto([True, False]))
    response.outputs["png_bytes"].CopyFrom(tf.make_tensor_proto([b"x"]))
    content = answer_json("predict", response.SerializeToString())
    numbers = answer_numbers("predict", response.SerializeToString(), 100)
    assert json.loads(content.replace(b"NaN", b"null")) == {
        "outputs": {"score": [[0.5], [None]], "id": [7, 8], "yes": [True, False], "png_bytes": [{"b64": "eA=="}]}
    }
    np.testing.assert_array_equal(numbers, [7, 8, 0.5, np.nan])
    assert len(answer_numbers("predict", response.SerializeToString(), 3)) == 3


def read(api: str, response: Any) -> tuple[bytes, Any]:
    content = response.SerializeToString()
    return answer_json(api, content), answer_numbers(api, content, 10)


def test_answers_to_classify_regress_and_multi_inference() -> None:
    classes = classification_pb2.ClassificationResponse()
    row = classes.result.classifications.add()
    row.classes.add(label="a", score=0.25)
    row.classes.add(score=0.1)
    content, numbers = read("classify", classes)
    assert json.loads(content) == {"results": [[["a", 0.25], ["", 0.1]]]}
    np.testing.assert_allclose(numbers, [0.25, 0.1])

    values = regression_pb2.RegressionResponse()
    values.result.regressions.add(value=0.5)
    content, numbers = read("regress", values)
    assert json.loads(content) == {"results": [0.5]}
    assert numbers.tolist() == [0.5]

    both = inference_pb2.MultiInferenceResponse()
    one, two = both.results.add(), both.results.add()
    one.model_spec.signature_name, two.model_spec.signature_name = "c", "r"
    one.classification_result.CopyFrom(classes.result)
    two.regression_result.CopyFrom(values.result)
    content, numbers = read("multi_inference", both)
    assert json.loads(content)["results"] == [
        {"signature_name": "c", "classifications": [[["a", 0.25], ["", 0.1]]]},
        {"signature_name": "r", "regressions": [0.5]},
    ]
    np.testing.assert_allclose(numbers, [0.25, 0.1, 0.5])


def test_a_multi_inference_request_keeps_its_tasks() -> None:
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.signature_name = "r"
    request.input.example_list.examples.append(example(a=[1]))
    assert json.loads(request_json("multi_inference", request.SerializeToString())) == {
        "tasks": [{"signature_name": "r", "method_name": "tensorflow/serving/regress"}],
        "examples": [{"a": [1]}],
    }


@given(st.sampled_from(["predict", "classify", "regress", "multi_inference"]), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_garbage_is_read_or_refused(api: str, content: bytes) -> None:
    for read_json in (request_json, answer_json):
        try:
            text = read_json(api, content)
        except ValueError:
            continue
        assert isinstance(json.loads(text), dict)
    with contextlib.suppress(ValueError):
        assert answer_numbers(api, content, 10).ndim == 1


def test_an_api_without_json_is_refused() -> None:
    with pytest.raises(ValueError, match="session_run"):
        request_json("session_run", b"")
