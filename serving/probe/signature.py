"""Fits raw columns to what a signature of a SavedModel takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.probe.request import Array, Group

EXAMPLES = "examples"  # the input of a signature that takes serialized tf.Examples


class UnfitError(Exception):
    """The model takes other things than the records hold; the message says which."""


@dataclass(frozen=True)
class Input:
    """One input of a signature: NumPy dtype (object for texts) and rank (None where it is unknown)."""

    dtype: np.dtype[Any]
    rank: int | None


def inputs_of(signatures: Mapping[str, Any], name: str) -> dict[str, Input]:
    """The inputs of a signature.

    Args:
        signatures: name -> SignatureDef of the SavedModel's MetaGraph.

    Raises:
        UnfitError: it has no such signature.
    """
    import tensorflow as tf

    if name not in signatures:
        public = sorted(one for one in signatures if not one.startswith("__"))
        raise UnfitError(f"the model has no signature {name}; it has {', '.join(public) or 'none'}")
    tensors = signatures[name].inputs
    return {
        key: Input(
            np.dtype(tf.dtypes.as_dtype(tensors[key].dtype).as_numpy_dtype),
            None if tensors[key].tensor_shape.unknown_rank else len(tensors[key].tensor_shape.dim),
        )
        for key in sorted(tensors)
    }


def fit(group: Group, inputs: Mapping[str, Input], name: str) -> dict[str, Array]:
    """The group's columns as the signature takes them: [batch] or [batch, values].

    Raises:
        UnfitError: it takes a column that the records have not, or one value where a record has none or several.
    """
    missing = sorted(set(inputs) - set(group.columns))
    if missing:
        raise UnfitError(f"signature {name} takes {', '.join(missing)}, which is no feature that a client sends")
    return {key: _fitted(group.columns[key], wanted, key, name) for key, wanted in inputs.items()}


def _fitted(column: Array, wanted: Input, key: str, name: str) -> Array:
    if (column.dtype.kind == "O") != (wanted.dtype.kind == "O"):
        raise UnfitError(
            f"signature {name} takes {key} as {_named(wanted.dtype)}; the schema has {_named(column.dtype)}"
        )
    if wanted.rank == 1:
        if column.shape[1] != 1:
            raise UnfitError(f"signature {name} takes one {key} a record, and a record has {column.shape[1]}")
        column = column[:, 0]
    return column.astype(wanted.dtype)


def _named(dtype: np.dtype[Any]) -> str:
    return "texts" if dtype.kind == "O" else dtype.name
