"""SavedModels for the tests of the model server: small, written in a second or less each, one function a kind.

Not a test module. `KINDS` lists them; the fixture `models` builds each once a session: `models("matmul")` is its
directory. `push` copies one into a base path as a version, the way a publisher would.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.serving import small_model
from tests.serving.model_server.models_tf1 import PREDICT, classes, export, half_plus_two_tf1

# dtypes that JSON can carry, and others, by TensorFlow's names
REST_TYPES = ("bool", "double", "float", "int16", "int32", "int64", "int8", "string", "uint32", "uint64", "uint8")


OTHER_TYPES = ("bfloat16", "complex128", "complex64", "half", "uint16")


BIG_MB = 8  # of the kind `big`


def build(kind: str, directory: Path) -> Path:
    """Writes the SavedModel (or what is left of it) of one of KINDS into `directory`, which must not exist."""
    KINDS[kind](directory)
    return directory


def push(source: Path, base: Path, version: int | str) -> Path:
    """Copies a SavedModel into `base/version` under a temporary name, then renames it, as a publisher does."""
    target = base / str(version)
    unfinished = base / f".{version}.tmp"
    base.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, unfinished)
    os.rename(unfinished, target)  # noqa: PTH104
    return target


def example(**features: float | bytes | list[float] | list[bytes]) -> bytes:
    """A serialized tf.Example with float and bytes features."""
    import tensorflow as tf

    def feature(value: Any) -> Any:
        values = value if isinstance(value, list) else [value]
        if values and isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    record = tf.train.Example(features=tf.train.Features(feature={name: feature(features[name]) for name in features}))
    serialized: bytes = record.SerializeToString()
    return serialized


def half_plus_two(directory: Path, addend: float = 2.0) -> None:
    """TF2: `x` float [n] -> `y` = x / 2 + addend; half_plus_three has the addend 3, to tell versions apart."""
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.addend = tf.Variable(addend)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            return {"y": 0.5 * x + self.addend}

    model = Model()
    tf.saved_model.save(model, str(directory), signatures={"serving_default": model.__call__})


def identity(directory: Path) -> None:
    """What goes in comes out, any shape.

    `serving_default`: an input and an output for each of REST_TYPES, named as the type, and the string once more as
    the output `string_bytes`. One signature `x` -> `y` named after each dtype of REST_TYPES and OTHER_TYPES.
    """

    def graph(v1: Any) -> dict[str, Any]:
        x = {dtype: v1.placeholder(v1.as_dtype(dtype), None, name=dtype) for dtype in (*REST_TYPES, *OTHER_TYPES)}
        y = {dtype: v1.identity(x[dtype], name=f"{dtype}_out") for dtype in x}
        all_outputs = {dtype: y[dtype] for dtype in REST_TYPES} | {"string_bytes": v1.identity(x["string"])}
        return {
            "serving_default": (PREDICT, {dtype: x[dtype] for dtype in REST_TYPES}, all_outputs),
            **{dtype: (PREDICT, {"x": x[dtype]}, {"y": y[dtype]}) for dtype in x},
        }

    export(directory, graph)


def matmul(directory: Path) -> None:
    """`x` float [n, 3] (not said statically) -> `y` [n, 2] = x @ [[1, 2], [3, 4], [5, 6]]."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, None, name="x")
        weights = v1.get_variable("weights", initializer=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        return {"serving_default": (PREDICT, {"x": x}, {"y": v1.matmul(x, weights)})}

    export(directory, graph)


def defaults(directory: Path) -> None:
    """`a`, `b`, `c` float -> `sum` = a + 10 b + 100 c; `b` defaults to 2 and `c` to [3]."""

    def graph(v1: Any) -> dict[str, Any]:
        a, b, c = (v1.placeholder(v1.float32, None, name=name) for name in "abc")
        inputs = {"a": a, "b": b, "c": c}
        return {"serving_default": (PREDICT, inputs, {"sum": a + 10.0 * b + 100.0 * c}, {"b": 2.0, "c": [3.0]})}

    export(directory, graph)


def slow(directory: Path) -> None:
    """`seconds` float [n] -> `y` = seconds, after the greatest of them: a loop in the graph keeps one core busy."""

    def graph(v1: Any) -> dict[str, Any]:
        seconds = v1.placeholder(v1.float32, [None], name="seconds")
        end = v1.timestamp() + v1.cast(v1.reduce_max(seconds), v1.float64)
        waited = v1.while_loop(lambda now: now < end, lambda now: [v1.timestamp()], [v1.timestamp()])
        with v1.control_dependencies([waited]):
            return {"serving_default": (PREDICT, {"seconds": seconds}, {"y": v1.identity(seconds)})}

    export(directory, graph)


def not_finite(directory: Path) -> None:
    """`x` float [n] -> `y` = log(x): -inf for 0, NaN below; `inverse` = 1 / x: inf for 0."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        return {"serving_default": (PREDICT, {"x": x}, {"y": v1.math.log(x), "inverse": 1.0 / x})}

    export(directory, graph)


def scalar(directory: Path) -> None:
    """`x` float [n] -> `total`, of rank 0. Signature `uneven`: `x` -> `same` [n] and `more` [n + 1]."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        more = {"same": v1.identity(x), "more": v1.concat([x, [0.0]], 0)}
        return {
            "serving_default": (PREDICT, {"x": x}, {"total": v1.reduce_sum(x)}),
            "uneven": (PREDICT, {"x": x}, more),
        }

    export(directory, graph)


def table(directory: Path) -> None:
    """`word` string -> `number` int64, its line in an asset file (`nil` 0, `one` 1, `two` 2), -1 for others."""
    vocabulary = directory.parent / f"{directory.name}.words.txt"
    vocabulary.write_text("nil\none\ntwo\n")

    def graph(v1: Any) -> dict[str, Any]:
        asset = v1.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        initializer = v1.lookup.TextFileInitializer(
            asset, v1.string, v1.lookup.TextFileIndex.WHOLE_LINE, v1.int64, v1.lookup.TextFileIndex.LINE_NUMBER
        )
        numbers = v1.lookup.StaticHashTable(initializer, -1)
        word = v1.placeholder(v1.string, None, name="word")
        return {"serving_default": (PREDICT, {"word": word}, {"number": numbers.lookup(word)})}

    export(directory, graph)
    vocabulary.unlink()


def big(directory: Path) -> None:
    """`x` float [n] -> `y` = x + the sum of a variable of BIG_MB MiB of zeros."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        block = v1.get_variable("block", [BIG_MB << 18], initializer=v1.zeros_initializer(), use_resource=True)
        return {"serving_default": (PREDICT, {"x": x}, {"y": x + v1.reduce_sum(block)})}

    export(directory, graph)


def house(directory: Path) -> None:
    """The three signatures of the house: serving_default, serving_examples, transform_features."""
    small_model.build(directory)


def empty(directory: Path) -> None:
    """A version that was never written: a directory with another file."""
    directory.mkdir()
    (directory / "README.md").write_text("nothing to serve\n")


def garbage(directory: Path) -> None:
    """A saved_model.pb that is no protobuf."""
    directory.mkdir()
    (directory / "saved_model.pb").write_bytes(bytes(range(255, 0, -1)) * 8)


def wrong_tags(directory: Path) -> None:
    """Exported for the tag `train` alone."""
    half_plus_two_tf1(directory, ("train",))


def no_variables(directory: Path) -> None:
    """The graph without its variables, as a copy leaves it that has not ended."""
    half_plus_two(directory)
    shutil.rmtree(directory / "variables")


KINDS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "half_plus_two": half_plus_two,
        "half_plus_three": lambda directory: half_plus_two(directory, 3.0),
        "half_plus_two_tf1": half_plus_two_tf1,
        "identity": identity,
        "matmul": matmul,
        "defaults": defaults,
        "slow": slow,
        "not_finite": not_finite,
        "scalar": scalar,
        "classes": classes,
        "table": table,
        "big": big,
        "house": house,
        "empty": empty,
        "garbage": garbage,
        "wrong_tags": wrong_tags,
        "no_variables": no_variables,
    }
)
