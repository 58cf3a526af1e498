"""The slow reading of a predict request: value by value, in the order in which TF Serving looks at them.

It runs only where `json_tensors` met something odd, and says what. The texts are TF Serving's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.model_server.rest.json_reading import dump, invalid
from serving.model_server.rest.json_values import KINDS, MOST_DIMENSIONS, NAMES, STRING, decoded, is_base64, packed
from serving.model_server.signature import Array, TensorInfo
from serving.status import Code, StatusError


@dataclass
class _Rows:
    """One input's values over the instances seen so far, with the size and shape that the first one had."""

    dtype: int
    values: list[Any] = field(default_factory=list)
    size: int | None = None
    shape: tuple[int, ...] = ()

    def add(self, item: Any) -> None:
        shape = _shape(item)
        before = len(self.values)
        _fill(item, 0, shape, self.dtype, self.values)
        size = len(self.values) - before
        if self.size is None:
            self.size, self.shape = size, shape
        elif size != self.size:
            raise invalid(f"Expecting tensor size: {self.size} but got: {size}")
        elif shape != self.shape:
            raise invalid(f"Expecting shape {_shape_text(self.shape)} but got: {_shape_text(shape)}")


def rows(instances: list[Any], inputs: Mapping[str, TensorInfo]) -> dict[str, Array]:
    """The tensors of a non-empty list of instances.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if type(instances[0]) is not dict and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_object(instances[0])
    found: dict[str, _Rows] = {}
    for number, item in enumerate(instances):
        if named:
            _add_object(item, number, inputs, found)
        elif _is_object(item):
            raise invalid(f"Expecting value/list but got object at item {number} of input list")
        else:
            alias = next(iter(inputs))
            _add(item, alias, f"{number}", inputs, found)
    return {
        alias: _tensor(tensor.values, (len(instances), *tensor.shape), tensor.dtype) for alias, tensor in found.items()
    }


def columns(value: Any, inputs: Mapping[str, TensorInfo]) -> dict[str, Array]:
    """The tensors of the value of `inputs`.

    Raises:
        StatusError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that has no form in JSON.
    """
    if _is_object(value):
        for alias in inputs:
            if alias not in value:
                raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        return {alias: _column(value[alias], info.dtype) for alias, info in inputs.items()}
    if len(inputs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    ((alias, info),) = inputs.items()
    return {alias: _column(value, info.dtype)}


def _column(value: Any, dtype: int) -> Array:
    shape, values = _shape(value), list[Any]()
    _fill(value, 0, shape, dtype, values)
    return _tensor(values, shape, dtype)


def _add_object(item: Any, number: int, inputs: Mapping[str, TensorInfo], found: dict[str, _Rows]) -> None:
    if not _is_object(item):
        raise invalid(f"Expecting object but got list at item {number} of input list")
    for alias, value in item.items():
        _add(value, alias, f"{number} key: {alias}", inputs, found)
    if item.keys() != inputs.keys():
        raise invalid(
            f"Failed to process element: {number} of 'instances' list. JSON object: {dump(item)} keys must be equal "
            f"to: {','.join(sorted(inputs))}"
        )


def _add(value: Any, alias: str, place: str, inputs: Mapping[str, TensorInfo], found: dict[str, _Rows]) -> None:
    """One instance's value for one input; every error is wrapped, and INVALID_ARGUMENT then."""
    try:
        if alias not in inputs:
            raise invalid(f"JSON object: does not have named input: {alias}")
        found.setdefault(alias, _Rows(inputs[alias].dtype)).add(value)
    except StatusError as error:
        raise invalid(f"Failed to process element: {place} of 'instances' list. Error: {error}") from None


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape that the first element at each level promises."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        value = value[0] if value else None
    if len(shape) > MOST_DIMENSIONS:
        raise _too_deep(len(shape))
    return tuple(shape)


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: int, values: list[Any]) -> None:
    """Appends a nested list's elements to `values` after checking each; recursion ends at the shape's rank."""
    rank = len(shape)
    if type(value) is not list:
        if level != rank:
            raise invalid(
                f"JSON Value: {dump(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{rank}"
            )
        values.append(_element(value, dtype))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for each in value:
        _fill(each, level + 1, shape, dtype, values)


def _element(value: Any, dtype: int) -> Any:
    """One element, checked; bytes for strings.

    Raises:
        StatusError: INVALID_ARGUMENT, or UNIMPLEMENTED.
    """
    kind = type(value)
    if kind is dict and dtype == STRING:
        if not is_base64(value):
            raise invalid(f"JSON Value: {dump(value)} not formatted correctly for base64 data")
        return decoded(value["b64"])
    if kind is not dict:
        if dtype not in KINDS:
            name = NAMES.get(dtype, str(dtype))
            raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {dump(value)} to type: {name}")
        if kind in KINDS[dtype].types and packed([value], (1,), dtype) is not None:
            return value.encode() if kind is str else value
    name = NAMES.get(dtype, str(dtype))
    raise invalid(f"JSON Value: {dump(value)} Type: {type_name(value)} is not of expected type: {name}")


def type_name(value: Any) -> str:
    """What a JSON value is called in messages: Null, True, False, Object, Array, String or Number."""
    if type(value) is bool:
        return str(value)
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def _tensor(values: list[Any], shape: tuple[int, ...], dtype: int) -> Array:
    """The checked values as a tensor. A dtype without a form in JSON gets here only where there are no values."""
    if len(shape) > MOST_DIMENSIONS:
        raise _too_deep(len(shape))
    if dtype not in KINDS:
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of an empty list to type: {NAMES.get(dtype, str(dtype))}")
    tensor = packed(values, shape, dtype)
    assert tensor is not None, "each value was checked"
    return tensor


def _too_deep(dimensions: int) -> StatusError:
    return invalid(f"Tensors of more than {MOST_DIMENSIONS} dimensions are not supported, got: {dimensions}")
