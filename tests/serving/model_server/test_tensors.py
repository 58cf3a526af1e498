"""TensorProto <-> arrays, against TensorFlow's own reader."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model_server.signature import Array
from serving.model_server.tensors import dtype_of, from_proto, to_proto
from serving.status import Code, StatusError

TensorProto = tf.make_tensor_proto(0).__class__
FIELDS = {
    "float": "float_val",
    "double": "double_val",
    "int8": "int_val",
    "uint8": "int_val",
    "int16": "int_val",
    "uint16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
    "half": "half_val",
    "bfloat16": "half_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "qint8": "int_val",
    "quint8": "int_val",
    "qint32": "int_val",
}
PLAIN = [name for name in FIELDS if not name.startswith("q")]


def number(name: str) -> int:
    return int(tf.as_dtype(name).as_datatype_enum)


def values(name: str, shape: tuple[int, ...], seed: int = 3) -> Array:
    """Random values of a dtype: extremes, NaN, non-UTF-8 and NUL bytes among them."""
    draw = np.random.default_rng(seed)
    dtype = np.dtype(tf.as_dtype(name).as_numpy_dtype)
    count = math.prod(shape)
    if name == "string":
        texts = [b"", b"a\0b", b"\xff\xfe", b"plain", "é".encode(), b"x" * 300]
        flat = np.array([texts[index] for index in draw.integers(0, len(texts), count)], object)
    elif dtype.kind in "iub":
        flat = np.frombuffer(draw.bytes(count * dtype.itemsize), dtype)
        flat = flat if dtype.kind != "b" else draw.integers(0, 2, count).astype(bool)
    elif dtype.kind == "c":
        flat = (draw.normal(size=count) + 1j * draw.normal(size=count)).astype(dtype)
    else:
        flat = draw.choice([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, 3e4], count).astype(dtype)
    return flat.reshape(shape)


def same(one: Array, other: Array) -> bool:
    return bool(
        one.dtype == other.dtype
        and one.shape == other.shape
        and (one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes())
    )


def proto(name: str, shape: tuple[int, ...], **fields: Any) -> Any:
    message = TensorProto(dtype=number(name), **fields)
    message.tensor_shape.SetInParent()
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def read_by_tensorflow(message: Any, name: str) -> Array:
    read = tf.io.parse_tensor(message.SerializeToString(), name).numpy()
    return np.array(read, tf.as_dtype(name).as_numpy_dtype)


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3), (7, 11)])
@pytest.mark.parametrize("name", PLAIN)
def test_a_tensor_survives_its_proto(name: str, shape: tuple[int, ...], as_content: bool) -> None:
    array = values(name, shape)
    message = TensorProto()
    to_proto(array, number(name), message, as_content)
    assert same(from_proto(message, "x"), array)
    assert same(from_proto(TensorProto.FromString(message.SerializeToString()), "x"), array)


@pytest.mark.parametrize("name", PLAIN)
def test_tensorflow_reads_what_is_written(name: str) -> None:
    array = values(name, (5, 9))
    for as_content in (False, True):
        message = TensorProto()
        to_proto(array, number(name), message, as_content)
        assert same(read_by_tensorflow(message, name), array)


@pytest.mark.parametrize("name", PLAIN)
def test_a_response_uses_the_typed_field_with_one_value_an_element(name: str) -> None:
    message = TensorProto()
    to_proto(np.broadcast_to(values(name, ()), (2, 3)), number(name), message, False)
    assert not message.tensor_content
    assert len(getattr(message, FIELDS[name])) == (12 if name.startswith("complex") else 6)
    assert [dimension.size for dimension in message.tensor_shape.dim] == [2, 3]


def test_a_response_may_use_tensor_content() -> None:
    message = TensorProto()
    to_proto(np.array([1.0, 2.0], np.float32), number("float"), message, True)
    assert message.tensor_content == np.array([1.0, 2.0], np.float32).tobytes()
    assert not message.float_val


@pytest.mark.parametrize(
    "array", [values("float", (4, 6))[:, ::2], values("int32", (4, 6)).T, values("half", (9,))[::-1]]
)
def test_memory_that_is_not_contiguous_is_written_in_order(array: Array) -> None:
    for as_content in (False, True):
        message = TensorProto()
        to_proto(array, dtype_of(array), message, as_content)
        assert same(from_proto(message, "x"), np.ascontiguousarray(array))


def test_an_output_of_another_dtype_than_its_signature_says_goes_out_as_what_it_is() -> None:
    message = TensorProto()
    to_proto(np.array([7], np.int64), number("float"), message, False)
    assert (message.dtype, list(message.int64_val)) == (number("int64"), [7])


@pytest.mark.parametrize("name", PLAIN)
def test_the_dtype_of_an_array_is_found(name: str) -> None:
    assert dtype_of(values(name, (2,))) == number(name)


def test_an_array_that_no_field_can_carry_is_refused() -> None:
    with pytest.raises(StatusError) as caught:
        dtype_of(np.array(["2020-01-01"], "datetime64[D]"))
    assert caught.value.code == Code.UNIMPLEMENTED


def test_the_last_value_repeats() -> None:
    assert from_proto(proto("float", (2, 2), float_val=[1.0, 5.0]), "x").tolist() == [[1.0, 5.0], [5.0, 5.0]]
    assert from_proto(proto("string", (3,), string_val=[b"a"]), "x").tolist() == [b"a"] * 3
    assert from_proto(proto("float", (50,), float_val=range(40)), "x").tolist() == [*range(40), *[39] * 10]
    assert from_proto(proto("complex64", (2,), scomplex_val=[1, 2]), "x").tolist() == [1 + 2j, 1 + 2j]


def test_no_value_means_zeros_and_values_to_spare_are_dropped() -> None:
    assert from_proto(proto("int32", (2,)), "x").tolist() == [0, 0]
    assert from_proto(proto("string", ()), "x").tolist() == b""
    assert from_proto(proto("bool", (2,), bool_val=[True, False, True]), "x").tolist() == [True, False]


def test_small_integers_keep_the_low_bits() -> None:
    assert from_proto(proto("uint8", (2,), int_val=[-1, 256]), "x").tolist() == [255, 0]


def test_without_a_shape_a_tensor_is_a_scalar() -> None:
    assert from_proto(TensorProto(dtype=number("float"), float_val=[2.5]), "x").tolist() == 2.5
    message = TensorProto(dtype=number("float"), float_val=[2.5])
    message.tensor_shape.unknown_rank = True
    assert from_proto(message, "x").shape == ()


def big_shape(*sizes: int) -> Any:
    return proto("float", sizes, float_val=[1.0])


@pytest.mark.parametrize(
    "message",
    [
        TensorProto(float_val=[1.0]),
        TensorProto(dtype=20),
        TensorProto(dtype=101, float_val=[1.0]),
        proto("float", (-1,), float_val=[1.0]),
        proto("float", (2,), tensor_content=b"1234567"),
        proto("float", (2,), tensor_content=b"123456789"),
        proto("float", (2,), tensor_content=b"1234"),
        proto("string", (2,), tensor_content=b"\x01"),
        proto("string", (1,), tensor_content=b"\x80"),
        proto("string", (1,), tensor_content=b"\x02a"),
        proto("string", (1,), tensor_content=b"\x00a"),
        big_shape(1 << 60),
        big_shape(1 << 31, 1 << 31),
        big_shape(1 << 40, 1 << 40, 0),
        big_shape(1 << 33),
        proto("string", (1 << 40,), string_val=[b"a"]),
        proto("float", (1,) * 300, float_val=[1.0]),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_of_the_input(message: Any) -> None:
    with pytest.raises(StatusError) as caught:
        from_proto(message, "the_input")
    assert (caught.value.code, caught.value.message) == (
        Code.INVALID_ARGUMENT,
        "tensor parsing error: the_input",
    )


def test_fields_that_this_server_does_not_know_are_stepped_over() -> None:
    known = proto("double", (40,), double_val=range(40)).SerializeToString()
    later = b"\x98\x06\x05" + b"\xa1\x06" + b"8" * 8 + b"\xaa\x06\x02ab" + b"\xb5\x06" + b"4" * 4  # fields 99 to 102
    assert from_proto(TensorProto.FromString(later + known), "x").tolist() == list(range(40))


@st.composite
def protos(draw: st.DrawFn) -> tuple[str, Any]:
    """A TensorProto with more, fewer or no values of any dtype, in either form."""
    name = draw(st.sampled_from(list(FIELDS)))
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=3)))
    message = proto(name, shape)
    field = FIELDS[name]
    many = st.lists(_VALUES[field], max_size=400) if draw(st.booleans()) else st.lists(_VALUES[field], max_size=6)
    getattr(message, field).extend(draw(many))
    if draw(st.integers(0, 3)) == 0 and name != "string":
        size = math.prod(shape) * np.dtype(tf.as_dtype(name).as_numpy_dtype).itemsize
        message.tensor_content = draw(st.binary(max_size=8) | st.binary(min_size=size, max_size=size))
    if name == "string" and draw(st.integers(0, 3)) == 0:
        message.tensor_content = draw(st.binary(max_size=12))
    return name, message


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float_val": st.floats(width=32),
    "double_val": st.floats(),
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
    "bool_val": st.booleans(),
    "string_val": st.binary(max_size=5),
    "half_val": st.integers(0, 2**16 - 1),
    "scomplex_val": st.floats(width=32),
    "dcomplex_val": st.floats(),
}


@settings(max_examples=2000, deadline=None)
@given(protos())
def test_every_proto_is_read_or_refused_as_tensorflow_does(case: tuple[str, Any]) -> None:
    name, message = case
    try:
        expected = read_by_tensorflow(message, name)
    except tf.errors.InvalidArgumentError:
        with pytest.raises(StatusError):
            from_proto(message, "x")
        return
    assert same(from_proto(message, "x"), expected)
