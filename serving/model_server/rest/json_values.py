"""What a single JSON value can be: the types that each dtype takes, base64, and a tensor from checked values."""

from array import array
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.model_server.rest.json_reading import invalid
from serving.model_server.signature import Array

MOST_DIMENSIONS = 64  # of a NumPy array
STRING = 7  # in TensorFlow's DataType
NAMES: Mapping[int, str] = {
    1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "half", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """How values of one dtype are read: from which Python types, packed by `array` under which code."""

    types: frozenset[type]
    code: str
    dtype: np.dtype[Any]


def _kind(code: str, dtype: type[np.generic], *types: type) -> Kind:
    return Kind(frozenset(types), code, np.dtype(dtype))


# `array` rounds a decimal that is too large for a float to infinity in silence, where NumPy warns. Integers narrower
# than 32 bits are checked as int32 and then wrap around, as TF Serving's do.
KINDS: Mapping[int, Kind] = {
    1: _kind("f", np.float32, int, float),
    2: _kind("d", np.float64, int, float),
    3: _kind("i", np.int32, int),
    4: _kind("i", np.uint8, int),
    5: _kind("i", np.int16, int),
    6: _kind("i", np.int8, int),
    STRING: _kind("", np.object_, str, dict),
    9: _kind("q", np.int64, int),
    10: _kind("b", np.bool_, bool),
    22: _kind("I", np.uint32, int),
    23: _kind("Q", np.uint64, int),
}


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`: bytes, not an object."""
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def decoded(text: str) -> bytes:
    """Bytes from base64: white space is skipped, padding may be missing but not be wrong.

    Raises:
        StatusError: INVALID_ARGUMENT, anything else is in it.
    """
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        bare = "".join(text.split())
        unpadded = bare.rstrip("=")
        missing = -len(unpadded) % 4
        try:
            if missing > 2 or len(bare) - len(unpadded) not in (0, missing):
                raise ValueError("wrong padding")
            return a2b_base64(unpadded + "=" * missing, strict_mode=True)
        except ValueError:
            raise invalid("Unable to base64 decode") from None


def packed(values: Sequence[Any], shape: Sequence[int], dtype: int) -> Array | None:
    """Values of the right types as a tensor; None where an integer is out of range.

    Args:
        values: in C order; bytes or str for strings.
        shape: as many elements as there are values.
        dtype: one that has a form in JSON, or any other for no values at all.
    """
    kind = KINDS[dtype]
    if dtype == STRING:
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings.reshape(shape)
    try:
        buffer = array(kind.code, values)
    except (OverflowError, TypeError):
        return None
    if not buffer:
        return np.empty(shape, kind.dtype)
    if buffer.itemsize == kind.dtype.itemsize:
        return np.ndarray(shape, kind.dtype, buffer)
    return np.ndarray(shape, np.int32, buffer).astype(kind.dtype)
