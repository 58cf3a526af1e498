"""The few protobuf messages that requests and answers are made of, by hand.

TF Serving's own modules import TensorFlow, which is not to be in the process beside the load; the V2 protocol's come
only with its servers. https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
VARINT, EIGHT_BYTES, CHUNK, FOUR_BYTES = 0, 1, 2, 5
DT_FLOAT, DT_STRING, DT_INT64 = 1, 7, 9
V2_TYPES = {DT_FLOAT: b"FP32", DT_STRING: b"BYTES", DT_INT64: b"INT64"}


def varint(value: int) -> bytes:
    """A number that is not negative."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def chunk(field: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return varint(field << 3 | CHUNK) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    """A field that is an integer."""
    return varint(field << 3 | VARINT) + varint(value)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each field that is bytes, text or a message; the others are left out.

    Raises:
        ValueError, IndexError: it is not a message.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == CHUNK:
            length, at = _read_varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        elif key & 7 == VARINT:
            _, at = _read_varint(message, at)
        elif key & 7 in (EIGHT_BYTES, FOUR_BYTES):
            at += 8 if key & 7 == EIGHT_BYTES else 4
        else:
            raise ValueError(f"no such kind of field: {key & 7}")


def field(message: bytes, *path: int) -> bytes:
    """The content of the first field number path[0], of the first path[1] in it, and so on; empty when not there."""
    for step in path:
        message = next((content for number, content in fields(message) if number == step), b"")
    return message


def predict_request(model: str, inputs: Mapping[str, Array]) -> bytes:
    """TF Serving's PredictRequest: numbers as `tensor_content`, texts as `string_val`, as its Python client has it."""
    entries = (chunk(2, chunk(1, name.encode()) + chunk(2, _tensor(value))) for name, value in inputs.items())
    return chunk(1, chunk(1, model.encode())) + b"".join(entries)


def predict_answer(response: bytes) -> npt.NDArray[np.float32]:
    """All numbers of a PredictResponse's first output, flat."""
    tensor = field(response, 1, 2)
    return np.frombuffer(field(tensor, 5) or field(tensor, 4), "<f4")


def infer_request(model: str, inputs: Mapping[str, Array]) -> bytes:
    """The V2 protocol's ModelInferRequest: numbers as raw contents where all inputs are numbers, else each typed."""
    raw = all(_dtype(value) == DT_FLOAT for value in inputs.values())
    described = (chunk(5, _infer_input(name, value, raw)) for name, value in inputs.items())
    contents = (chunk(7, value.tobytes()) for value in inputs.values()) if raw else ()
    return chunk(1, model.encode()) + b"".join(described) + b"".join(contents)


def infer_answer(response: bytes) -> npt.NDArray[np.float32]:
    """All numbers of a ModelInferResponse's first output, flat."""
    return np.frombuffer(field(response, 5, 5, 6) or field(response, 6), "<f4")


def _tensor(value: Array) -> bytes:
    dtype = _dtype(value)
    shape = b"".join(chunk(2, number(1, size)) for size in value.shape)
    content = b"".join(chunk(8, one) for one in value.flat) if dtype == DT_STRING else chunk(4, value.tobytes())
    return number(1, dtype) + chunk(2, shape) + content


def _infer_input(name: str, value: Array, raw: bool) -> bytes:
    dtype = _dtype(value)
    shape = chunk(3, b"".join(varint(size) for size in value.shape))
    if raw:
        content = b""
    elif dtype == DT_STRING:
        content = chunk(5, b"".join(chunk(8, one) for one in value.flat))
    elif dtype == DT_INT64:
        content = chunk(5, chunk(3, b"".join(varint(int(one)) for one in value.flat)))
    else:
        content = chunk(5, chunk(6, value.tobytes()))
    return chunk(1, name.encode()) + chunk(2, V2_TYPES[dtype]) + shape + content


def _dtype(value: Array) -> int:
    """TensorFlow's number of it: float32, int64, and bytes in an object array."""
    return {"f": DT_FLOAT, "i": DT_INT64, "O": DT_STRING}[value.dtype.kind]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        one = message[at]
        value |= (one & 127) << shift
        at, shift = at + 1, shift + 7
        if one < 128:
            return value, at
