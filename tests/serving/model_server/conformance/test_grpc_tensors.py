"""How tensors travel over gRPC: both forms of a request, the one form of an answer (contract 0.2, 3)."""

import math
from typing import Any

import pytest

from tests.serving.model_server.conformance.clients import Grpc, predict_text
from tests.serving.model_server.models import OTHER_TYPES, REST_TYPES

# dtype of TensorProto, its values as text, the field that carries them and what is read from it
TYPED = [
    ("float", "DT_FLOAT", "float_val: [1.5, -2]", "float_val", [1.5, -2.0]),
    ("double", "DT_DOUBLE", "double_val: [1.5, 1e300]", "double_val", [1.5, 1e300]),
    ("int32", "DT_INT32", "int_val: [1, -2]", "int_val", [1, -2]),
    ("int16", "DT_INT16", "int_val: [1, -2]", "int_val", [1, -2]),
    ("int8", "DT_INT8", "int_val: [1, -2]", "int_val", [1, -2]),
    ("uint8", "DT_UINT8", "int_val: [1, 255]", "int_val", [1, 255]),
    ("uint16", "DT_UINT16", "int_val: [1, 65535]", "int_val", [1, 65535]),
    ("int64", "DT_INT64", "int64_val: [1, -9223372036854775808]", "int64_val", [1, -(2**63)]),
    ("uint32", "DT_UINT32", "uint32_val: [1, 4294967295]", "uint32_val", [1, 2**32 - 1]),
    ("uint64", "DT_UINT64", "uint64_val: [1, 18446744073709551615]", "uint64_val", [1, 2**64 - 1]),
    ("bool", "DT_BOOL", "bool_val: [true, false]", "bool_val", [True, False]),
    ("string", "DT_STRING", r'string_val: ["a", "\xff\x00"]', "string_val", [b"a", b"\xff\x00"]),
    ("half", "DT_HALF", "half_val: [15360, 49152]", "half_val", [15360, 49152]),
    ("bfloat16", "DT_BFLOAT16", "half_val: [16256, 49152]", "half_val", [16256, 49152]),
    ("complex64", "DT_COMPLEX64", "scomplex_val: [1, 2, 3, 4]", "scomplex_val", [1, 2, 3, 4]),
    ("complex128", "DT_COMPLEX128", "dcomplex_val: [1, 2, 3, 4]", "dcomplex_val", [1, 2, 3, 4]),
]


def ask(grpc: Grpc, signature: str, tensor: str) -> Any:
    """The output of the identity model for a TensorProto's text."""
    spec = f'model_spec {{ name: "identity" signature_name: "{signature}" }}'
    return grpc.call("Predict", f'{spec} inputs {{ key: "x" value {{ {tensor} }} }}').outputs["y"]


def test_every_type_of_the_model_is_asked_for() -> None:
    assert {row[0] for row in TYPED} == {*REST_TYPES, *OTHER_TYPES}


@pytest.mark.parametrize(("signature", "dtype", "text", "field", "values"), TYPED, ids=[row[0] for row in TYPED])
def test_typed_values_come_back_typed_one_for_each_element(
    grpc: Grpc, signature: str, dtype: str, text: str, field: str, values: list[object]
) -> None:
    from tensorflow.core.framework import types_pb2

    for shape, sizes in (("dim { size: 2 }", [2]), ("dim { size: 1 } dim { size: 2 }", [1, 2])):
        output = ask(grpc, signature, f"dtype: {dtype} tensor_shape {{ {shape} }} {text}")
        assert types_pb2.DataType.Name(output.dtype) == dtype
        assert list(getattr(output, field)) == values
        assert output.tensor_content == b""
        assert [dim.size for dim in output.tensor_shape.dim] == sizes


@pytest.mark.parametrize("dtype", [row[0] for row in TYPED if row[0] != "string"])
def test_content_is_read_and_answered_with_typed_values(grpc: Grpc, dtype: str) -> None:
    import numpy as np
    import tensorflow as tf

    values = np.array([[1, 0, 1], [0, 1, 1]]).astype(tf.as_dtype(dtype).as_numpy_dtype)
    tensor = tf.make_tensor_proto(values[:0])
    tensor.tensor_shape.dim[0].size = 2
    tensor.tensor_content = values.tobytes()
    output = ask(grpc, dtype, str(tensor))
    assert output.tensor_content == b""
    np.testing.assert_array_equal(tf.make_ndarray(output), values)


@pytest.mark.parametrize(
    ("signature", "tensor", "field", "values"),
    [
        pytest.param(
            "float",
            "dtype: DT_FLOAT tensor_shape { dim { size: 4 } } float_val: [1, 2]",
            "float_val",
            [1.0, 2.0, 2.0, 2.0],
            id="the last value repeats",
        ),
        pytest.param(
            "float", "dtype: DT_FLOAT tensor_shape { dim { size: 3 } }", "float_val", [0.0] * 3, id="no value is zero"
        ),
        pytest.param(
            "string",
            'dtype: DT_STRING tensor_shape { dim { size: 3 } } string_val: "a"',
            "string_val",
            [b"a"] * 3,
            id="the last text repeats",
        ),
        pytest.param("float", "dtype: DT_FLOAT tensor_shape {} float_val: 5", "float_val", [5.0], id="scalar"),
        pytest.param("float", "dtype: DT_FLOAT float_val: 5", "float_val", [5.0], id="scalar, no shape"),
        pytest.param("int64", "dtype: DT_INT64 tensor_shape { dim { size: 0 } }", "int64_val", [], id="empty"),
        pytest.param("string", "dtype: DT_STRING tensor_shape { dim { size: 0 } }", "string_val", [], id="empty texts"),
    ],
)
def test_short_forms_of_a_tensor_are_filled_up(
    grpc: Grpc, signature: str, tensor: str, field: str, values: list[object]
) -> None:
    output = ask(grpc, signature, tensor)
    assert list(getattr(output, field)) == values


@pytest.mark.parametrize("megabytes", [6, 40])
def test_a_message_over_grpcs_usual_limit_passes_both_ways(grpc: Grpc, megabytes: int) -> None:
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    values = np.arange(megabytes << 18, dtype=np.float32)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "identity"
    request.model_spec.signature_name = "float"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
    response = grpc.call("Predict", request)
    np.testing.assert_array_equal(np.array(response.outputs["y"].float_val, np.float32), values)


def test_not_finite_numbers_pass(grpc: Grpc) -> None:
    response = grpc.call("Predict", predict_text("not_finite", [0.0, -1.0, 1.0]))
    low, not_a_number, zero = response.outputs["y"].float_val
    assert (low, zero) == (-float("inf"), 0.0)
    assert math.isnan(not_a_number)


def test_a_shape_beyond_all_memory_is_refused(grpc: Grpc) -> None:
    import grpc as library

    dims = "dim { size: 1048576 } dim { size: 1048576 } dim { size: 1048576 }"
    with pytest.raises(library.RpcError) as refused:
        ask(grpc, "float", f"dtype: DT_FLOAT tensor_shape {{ {dims} }} float_val: 1")
    assert refused.value.code().name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    assert list(ask(grpc, "float", "dtype: DT_FLOAT float_val: 1").float_val) == [1.0]
