"""TensorProto <-> NumPy arrays, with the C++ server's rules.

A request may carry values in the typed field of its dtype (`float_val`, ...) or in `tensor_content`; a typed field that
is too short repeats its last value, one that is too long is cut, an empty one means zeros. A response uses the typed
fields, one value an element, unless the server was told to use `tensor_content`.

Where a field's wire format is the array's memory (floats, doubles, complex numbers, bools), bytes are copied instead of
Python objects made: 1000 floats take 2 us instead of 45.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.model_server.signature import Array
from serving.status import Code, StatusError

LARGEST_FILL_BYTES = 2**31 - 1  # of a tensor whose values are not all sent: more could not have been sent either
MOST_ELEMENTS = 2**63 - 1
COPIED_FROM = 32  # elements; below, finding the field in the wire format takes longer than making objects

DT_FLOAT, DT_STRING, DT_BOOL, DT_BFLOAT16 = 1, 7, 10, 14


@dataclass(frozen=True, slots=True)
class _Kind:
    """How TensorProto carries one dtype.

    Attributes:
        field, number: the typed field.
        values: dtype of the field's values; where `copied`, its wire format is this dtype's memory.
        stored: what a value is cast to (C's cast: the low bits) before its memory is read as `dtype`.
        dtype: of the array.
    """

    field: str
    number: int
    values: npt.DTypeLike
    stored: npt.DTypeLike
    dtype: np.dtype[Any]
    copied: bool = False


def _plain(field: str, number: int, values: npt.DTypeLike, dtype: npt.DTypeLike, copied: bool = False) -> _Kind:
    return _Kind(field, number, values, dtype, np.dtype(dtype), copied)


# By value of TensorFlow's DataType enum. bfloat16 and the quantised types are in `_kind`, for they need TensorFlow.
_KINDS = {
    1: _plain("float_val", 5, np.float32, np.float32, True),
    2: _plain("double_val", 6, np.float64, np.float64, True),
    3: _plain("int_val", 7, np.int32, np.int32),
    4: _plain("int_val", 7, np.int32, np.uint8),
    5: _plain("int_val", 7, np.int32, np.int16),
    6: _plain("int_val", 7, np.int32, np.int8),
    7: _plain("string_val", 8, np.object_, np.object_),
    8: _plain("scomplex_val", 9, np.complex64, np.complex64, True),
    9: _plain("int64_val", 10, np.int64, np.int64),
    10: _plain("bool_val", 11, np.bool_, np.bool_, True),
    17: _plain("int_val", 7, np.int32, np.uint16),
    18: _plain("dcomplex_val", 12, np.complex128, np.complex128, True),
    19: _Kind("half_val", 13, np.int32, np.uint16, np.dtype(np.float16)),
    22: _plain("uint32_val", 16, np.uint32, np.uint32),
    23: _plain("uint64_val", 17, np.uint64, np.uint64),
}
_QUANTISED = {11: np.int8, 12: np.uint8, 13: np.int32, 15: np.int16, 16: np.uint16}


def from_proto(proto: Any, alias: str) -> Array:
    """The array that a TensorProto stands for; it may be read-only and share the proto's bytes.

    Strings come as an object array of bytes. `unknown_rank` is ignored, as in C++: without dims it is a scalar.

    Raises:
        StatusError: INVALID_ARGUMENT `tensor parsing error: <alias>`: no or an unusable dtype, a negative dimension,
            content of another length than the shape's, or a shape so large that filling it up is no honest wish.
    """
    try:
        return _from_proto(proto)
    except (ValueError, OverflowError) as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"tensor parsing error: {alias}") from error


def to_proto(array: Array, dtype: int, proto: Any, as_content: bool) -> None:
    """Fills an empty TensorProto.

    Args:
        array: of any shape; strings as an object array of bytes.
        dtype: the DataType that the signature says; what the array is counts where the two differ.
        as_content: `tensor_content` instead of the typed field.
    """
    kind = _kind(dtype)
    if kind is None or kind.dtype != array.dtype:
        dtype = dtype_of(array)
        kind = _kind(dtype)
        assert kind is not None
    head = _head(dtype, array.shape)
    if not array.size:
        proto.MergeFromString(head)
    elif as_content:
        proto.MergeFromString(head)
        proto.tensor_content = _joined(array.ravel().tolist()) if dtype == DT_STRING else array.tobytes()
    elif kind.copied:
        proto.MergeFromString(
            b"%b%b%b%b" % (head, _varint(kind.number << 3 | 2), _varint(array.nbytes), array.tobytes())
        )
    else:
        proto.MergeFromString(head)
        flat = array.ravel() if kind.dtype == kind.stored else array.ravel().view(kind.stored)
        getattr(proto, kind.field).extend(flat.tolist())


def dtype_of(array: Array) -> int:
    """The DataType of an array; object, bytes and text arrays are strings.

    Raises:
        StatusError: UNIMPLEMENTED: a dtype that TensorProto has no field for.
    """
    if array.dtype.kind in "OSU":
        return DT_STRING
    for dtype in (*_KINDS, DT_BFLOAT16, *_QUANTISED):
        kind = _kind(dtype)
        if kind is not None and kind.dtype == array.dtype:
            return dtype
    raise StatusError(Code.UNIMPLEMENTED, f"Tensors of {array.dtype} cannot be sent.")


def dtype_name(dtype: int) -> str:
    """`DT_FLOAT` for 1."""
    from tensorflow.core.framework import types_pb2

    name: str = types_pb2.DataType.Name(dtype)
    return name


@lru_cache
def _kind(dtype: int) -> _Kind | None:
    kind = _KINDS.get(dtype)
    if kind is None and (dtype == DT_BFLOAT16 or dtype in _QUANTISED):
        import tensorflow as tf

        memory = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
        if dtype == DT_BFLOAT16:
            return _Kind("half_val", 13, np.int32, np.uint16, memory)
        return _Kind("int_val", 7, np.int32, _QUANTISED[dtype], memory)
    return kind


def _from_proto(proto: Any) -> Array:
    """Raises ValueError or OverflowError for what cannot be read."""
    dtype = proto.dtype
    kind = _KINDS.get(dtype) or _kind(dtype)
    if kind is None:
        raise ValueError("no such dtype")
    shape, elements = [], 1
    for dimension in proto.tensor_shape.dim:
        size = dimension.size
        elements *= size
        if size < 0 or elements > MOST_ELEMENTS:
            raise ValueError("no such shape")
        shape.append(size)
    if not elements:
        return np.empty(shape, kind.dtype)
    content = proto.tensor_content
    if not content:
        values = _filled(_values(proto, kind, elements), elements, kind)
    elif dtype == DT_STRING:
        values = np.array(_split(content, elements), object)
    else:
        if dtype == DT_BOOL and max(content) > 1:
            raise ValueError("neither false nor true")
        values = np.frombuffer(content, kind.dtype)  # reshape finds another length
    return values.reshape(shape)


def _values(proto: Any, kind: _Kind, wanted: int) -> Array:
    """What the typed field holds, 1-D."""
    field = getattr(proto, kind.field)
    if kind.copied and (wanted >= COPIED_FROM or kind.dtype.kind == "c"):
        sent = _packed(proto.SerializeToString(), kind.number)
        return np.frombuffer(sent[: len(sent) - len(sent) % kind.dtype.itemsize], kind.dtype)
    values = np.array(field[:], kind.values)
    if kind.values != kind.stored:
        values = values.astype(kind.stored)
    return values if kind.stored == kind.dtype else values.view(kind.dtype)


def _filled(values: Array, elements: int, kind: _Kind) -> Array:
    """`elements` of the values, the last one repeated where there are fewer, zeros where there are none."""
    sent = len(values)
    if sent >= elements:
        return values[:elements]
    if elements * kind.dtype.itemsize > LARGEST_FILL_BYTES:
        raise ValueError("too large")
    filled = np.empty(elements, kind.dtype)
    filled[:sent] = values
    if sent:
        filled[sent:] = values[-1]
    else:
        filled[:] = b"" if kind.dtype == np.object_ else np.zeros((), kind.dtype)
    return filled


def _packed(message: bytes, number: int) -> memoryview:
    """The content of a length-delimited field of a serialized message; empty where it is not set."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        kind = tag & 7
        if kind == 0:
            _, position = _read_varint(message, position)
        elif kind == 2:
            length, position = _read_varint(message, position)
            if tag >> 3 == number:
                return memoryview(message)[position : position + length]
            position += length
        else:  # an unknown field: groups are gone from proto3
            position += 8 if kind == 1 else 4
    return memoryview(b"")


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


@lru_cache
def _head(dtype: int, shape: tuple[int, ...]) -> bytes:
    """The fields `dtype` and `tensor_shape` of a TensorProto in wire format."""
    sizes = [b"\x08" + _varint(size) if size else b"" for size in shape]
    dimensions = b"".join(b"\x12" + _varint(len(size)) + size for size in sizes)
    return b"\x08" + _varint(dtype) + b"\x12" + _varint(len(dimensions)) + dimensions


def _joined(texts: list[bytes]) -> bytes:
    """Strings as `tensor_content` has them: their lengths as varints, then the bytes."""
    return b"".join([*map(_varint, map(len, texts)), *texts])


def _split(content: bytes, count: int) -> list[bytes]:
    """The inverse of _joined. Raises ValueError where the lengths do not add up to the content's."""
    if count > len(content):
        raise ValueError("fewer lengths than strings")
    sizes, position = [], 0
    try:
        for _ in range(count):
            size, position = _read_varint(content, position)
            sizes.append(size)
    except IndexError as error:
        raise ValueError("a length is cut off") from error
    if position + sum(sizes) != len(content):
        raise ValueError("the lengths are wrong")
    texts = []
    for size in sizes:
        texts.append(content[position : position + size])
        position += size
    return texts
