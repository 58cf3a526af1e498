"""Arrays as TensorFlow Serving's JSON and back."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.client import Tensor
from serving.client.rest_json import DTYPES, TEXT, decode, encode, metadata, versions
from serving.model_server.signature import Array
from serving.status import Code, StatusError

NUMBERS = sorted(name for name, dtype in DTYPES.items() if dtype is not TEXT)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)


def round_trip(array: Array, dtype: str, name: str = "y") -> Array:
    """What a server that answers its one input would be understood to have said."""
    value = json.loads(encode({"x": array}, None))["inputs"]["x"]
    return decode(json.dumps({"outputs": value}).encode(), {name: Tensor(dtype, None)})[name]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(NUMBERS))
def test_numbers_of_every_dtype_survive_to_the_last_bit(data: st.DataObject, dtype: str) -> None:
    array = data.draw(hnp.arrays(DTYPES[dtype], SHAPES))
    found = round_trip(array, dtype)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_texts_survive_as_bytes_whether_they_are_utf_8_or_not(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    texts = data.draw(st.lists(st.binary(max_size=5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.empty(len(texts), object)
    array[:] = texts
    found = round_trip(array.reshape(shape), "DT_STRING")
    assert found.shape == shape
    assert found.ravel().tolist() == texts


def test_a_body_names_its_signature_only_if_there_is_one() -> None:
    assert json.loads(encode({"x": np.array(0.1, np.float32)}, None)) == {"inputs": {"x": 0.1}}
    assert json.loads(encode({"x": np.array([True])}, "s")) == {"signature_name": "s", "inputs": {"x": [True]}}


def test_python_lists_and_texts_are_taken_too() -> None:
    values: dict[str, Any] = {"a": [1, 2], "b": ["ä", "b"], "c": "c"}
    assert json.loads(encode(values, None))["inputs"] == values


@pytest.mark.parametrize("value", [np.array([1j]), np.array([None]), np.array(["\ud800"], object)])
def test_what_json_cannot_carry_is_refused_here(value: Array) -> None:
    with pytest.raises(StatusError) as caught:
        encode({"x": value}, None)
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_bare_words_and_raw_bytes_of_the_server_are_understood() -> None:
    content = b'{"outputs": {"y": [NaN, -Infinity, 1e+20], "text": ["\xff", "a"]}}'
    outputs = decode(content, {"y": Tensor("DT_FLOAT", (3,)), "text": Tensor("DT_STRING", (2,))})
    np.testing.assert_array_equal(outputs["y"], np.array([np.nan, -np.inf, 1e20], np.float32))
    assert outputs["text"].tolist() == [b"\xff", b"a"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"outputs": {"y": 1}}', b'{"outputs": [1]}', b'{"outputs": {"y": 1, "z": [1, [2]]}}', b"\xff"],
)
def test_an_answer_that_is_not_the_signatures_is_internal(content: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        decode(content, {"y": Tensor("DT_FLOAT", None), "z": Tensor("DT_FLOAT", None)})
    assert caught.value.code == Code.INTERNAL


def test_versions_carry_the_error_that_ended_them() -> None:
    fine = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    torn = {"version": "1", "state": "END", "status": {"error_code": "DATA_LOSS", "error_message": "torn"}}
    first, second = versions(json.dumps({"model_version_status": [fine, torn]}).encode())
    assert (first.version, first.state, first.error) == (2, "AVAILABLE", None)
    assert (second.version, str(second.error)) == (1, "DATA_LOSS: torn")


def test_signatures_are_read_with_their_shapes() -> None:
    dims = {"dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False}
    signature = {
        "method_name": "tensorflow/serving/predict",
        "inputs": {"x": {"dtype": "DT_FLOAT", "name": "x:0", "tensor_shape": dims}},
        "outputs": {"y": {"dtype": "DT_INT64", "name": "y:0", "tensor_shape": {"dim": [], "unknown_rank": True}}},
    }
    content = {"model_spec": {"version": "7"}, "metadata": {"signature_def": {"signature_def": {"s": signature}}}}
    found = metadata(json.dumps(content).encode())
    assert found.version == 7
    assert found.signatures["s"].inputs == {"x": Tensor("DT_FLOAT", (None, 3))}
    assert found.signatures["s"].outputs == {"y": Tensor("DT_INT64", None)}


@pytest.mark.parametrize("read", [versions, metadata])
def test_status_and_metadata_that_are_none_are_internal(read: Any) -> None:
    for content in (b"{}", b"[]", b'{"model_version_status": [{}], "metadata": {"signature_def": 1}}'):
        with pytest.raises(StatusError) as caught:
            read(content)
        assert caught.value.code == Code.INTERNAL
