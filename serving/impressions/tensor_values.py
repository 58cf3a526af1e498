"""Tensors of the wire as NumPy arrays, and arrays as TF Serving's JSON; without TensorFlow."""

import base64
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

MOST_FILLED = 1 << 16  # elements that a tensor may have beyond the values that it carries
_STRING, _BOOL, _BFLOAT16, _HALF = 7, 10, 14, 19
# DataType -> (dtype, the field that carries the values where tensor_content doesn't)
_KINDS: Mapping[int, tuple[type, str]] = MappingProxyType(
    {
        1: (np.float32, "float_val"),
        2: (np.float64, "double_val"),
        3: (np.int32, "int_val"),
        4: (np.uint8, "int_val"),
        5: (np.int16, "int_val"),
        6: (np.int8, "int_val"),
        9: (np.int64, "int64_val"),
        _BOOL: (np.bool_, "bool_val"),
        _BFLOAT16: (np.uint16, "half_val"),
        17: (np.uint16, "int_val"),
        _HALF: (np.uint16, "half_val"),
        22: (np.uint32, "uint32_val"),
        23: (np.uint64, "uint64_val"),
    }
)


def array(tensor: Any) -> NDArray[Any]:
    """A Tensor message as an array of its shape; texts are bytes in an array of objects, bfloat16 becomes float32.

    As TensorFlow reads it: where there are fewer values than elements the last one fills the rest, and none are zeros.

    Raises:
        ValueError: its parts don't fit, its dtype has no JSON, or it is small and claims to be huge.
    """
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    count = math.prod(shape)
    if shape and min(shape) <= 0:
        _check(shape)
    dtype = tensor.dtype
    if dtype == _STRING:
        filled = _filled(list(tensor.string_val), count, b"")
        texts = np.empty(count, object)
        texts[:] = filled
        return texts.reshape(shape)
    if dtype not in _KINDS:
        raise ValueError(f"tensors of DataType {dtype} have no JSON")
    kind, field = _KINDS[dtype]
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * np.dtype(kind).itemsize:
            raise ValueError(f"a tensor of shape {shape} has {len(tensor.tensor_content)} bytes")
        values: NDArray[Any] = np.frombuffer(tensor.tensor_content, kind)
    else:
        try:
            values = np.array(_filled(list(getattr(tensor, field)), count, 0), kind)
        except OverflowError as error:
            raise ValueError(f"a tensor of DataType {dtype} has a value that it cannot hold") from error
    return _as_said(values, dtype).reshape(shape)


def _as_said(values: NDArray[Any], dtype: int) -> NDArray[Any]:
    """Values that NumPy has no dtype for, or that may be anything on the wire."""
    if dtype == _BOOL:
        return np.not_equal(values.view(np.uint8), 0)
    if dtype == _HALF:
        return values.view(np.float16)
    if dtype == _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _check(shape: list[int]) -> None:
    """Refuses shapes that would take memory without carrying values, such as [1000000000, 0]."""
    if min(shape) < 0 or math.prod(shape[: shape.index(0)]) > MOST_FILLED:
        raise ValueError(f"a tensor has the shape {shape}")


def _filled(given: list[Any], count: int, nothing: Any) -> list[Any]:
    missing = count - len(given)
    if not missing:
        return given
    if not 0 < missing <= MOST_FILLED:
        raise ValueError(f"a tensor of {count} elements has {len(given)} values")
    return given + [given[-1] if given else nothing] * missing


def text(value: bytes) -> Any:
    """Bytes as JSON carries them: a text, or `{"b64": ...}` where they are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def plain(values: NDArray[Any], as_b64: bool = False) -> Any:
    """An array as what `dumps` writes: nested lists of texts, an array, or one number.

    Args:
        as_b64: all texts as `{"b64": ...}`: what TF Serving does for names that end in `_bytes`.
    """
    if values.dtype.kind != "O":
        return values if values.ndim else values[()]
    texts = np.empty(values.size, object)
    flat = values.ravel().tolist()
    texts[:] = [{"b64": base64.b64encode(one).decode()} if as_b64 else text(one) for one in flat]
    return texts.reshape(values.shape).tolist()


def dumps(value: Any) -> bytes:
    """JSON as TF Serving reads it: what is not finite is a bare word."""
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in content:  # what orjson writes for NaN; our values hold no None, and texts that say so do no harm
        return content
    return json.dumps(value, default=lambda one: one.tolist(), ensure_ascii=False).encode()
