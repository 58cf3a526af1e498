"""Arrays as TensorFlow Serving's JSON and back: the columnar form, which leaves shapes free."""

import base64
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from serving.client import Metadata, SignatureInfo, Tensor, Version
from serving.model_server.signature import Array
from serving.status import Code, StatusError

TEXT = np.dtype(object)
DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "DT_BOOL": np.dtype(np.bool_),
        "DT_DOUBLE": np.dtype(np.float64),
        "DT_FLOAT": np.dtype(np.float32),
        "DT_INT16": np.dtype(np.int16),
        "DT_INT32": np.dtype(np.int32),
        "DT_INT64": np.dtype(np.int64),
        "DT_INT8": np.dtype(np.int8),
        "DT_STRING": TEXT,
        "DT_UINT32": np.dtype(np.uint32),
        "DT_UINT64": np.dtype(np.uint64),
        "DT_UINT8": np.dtype(np.uint8),
    }
)


def encode(inputs: Mapping[str, Array], signature: str | None) -> bytes:
    """The body of a predict request.

    Raises:
        StatusError: INVALID_ARGUMENT for what JSON cannot carry: complex numbers, or objects that aren't texts.
    """
    try:
        arrays = {alias: _plain(np.asarray(value)) for alias, value in inputs.items()}
        body: dict[str, Any] = {"inputs": arrays}
        if signature is not None:
            body["signature_name"] = signature
        if all(_finite(one) for one in arrays.values()):
            return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        # NaN and Infinity are bare words to TF Serving as to Python's json; orjson would write null.
        return json.dumps(body, default=lambda value: value.tolist()).encode()
    except (TypeError, AttributeError) as error:
        raise StatusError(Code.INVALID_ARGUMENT, f"The inputs cannot be written as JSON: {error}") from error


def _plain(array: Array) -> Any:
    """What orjson writes as the tensor: texts as nested lists, numbers as an array or a NumPy scalar."""
    if array.dtype.kind not in "OSU":
        return np.ascontiguousarray(array) if array.ndim else array[()]
    texts = np.empty(array.shape, object)
    texts.ravel()[:] = [_text(one) for one in array.ravel().tolist()]
    return texts.tolist()


def _finite(value: Any) -> bool:
    return not isinstance(value, np.ndarray | np.generic) or bool(np.isfinite(value).all())


def _text(value: bytes | str) -> Any:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def decode(content: bytes, outputs: Mapping[str, Tensor]) -> dict[str, Array]:
    """The arrays of a predict answer, in the dtypes of the signature's `outputs`.

    An array that holds nothing loses the sizes after the first empty one, since JSON does.

    Raises:
        StatusError: INTERNAL where the answer isn't what the signature says.
    """
    try:
        values = parse(content)["outputs"]
        if len(outputs) == 1:
            values = dict.fromkeys(outputs, values)
        elif values.keys() != outputs.keys():
            raise KeyError(f"outputs {sorted(values)}, expected {sorted(outputs)}")
        return {alias: _array(values[alias], outputs[alias]) for alias in sorted(outputs)}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise _unreadable(error) from error


def _array(value: Any, tensor: Tensor) -> Array:
    dtype = DTYPES[tensor.dtype]
    array = np.array(value, dtype)
    if dtype is TEXT:
        array.ravel()[:] = [_bytes(one) for one in array.ravel().tolist()]
    return array


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return base64.b64decode(value["b64"], validate=True)


def parse(content: bytes) -> Any:
    """JSON as TF Serving writes it: with NaN and Infinity, and with texts that need not be UTF-8."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content.decode("utf-8", "surrogateescape"))


def versions(content: bytes) -> tuple[Version, ...]:
    """The versions of a status answer.

    Raises:
        StatusError: INTERNAL where it isn't one.
    """
    try:
        return tuple(_version(one) for one in parse(content)["model_version_status"])
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(error) from error


def _version(content: Mapping[str, Any]) -> Version:
    code = Code[content["status"]["error_code"]]
    error = None if code == Code.OK else StatusError(code, content["status"]["error_message"])
    return Version(int(content["version"]), content["state"], error)


def metadata(content: bytes) -> Metadata:
    """The signatures of a metadata answer.

    Raises:
        StatusError: INTERNAL where it isn't one.
    """
    try:
        whole = parse(content)
        signatures = whole["metadata"]["signature_def"]["signature_def"].items()
        found = {
            name: SignatureInfo(one["method_name"], _tensors(one["inputs"].items()), _tensors(one["outputs"].items()))
            for name, one in signatures
        }
        return Metadata(int(whole["model_spec"]["version"]), found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(error) from error


def outputs(known: Metadata, signature: str) -> Mapping[str, Tensor]:
    """The outputs of a signature.

    Raises:
        StatusError: INTERNAL where there is no such signature, though the server has answered by it.
    """
    if signature not in known.signatures:
        raise StatusError(Code.INTERNAL, f"Version {known.version} of the model has no signature {signature!r}.")
    return known.signatures[signature].outputs


def _tensors(content: Iterable[tuple[str, Any]]) -> dict[str, Tensor]:
    return {alias: Tensor(one["dtype"], _shape(one["tensor_shape"])) for alias, one in content}


def _shape(content: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if content.get("unknown_rank"):
        return None
    sizes = (int(dimension["size"]) for dimension in content.get("dim", ()))
    return tuple(None if size < 0 else size for size in sizes)


def _unreadable(error: Exception) -> StatusError:
    return StatusError(Code.INTERNAL, f"The server's answer cannot be read: {type(error).__name__}: {error}")
