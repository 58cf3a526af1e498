"""The `examples` and the `context` of classify and regress requests: JSON objects to serialized tf.Examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.model_server.rest.json_reading import dump, invalid
from serving.model_server.rest.json_values import decoded, is_base64
from serving.model_server.rest.json_walk import type_name
from serving.model_server.signature import Array

_LARGEST_INT64 = 2**63 - 1
_INT64, _FLOAT, _BYTES = "int64", "float", "bytes"
_FIELDS = {_INT64: "int64_list", _FLOAT: "float_list", _BYTES: "bytes_list"}


def read(document: Mapping[str, Any]) -> Array:
    """The tf.Examples of a body, serialized: object [n] of bytes, the context's bytes first in each.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    context = _serialized(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {dump(document)} When method is classify, key 'examples' is expected and was not found"
        )
    items = document["examples"]
    if type(items) is not list:
        raise invalid(f"JSON Value: {dump(document)} Expecting 'examples' value to be an list/array")
    if not items:
        raise invalid(f"JSON Value: {dump(document)} 'examples' value is an empty array")
    return np.array([context + _serialized(item) for item in items], object)


def _serialized(item: Any) -> bytes:
    from tensorflow.core.example import example_pb2

    if type(item) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {type_name(item)}")
    example = example_pb2.Example()
    features = example.features.feature
    for name, content in item.items():
        feature = features[name]  # it is there then, also without values
        values = content if type(content) is list else [content]
        if values:
            kind, read_values = _values(values, name)
            getattr(feature, _FIELDS[kind]).value.extend(read_values)
    content_bytes: bytes = example.SerializeToString()
    return content_bytes


def _values(values: list[Any], name: str) -> tuple[str, list[Any]]:
    """A feature's kind and its values; all of one type is read at a stroke, the rest one by one."""
    types = set(map(type, values))
    if types == {float}:
        return _FLOAT, values
    if types == {str}:
        return _BYTES, list(map(str.encode, values))
    if types <= {int, bool} and max(values) <= _LARGEST_INT64:
        return _INT64, values if bool not in types else list(map(int, values))
    kind = None
    found = []
    for value in values:
        value_kind, read_value = _value(value, name)
        if kind not in (None, value_kind):
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {kind}")
        if value_kind == _INT64 and read_value > _LARGEST_INT64:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        kind = value_kind
        found.append(decoded(read_value["b64"]) if type(read_value) is dict else read_value)
    assert kind is not None
    return kind, found


def _value(value: Any, name: str) -> tuple[str, Any]:
    """One value and the kind of feature it belongs in; base64 is not decoded yet.

    Raises:
        StatusError: INVALID_ARGUMENT, its type belongs in none.
    """
    if type(value) in (int, bool):
        return _INT64, int(value)
    if type(value) is float:
        return _FLOAT, value
    if type(value) is str:
        return _BYTES, value.encode()
    if is_base64(value):
        return _BYTES, value
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
