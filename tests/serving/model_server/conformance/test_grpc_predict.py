"""Predict over gRPC: what comes back, and how each wrong request is refused (contract 3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.serving.model_server.conformance.clients import Grpc, Refusal, Text, fits, holding, predict_text

PAIR = "tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: [1, 2]"


def inputs(**tensors: str) -> str:
    """The inputs of a PredictRequest as text: alias -> fields of the TensorProto."""
    return " ".join(f'inputs {{ key: "{alias}" value {{ {fields} }} }}' for alias, fields in tensors.items())


def floats(*values: float) -> str:
    """A vector of floats as text."""
    return f"dtype: DT_FLOAT tensor_shape {{ dim {{ size: {len(values)} }} }} float_val: {list(values)}"


@pytest.mark.parametrize(
    ("spec", "version", "y"),
    [
        pytest.param("", 2, 4.0, id="latest"),
        pytest.param("version { value: 1 }", 1, 3.0, id="version"),
        pytest.param("version { value: 2 }", 2, 4.0, id="another version"),
        pytest.param('version_label: "stable"', 1, 3.0, id="label"),
        pytest.param('version_label: "canary"', 2, 4.0, id="another label"),
        pytest.param('signature_name: "serving_default"', 2, 4.0, id="signature"),
    ],
)
def test_the_answer_says_which_version_and_signature_it_was(grpc: Grpc, spec: str, version: int, y: float) -> None:
    response = grpc.call("Predict", predict_text("two", [2.0], spec=spec))
    assert response.model_spec.name == "two"
    assert response.model_spec.version.value == version
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert dict(response.outputs).keys() == {"y"}
    assert list(response.outputs["y"].float_val) == [y]


REFUSALS: Sequence[Any] = [
    pytest.param("", "INVALID_ARGUMENT", "Missing ModelSpec", id="no model_spec"),
    pytest.param("model_spec {}", "INVALID_ARGUMENT", "ModelSpec has no name specified.", id="no name"),
    pytest.param(
        predict_text("nobody"), "NOT_FOUND", "Servable not found for request: Latest(nobody)", id="unknown model"
    ),
    pytest.param(
        predict_text("two", spec="version { value: 7 }"),
        "NOT_FOUND",
        "Servable not found for request: Specific(two, 7)",
        id="unknown version",
    ),
    pytest.param(
        predict_text("nobody", spec="version { value: 7 }"),
        "NOT_FOUND",
        "Servable not found for request: Specific(nobody, 7)",
        id="unknown model with a version",
    ),
    pytest.param(
        predict_text("two", spec='version_label: "nil"'),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: nil",
        id="unknown label",
    ),
    pytest.param(
        predict_text("nobody", spec='version_label: "nil"'),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: nil",
        id="unknown model with a label",
    ),
    pytest.param(
        predict_text("two", spec='version_label: "to come"'),
        "NOT_FOUND",
        "Servable not found for request: Specific(two, 3)",
        id="label of a version that is not there",
    ),
    pytest.param(
        predict_text("two", spec='signature_name: "nil"'),
        "FAILED_PRECONDITION",
        'Serving signature key "nil" not found.',
        id="unknown signature",
    ),
    pytest.param(
        'model_spec { name: "two" }',
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        id="no inputs",
    ),
    pytest.param(
        'model_spec { name: "two" }' + inputs(x=floats(1), z=floats(1)),
        "INVALID_ARGUMENT",
        holding("input size does not match signature: 2!=1 ", "Sent extra: {z}. Missing but required: {}."),
        id="too many inputs",
    ),
    pytest.param(
        predict_text("two", alias="z"),
        "INVALID_ARGUMENT",
        holding(
            "Signature input alias: x(feed name: ",
            ") not found in request and no default value provided. Inputs expected to be in the request {",
        ),
        id="wrong name",
    ),
    pytest.param(
        'model_spec { name: "defaults" }' + inputs(b=floats(1)),
        "INVALID_ARGUMENT",
        holding("Signature input alias: a(feed name: a:0) not found in request and no default value provided."),
        id="missing without default",
    ),
    pytest.param(
        'model_spec { name: "defaults" }' + inputs(a=floats(1), z=floats(1)),
        "INVALID_ARGUMENT",
        holding("Inputs contains invalid name. Used request inputs: ", "request input: "),
        id="unknown name among defaults",
    ),
    pytest.param(
        'model_spec { name: "defaults" }' + inputs(a=floats(1), b=floats(1), c=floats(1), z=floats(1)),
        "INVALID_ARGUMENT",
        holding("input size does not match signature: 4!=3 ", "Sent extra: {z}."),
        id="too many inputs among defaults",
    ),
    pytest.param(
        'model_spec { name: "two" }' + inputs(x="dtype: DT_FLOAT tensor_shape { dim { size: 3 } } tensor_content: 'a'"),
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
        id="content of another length",
    ),
    pytest.param(
        'model_spec { name: "two" }' + inputs(x="dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1"),
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
        id="unknown dimension",
    ),
    pytest.param(
        'model_spec { name: "two" }' + inputs(x="tensor_shape { dim { size: 1 } } float_val: 1"),
        "INVALID_ARGUMENT",
        "tensor parsing error: x",
        id="no dtype",
    ),
    pytest.param(
        'model_spec { name: "matmul" }' + inputs(x="dtype: DT_INT32 tensor_shape { dim { size: 1 } } int_val: 1"),
        "INVALID_ARGUMENT",
        holding("to be float but int32 is provided"),
        id="wrong dtype",
    ),
    pytest.param(
        'model_spec { name: "matmul" }' + inputs(x="dtype: DT_FLOAT " + PAIR),
        "INVALID_ARGUMENT",
        holding("Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]"),
        id="wrong shape",
    ),
    pytest.param(
        'model_spec { name: "matmul" }' + inputs(x=floats(1, 2, 3)),
        "INVALID_ARGUMENT",
        holding("In[0] ndims must be >= 2"),
        id="wrong rank",
    ),
    pytest.param(
        predict_text("two", more='output_filter: "z"'),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        id="unknown output",
    ),
    pytest.param(
        predict_text("two", more='output_filter: "y" output_filter: "y"'),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
        id="output twice",
    ),
]


@pytest.mark.parametrize(("request_text", "code", "message"), REFUSALS)
def test_a_wrong_request_is_refused(grpc: Grpc, request_text: str, code: str, message: Text) -> None:
    came = grpc.refusal("Predict", request_text)
    assert came.code == code, came
    assert fits(came.message, message), came


def test_a_long_message_is_cut(grpc: Grpc) -> None:
    came = grpc.refusal("Predict", predict_text("two", spec=f'signature_name: "{"s" * 3000}"'))
    assert came.code == "FAILED_PRECONDITION"
    assert came.message == f'Serving signature key "{"s" * 3000}" not found.'[:1024] + "...TRUNCATED"


@pytest.mark.parametrize(
    ("wanted", "outputs"), [([], {"y", "inverse"}), (["y"], {"y"}), (["inverse", "y"], {"y", "inverse"})]
)
def test_only_the_outputs_asked_for_come_back(grpc: Grpc, wanted: list[str], outputs: set[str]) -> None:
    more = " ".join(f'output_filter: "{alias}"' for alias in wanted)
    response = grpc.call("Predict", predict_text("not_finite", [1.0, 0.0], more=more))
    assert set(response.outputs) == outputs
    if "y" in outputs:
        assert list(response.outputs["y"].float_val) == [0.0, -float("inf")]


@pytest.mark.parametrize(
    ("given", "total"),
    [
        ({"a": floats(1)}, [1 + 20 + 300]),
        ({"a": floats(1), "b": floats(5)}, [1 + 50 + 300]),
        ({"a": floats(1), "c": floats(5)}, [1 + 20 + 500]),
        ({"a": floats(1, 2), "b": floats(0, 0), "c": floats(1, 1)}, [101, 102]),
    ],
)
def test_an_input_with_a_default_may_be_left_out(grpc: Grpc, given: dict[str, str], total: list[float]) -> None:
    response = grpc.call("Predict", 'model_spec { name: "defaults" }' + inputs(**given))
    assert list(response.outputs["sum"].float_val) == total


def test_predict_runs_classify_and_regress_signatures(grpc: Grpc) -> None:
    from tests.serving.model_server.models import example

    record = example(x=[4.0])
    for signature, output in (("regress_x_to_y", "outputs"), ("classify_x_to_y", "scores")):
        request = predict_request("half_plus_two", inputs=np.array([record], object))
        request.model_spec.signature_name = signature
        response = grpc.call("Predict", request)
        assert response.model_spec.signature_name == signature
        assert list(response.outputs[output].float_val) == [4.0]


def test_a_deadline_that_passes_while_the_model_runs_is_kept(grpc: Grpc) -> None:
    came = grpc.refusal("Predict", predict_text("slow", [2.0], "seconds"), timeout_s=0.3)
    assert came.code == "DEADLINE_EXCEEDED"
    assert list(grpc.call("Predict", predict_text("two")).outputs["y"].float_val) == [4.0]


def test_unknown_methods_and_unreadable_requests_are_refused(grpc: Grpc) -> None:
    import grpc as library

    answers = []
    for method, content in (("Nothing", b""), ("Predict", b"\xff" * 40)):
        call = grpc.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        with pytest.raises(library.RpcError) as refused:
            call(content, timeout=30)
        answers.append(Refusal(refused.value.code().name, refused.value.details()))
    assert answers[0].code == "UNIMPLEMENTED"
    assert answers[1].code in ("INTERNAL", "INVALID_ARGUMENT")


def predict_request(model: str, **arrays: Any) -> Any:
    """A PredictRequest for NumPy arrays."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for alias, array in arrays.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(array))
    return request
