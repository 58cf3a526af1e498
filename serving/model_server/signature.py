"""What a SavedModel's signatures take and give, read once when a version is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

DEFAULT = "serving_default"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        tensor: its name in the graph, `x:0`.
        dtype: a value of TensorFlow's DataType enum.
    """

    tensor: str
    dtype: int


@dataclass(frozen=True)
class Signature:
    """One signature of a SavedModel.

    Attributes:
        name: its key.
        method: `tensorflow/serving/predict`, ...; TF2 exports always say predict.
        inputs, outputs: alias -> tensor, sorted by alias.
        defaults: alias -> value to feed where a request leaves the input out.
        definition: the SignatureDef itself.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    defaults: Mapping[str, Array] = field(default_factory=dict)
    definition: Any = None


def read(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """The signatures of a MetaGraphDef's `signature_def`, by key."""
    return {name: _read(name, definitions[name]) for name in sorted(definitions)}


def _read(name: str, definition: Any) -> Signature:
    import tensorflow as tf

    def infos(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
        return {alias: TensorInfo(tensors[alias].name, tensors[alias].dtype) for alias in sorted(tensors)}

    defaults = {alias: tf.make_ndarray(value) for alias, value in sorted(definition.defaults.items())}
    return Signature(
        name, definition.method_name, infos(definition.inputs), infos(definition.outputs), defaults, definition
    )
