"""Tensors of the wire, read without TensorFlow, are what TensorFlow reads."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.impressions.messages import messages
from serving.impressions.tensor_values import MOST_FILLED, array, dumps, plain

DTYPES = [np.float32, np.float64, np.int32, np.uint8, np.int16, np.int8, np.int64, np.bool_, np.uint16, np.float16]
DTYPES += [np.uint32, np.uint64]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def ours(proto: Any) -> Any:
    return messages()["Tensor"].FromString(proto.SerializeToString())


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
@settings(max_examples=200, deadline=None)
def test_arrays_are_read_as_tensorflow_reads_them(values: Any) -> None:
    proto = tf.make_tensor_proto(values)
    expected = tf.make_ndarray(proto)
    found = array(ours(proto))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "int8", "int64", "bool", "uint64", "half"])
@pytest.mark.parametrize("values", [[], [1], [1, 0, 1, 1]])
def test_values_of_their_own_field_are_filled_up_with_the_last(dtype: str, values: list[int]) -> None:
    kind = tf.as_dtype(dtype)
    proto = tf.make_tensor_proto(np.array(values or [0], kind.as_numpy_dtype))
    field = array_field(dtype)
    proto.tensor_content = b""
    getattr(proto, field)[:] = values
    proto.tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
    np.testing.assert_array_equal(array(ours(proto)), tf.make_ndarray(proto))


def array_field(dtype: str) -> str:
    kinds = {"float32": "float", "float64": "double", "int64": "int64", "bool": "bool", "uint64": "uint64"}
    return ("half" if dtype == "half" else kinds.get(dtype, "int")) + "_val"


def test_bfloat16_is_read_as_float32() -> None:
    values = tf.constant([1.5, -2.0, 3e38], tf.bfloat16)
    for proto in (tf.make_tensor_proto(values), tf.make_tensor_proto(values.numpy().tolist(), tf.bfloat16)):
        found = array(ours(proto))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, tf.cast(values, tf.float32).numpy())


def test_any_byte_but_zero_is_true() -> None:
    tensor = messages()["Tensor"](dtype=10, tensor_content=b"\x00\x01\x02\xff")
    tensor.tensor_shape.dim.add(size=4)
    assert dumps(plain(array(tensor))) == b"[false,true,true,true]"


@pytest.mark.parametrize("shape", [[10**12], [10**9, 0], [-1], [-1, -1], [2, 10**18], [MOST_FILLED + 2]])
@pytest.mark.parametrize("dtype", [1, 7, 10])
def test_a_small_tensor_that_claims_to_be_huge_is_refused(shape: list[int], dtype: int) -> None:
    tensor = messages()["Tensor"](dtype=dtype, float_val=[1], string_val=[b"x"], bool_val=[True])
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match="tensor"):
        array(tensor)


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": 1, "tensor_content": b"123"},
        {"dtype": 1, "float_val": [1, 2]},
        {"dtype": 4, "int_val": [300]},
        {"dtype": 4, "int_val": [-1]},
        {"dtype": 8},
        {"dtype": 0},
        {"dtype": 99},
    ],
)
def test_a_tensor_whose_parts_do_not_fit_is_refused(fields: dict[str, Any]) -> None:
    tensor = messages()["Tensor"](**fields)
    with pytest.raises(ValueError, match="tensor"):
        array(tensor)


def test_texts_are_texts_and_what_is_no_utf_8_is_base64() -> None:
    proto = tf.make_tensor_proto(np.array([["grüße".encode(), b"\xff"], [b"", b"null"]], object))
    values = array(ours(proto))
    assert json.loads(dumps(plain(values))) == [["grüße", {"b64": "/w=="}], ["", "null"]]
    assert json.loads(dumps(plain(values, as_b64=True)))[1] == [{"b64": ""}, {"b64": "bnVsbA=="}]


@pytest.mark.parametrize("value", [np.float32("nan"), np.float64("inf"), np.array([[1, -np.inf]], np.float16)])
def test_what_is_not_finite_is_a_bare_word(value: Any) -> None:
    text = dumps({"a": plain(np.asarray(value)), "b": "null"})
    np.testing.assert_array_equal(json.loads(text)["a"], value)


def test_float32_is_written_as_short_as_it_can_be() -> None:
    assert dumps(plain(np.array([0.1, 1.0], np.float32))) == b"[0.1,1.0]"
