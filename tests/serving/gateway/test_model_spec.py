"""The ModelSpec of messages, compared with what protobuf itself makes of the same bytes."""

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.gateway import model_spec
from serving.gateway.model_spec import Api
from serving.home import PROJECT

SINGLE: dict[Any, tuple[Any, Any]] = {
    model_spec.PREDICT: (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    model_spec.CLASSIFY: (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    model_spec.REGRESS: (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    model_spec.METADATA: (
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
}
APIS = [*SINGLE, model_spec.MULTI_INFERENCE]
NAMES = st.text(max_size=200)
INT64 = st.integers(-(2**63), 2**63 - 1)


def named(api: Api) -> str:
    return api.name


@st.composite
def specs(draw: st.DrawFn, asking: bool | None = None) -> model_pb2.ModelSpec:
    """A ModelSpec; `asking`: whether it names a version or a label, None for either."""
    spec = model_pb2.ModelSpec(name=draw(NAMES), signature_name=draw(NAMES))
    choice = (
        draw(st.sampled_from(("", "version", "label") if asking is None else ("version", "label")))
        if asking is not False
        else ""
    )
    if choice == "version":
        spec.version.value = draw(INT64)
    elif choice == "label":
        spec.version_label = draw(NAMES)
    return spec


@st.composite
def unknown_fields(draw: st.DrawFn) -> bytes:
    """Fields that no version of these messages has, of every wire type, groups in groups too."""
    number = draw(st.integers(1000, 2**29 - 1))

    def tag(wire: int) -> bytes:
        return varint(number << 3 | wire)

    content = draw(st.binary(max_size=200))
    inner = st.binary(max_size=0) if draw(st.booleans()) else unknown_fields()
    return draw(
        st.sampled_from(
            (
                tag(0) + varint(draw(st.integers(0, 2**64 - 1))),
                tag(1) + bytes(8),
                tag(2) + varint(len(content)) + content,
                tag(3) + draw(inner) + tag(4),
                tag(5) + bytes(4),
            )
        )
    )


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The rest of a request: some inputs."""
    request = predict_pb2.PredictRequest(output_filter=draw(st.lists(NAMES, max_size=3)))
    for name in draw(st.lists(NAMES, max_size=4)):
        request.inputs[name].CopyFrom(tensor_pb2.TensorProto(dtype=1, tensor_content=draw(st.binary(max_size=400))))
    content: bytes = request.SerializeToString()
    return content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def told(spec: model_pb2.ModelSpec) -> tuple[str, bool, str]:
    return spec.name, spec.WhichOneof("version_choice") is not None, spec.signature_name


def found(request: bytes, api: Api) -> tuple[str, bool, str] | None:
    spec = model_spec.find(request, api)
    return None if spec is None else (spec.model, spec.asks, spec.signature)


@given(pieces=st.lists(specs(), max_size=3), body=bodies(), strange=unknown_fields(), first=st.booleans())
def test_a_model_spec_is_found_wherever_and_in_however_many_pieces_it_stands(
    pieces: list[model_pb2.ModelSpec], body: bytes, strange: bytes, first: bool
) -> None:
    split = b"".join(field(1, piece.SerializeToString()) for piece in pieces)
    request = split + body + strange if first else strange + body + split
    assert found(request, model_spec.PREDICT) == told(predict_pb2.PredictRequest.FromString(request).model_spec)


@given(content=st.binary(max_size=60))
@pytest.mark.parametrize("api", SINGLE, ids=named)
def test_of_any_bytes_that_protobuf_can_read_the_same_is_said(api: Api, content: bytes) -> None:
    try:
        read = SINGLE[api][0].FromString(content)
    except DecodeError:
        return  # the model server will refuse it, whatever it was taken for
    assert found(content, api) == told(read.model_spec)


@pytest.mark.parametrize("api", APIS, ids=named)
@pytest.mark.parametrize(
    "content",
    [
        b"\x0a\x05ab",  # cut short
        b"\x0a",  # a tag alone
        b"\x0b\x0a\x00",  # a group without its end
        b"\x0c",  # an end without its group
        b"\x0f\x00",  # a wire type that does not exist
        b"\x00\x00",  # field number 0
        b"\x0a" + b"\xff" * 11,  # a length without its end
        b"\xff" * 32,
        b"\x12\xff\xff\xff\xff\x0f",  # longer than any message
    ],
)
def test_garbage_is_told_apart_and_nothing_is_raised(api: Api, content: bytes) -> None:
    assert model_spec.find(content, api) is None
    assert model_spec.answered_version(content, api) is None
    assert model_spec.user_key(content, "x") is None


@pytest.mark.parametrize("api", APIS, ids=named)
def test_an_empty_request_names_no_model(api: Api) -> None:
    assert found(b"", api) == ("", False, "")


@given(spec=specs(asking=False), body=bodies(), strange=unknown_fields(), label=NAMES)
@pytest.mark.parametrize("first", [True, False])
def test_a_label_is_all_that_is_added(
    spec: model_pb2.ModelSpec, body: bytes, strange: bytes, label: str, first: bool
) -> None:
    piece = field(1, spec.SerializeToString())
    request = piece + body + strange if first else strange + body + piece
    wanted = predict_pb2.PredictRequest.FromString(request)
    wanted.model_spec.version_label = label
    got = model_spec.directed(request, model_spec.PREDICT, label, None)
    assert predict_pb2.PredictRequest.FromString(got) == wanted
    assert got.startswith(request)


@given(spec=specs(asking=False), version=INT64, strange=unknown_fields())
@pytest.mark.parametrize("api", SINGLE, ids=named)
def test_a_version_is_all_that_is_added(api: Api, spec: model_pb2.ModelSpec, version: int, strange: bytes) -> None:
    request = field(1, spec.SerializeToString() + strange) + strange
    wanted = SINGLE[api][0].FromString(request)
    wanted.model_spec.version.value = version
    assert SINGLE[api][0].FromString(model_spec.directed(request, api, None, version)) == wanted


@given(
    tasks=st.lists(specs(asking=False), min_size=1, max_size=3), later=specs(), strange=unknown_fields(), label=NAMES
)
def test_of_a_multi_inference_the_first_task_decides_and_is_directed(
    tasks: list[model_pb2.ModelSpec], later: model_pb2.ModelSpec, strange: bytes, label: str
) -> None:
    request = inference_pb2.MultiInferenceRequest()
    for spec in (*tasks, later):
        request.tasks.add(model_spec=spec, method_name="tensorflow/serving/regress")
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.5)
    content = strange + request.SerializeToString() + strange
    assert found(content, model_spec.MULTI_INFERENCE) == told(tasks[0])
    wanted = inference_pb2.MultiInferenceRequest.FromString(content)
    wanted.tasks[0].model_spec.version_label = label
    got = model_spec.directed(content, model_spec.MULTI_INFERENCE, label, None)
    assert inference_pb2.MultiInferenceRequest.FromString(got) == wanted


@pytest.mark.parametrize("api", APIS, ids=named)
def test_without_a_label_and_a_version_a_request_stays_the_same_object(api: Api) -> None:
    request = field(1, b"")
    assert model_spec.directed(request, api, None, None) is request


@given(spec=specs(), strange=unknown_fields())
@pytest.mark.parametrize("api", SINGLE, ids=named)
def test_the_version_that_answered_is_read_from_every_kind_of_response(
    api: Api, spec: model_pb2.ModelSpec, strange: bytes
) -> None:
    response = strange + SINGLE[api][1](model_spec=spec).SerializeToString()
    expected = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
    assert model_spec.answered_version(response, api) == expected


def test_the_version_of_a_multi_inference_is_that_of_its_first_result() -> None:
    response = inference_pb2.MultiInferenceResponse()
    assert model_spec.answered_version(response.SerializeToString(), model_spec.MULTI_INFERENCE) is None
    response.results.add().model_spec.version.value = 7
    response.results.add().model_spec.version.value = 8
    assert model_spec.answered_version(response.SerializeToString(), model_spec.MULTI_INFERENCE) == 7


def test_model_specs_that_are_too_long_to_be_remembered_are_read_all_the_same() -> None:
    spec = model_pb2.ModelSpec(name="n" * 5000, version_label="l")
    request = predict_pb2.PredictRequest(model_spec=spec).SerializeToString()
    assert found(request, model_spec.PREDICT) == ("n" * 5000, True, "")


INTEGERS = {
    types_pb2.DT_INT8: ("int_val", 1, True),
    types_pb2.DT_UINT8: ("int_val", 1, False),
    types_pb2.DT_INT16: ("int_val", 2, True),
    types_pb2.DT_UINT16: ("int_val", 2, False),
    types_pb2.DT_INT32: ("int_val", 4, True),
    types_pb2.DT_UINT32: ("uint32_val", 4, False),
    types_pb2.DT_INT64: ("int64_val", 8, True),
    types_pb2.DT_UINT64: ("uint64_val", 8, False),
}


@given(data=st.data(), dtype=st.sampled_from(sorted(INTEGERS)), packed=st.booleans(), name=NAMES)
def test_an_integer_key_is_its_decimal_digits_however_the_tensor_holds_it(
    data: st.DataObject, dtype: int, packed: bool, name: str
) -> None:
    values_field, size, signed = INTEGERS[dtype]
    low, high = (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1) if signed else (0, 2 ** (8 * size) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=3))
    request = predict_pb2.PredictRequest()
    request.inputs["other"].string_val.append(b"no")
    tensor = request.inputs[name]
    tensor.dtype = dtype
    if packed:
        tensor.tensor_content = b"".join(value.to_bytes(size, "little", signed=signed) for value in values)
    else:
        getattr(tensor, values_field).extend(values)
    assert model_spec.user_key(request.SerializeToString(), name) == str(values[0]).encode()


@given(key=st.binary(max_size=300), name=NAMES)
def test_a_string_key_is_its_bytes(key: bytes, name: str) -> None:
    request = predict_pb2.PredictRequest()
    request.inputs[name].CopyFrom(tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[key, b"second"]))
    assert model_spec.user_key(request.SerializeToString(), name) == key


def test_of_two_inputs_with_one_name_the_last_is_the_key_as_it_is_for_the_model() -> None:
    one, other = (
        predict_pb2.PredictRequest(
            inputs={"user": tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[key])}
        ).SerializeToString()
        for key in (b"first", b"last")
    )
    assert model_spec.user_key(one + other, "user") == b"last"


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, tensor_content=b"\x01"),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0]),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_BOOL, bool_val=[True]),
        tensor_pb2.TensorProto(),
    ],
    ids=["no strings", "no integers", "half an integer", "float", "bool", "nothing"],
)
def test_what_has_no_first_string_or_integer_is_no_key(tensor: tensor_pb2.TensorProto) -> None:
    request = predict_pb2.PredictRequest(inputs={"user": tensor})
    assert model_spec.user_key(request.SerializeToString(), "user") is None
    assert model_spec.user_key(request.SerializeToString(), "use") is None
    assert model_spec.user_key(b"", "user") is None


def test_reading_messages_needs_no_tensorflow() -> None:
    code = "import sys, serving.gateway.model_spec; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
