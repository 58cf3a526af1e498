"""Versions of a model that are harmful, slow or broken on purpose, made from a good one by a few nodes in its graph.

The SavedModel's own file is edited, so that nothing is trained or traced: what is added stands between the graph's
output and the signature's.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.errors import InputError

SIGNATURE = "serving_default"
OUTPUT = "score"
_LATE_US = 125_000  # twice: for the number, and to find that there is no other
_FLOAT, _INT64 = 1, 9  # of TensorFlow's DataType


def make(good: Path, target: Path, kind: str) -> None:
    """Writes a version of the model in `good` to `target`.

    Args:
        kind: `good` is a copy; `harmful` ranks the other way round (1 - score); `slow` gives the same answers a quarter
            of a second later; `broken` answers NaN.

    Raises:
        InputError: the model has no output `score` in `serving_default`.
    """
    shutil.copytree(good, target)
    if kind == "good":
        return
    from tensorflow.core.protobuf import saved_model_pb2

    file = target / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs[0]
    try:
        output = graph.signature_def[SIGNATURE].outputs[OUTPUT]
    except KeyError:
        output = None
    if output is None or not output.name:
        raise InputError(
            f"{good} has no output {OUTPUT} in the signature {SIGNATURE}; the demonstration needs a ranking"
        )
    output.name = _KINDS[kind](graph.graph_def.node, output.name) + ":0"
    file.write_bytes(model.SerializeToString(deterministic=True))


def _harmful(nodes: Any, score: str) -> str:
    return _add(nodes, "Sub", "demo_reversed", _number(nodes, "demo_one", 1.0), score)


def _slow(nodes: Any, score: str) -> str:
    # A dataset of one number that takes its time: it waits and uses no CPU, so that nothing else is slowed down.
    numbers = [_whole(nodes, f"demo_{name}", value) for name, value in (("from", 0), ("to", 1), ("step", 1))]
    once = _add(nodes, "RangeDataset", "demo_once", *numbers, attributes={})
    late = _add(nodes, "SleepDataset", "demo_late", once, _whole(nodes, "demo_us", _LATE_US), attributes={})
    for node in (one for one in nodes if one.name in (once, late)):
        node.attr["output_types"].list.type.append(_INT64)
        node.attr["output_shapes"].list.shape.add()
    waited = _add(nodes, "DatasetToSingleElement", "demo_waited", late, attributes={})
    nodes[-1].attr["output_types"].list.type.append(_INT64)
    nodes[-1].attr["output_shapes"].list.shape.add()
    return _add(nodes, "Identity", "demo_slow", score, f"^{waited}")


def _broken(nodes: Any, score: str) -> str:
    return _add(nodes, "Log", "demo_nan", _add(nodes, "Sub", "demo_below", score, _number(nodes, "demo_two", 2.0)))


_KINDS: dict[str, Callable[[Any, str], str]] = {"harmful": _harmful, "slow": _slow, "broken": _broken}


def _add(nodes: Any, operation: str, name: str, *inputs: str, attributes: dict[str, int] | None = None) -> str:
    node = nodes.add(op=operation, name=name, input=inputs)
    for key, kind in ({"T": _FLOAT} if attributes is None else attributes).items():
        node.attr[key].type = kind
    return name


def _number(nodes: Any, name: str, value: float) -> str:
    node = nodes.add(op="Const", name=name)
    tensor = node.attr["value"].tensor
    tensor.dtype = node.attr["dtype"].type = _FLOAT
    tensor.tensor_shape.SetInParent()
    tensor.float_val.append(value)
    return name


def _whole(nodes: Any, name: str, value: int) -> str:
    node = nodes.add(op="Const", name=name)
    tensor = node.attr["value"].tensor
    tensor.dtype = node.attr["dtype"].type = _INT64
    tensor.tensor_shape.SetInParent()
    tensor.int64_val.append(value)
    return name
