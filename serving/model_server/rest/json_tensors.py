"""JSON values to tensors, by the signature's types, in the row (`instances`) and the columnar (`inputs`) format.

Two readings with one result: `read` flattens lists level by level with C-level built-ins and looks at the set of types
it meets, so that a batch costs nothing per element in Python; whatever it finds odd it hands to `json_walk`, which goes
through the values one by one as TF Serving does and either names what is wrong or knows better.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any, Literal

from serving.model_server.rest import json_walk
from serving.model_server.rest.json_reading import dump, invalid
from serving.model_server.rest.json_values import KINDS, MOST_DIMENSIONS, STRING, decoded, is_base64, packed
from serving.model_server.signature import Array, TensorInfo
from serving.status import StatusError

Format = Literal["instances", "inputs"]


def read(document: Mapping[str, Any], inputs: Mapping[str, TensorInfo]) -> tuple[dict[str, Array], Format]:
    """The tensors of a predict request's body, by alias, and the format they came in.

    Strings come as object arrays of bytes. Shapes are those of the body: [number of instances] + the shape of one in
    the row format, anything in the columnar one.

    Raises:
        StatusError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that has no form in JSON (columnar format only).
    """
    if "instances" in document:
        if "inputs" in document:
            raise invalid(
                f"JSON Value: {dump(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
                "keys to exist "
            )
        instances = document["instances"]
        if type(instances) is not list:
            raise invalid(f"JSON Value: {dump(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {dump(document)} No values in 'instances' array")
        return _rows(instances, inputs) or json_walk.rows(instances, inputs), "instances"
    if "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    return _columns(document["inputs"], inputs) or json_walk.columns(document["inputs"], inputs), "inputs"


def _rows(instances: list[Any], inputs: Mapping[str, TensorInfo]) -> dict[str, Array] | None:
    if type(instances[0]) is not dict or is_base64(instances[0]):
        if len(inputs) != 1:
            return None
        ((alias, info),) = inputs.items()
        tensor = _dense(instances, info.dtype)
        return None if tensor is None else {alias: tensor}
    if set(map(type, instances)) != {dict} or set(map(len, instances)) != {len(inputs)} or "b64" in inputs:
        return None
    return _each(inputs, lambda alias: list(map(itemgetter(alias), instances)))


def _columns(value: Any, inputs: Mapping[str, TensorInfo]) -> dict[str, Array] | None:
    if type(value) is dict and not is_base64(value):
        return _each(inputs, value.__getitem__)
    if len(inputs) != 1:
        return None
    return _each(inputs, lambda alias: value)


def _each(inputs: Mapping[str, TensorInfo], column: Callable[[str], Any]) -> dict[str, Array] | None:
    tensors = {}
    for alias, info in inputs.items():
        try:
            tensor = _dense(column(alias), info.dtype)
        except KeyError:
            return None
        if tensor is None:
            return None
        tensors[alias] = tensor
    return tensors


def _dense(value: Any, dtype: int) -> Array | None:
    """A nested list, or a bare value, as a tensor; None where it is not dense or has what the dtype does not take."""
    kind = KINDS.get(dtype)
    if kind is None:
        return None
    flat, shape = [value], list[int]()
    while flat and type(flat[0]) is list:
        if len(flat) == 1:
            flat = flat[0]
            shape.append(len(flat))
        else:
            if set(map(type, flat)) != {list}:
                return None
            sizes = set(map(len, flat))
            if len(sizes) != 1:
                return None
            shape.append(sizes.pop())
            flat = list(chain.from_iterable(flat))
        if len(shape) > MOST_DIMENSIONS:
            return None
    types = set(map(type, flat))
    if not types <= kind.types:
        return None
    if dtype != STRING:
        return packed(flat, shape, dtype)
    if dict not in types:
        return packed(list(map(str.encode, flat)), shape, dtype)
    if not all(is_base64(each) for each in flat if type(each) is dict):
        return None
    try:
        strings = [each.encode() if type(each) is str else decoded(each["b64"]) for each in flat]
    except StatusError:
        return None
    return packed(strings, shape, dtype)
