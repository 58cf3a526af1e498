"""SavedModels for the tests of the model server: small, written in a second or less each, one function a kind.

Not a test module. `KINDS` lists them; the fixture `models` builds each once a session: `models("matmul")` is its
directory. `push` copies one into a base path as a version, the way a publisher would.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.serving import small_model

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
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


def half_plus_two_tf1(directory: Path, tags: Sequence[str] = ("serve",)) -> None:
    """TF1, upstream's model: `a*x + b` and `a*x + c` from tf.Examples with `x`, and `a*x2 + c` from the number x2.

    Reference variables and a resource variable, the placeholder behind `serving_default` of static shape [-1, 1].
    Signatures: serving_default (x -> y), regress_x_to_y, regress_x_to_y2, regress_x2_to_y3, classify_x_to_y.
    """

    def graph(v1: Any) -> dict[str, Any]:
        a = v1.get_variable("a", initializer=0.5, use_resource=False)
        b = v1.get_variable("b", initializer=2.0, use_resource=False)
        c = v1.get_variable("c", initializer=3.0, use_resource=True)
        serialized = v1.placeholder(v1.string, [None], name="tf_example")
        features = {
            "x": v1.FixedLenFeature([1], v1.float32),
            "x2": v1.FixedLenFeature([1], v1.float32, default_value=[0.0]),
        }
        parsed = v1.parse_example(serialized, features)
        x, x2 = v1.identity(parsed["x"], name="x"), v1.identity(parsed["x2"], name="x2")
        y = v1.identity(a * x + b, name="y")
        return {
            "serving_default": (PREDICT, {"x": x}, {"y": y}),
            "regress_x_to_y": (REGRESS, {"inputs": serialized}, {"outputs": y}),
            "regress_x_to_y2": (REGRESS, {"inputs": serialized}, {"outputs": v1.identity(a * x + c, name="y2")}),
            "regress_x2_to_y3": (REGRESS, {"inputs": x2}, {"outputs": v1.identity(a * x2 + c, name="y3")}),
            "classify_x_to_y": (CLASSIFY, {"inputs": serialized}, {"scores": y}),
        }

    _export(directory, graph, tags)


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

    _export(directory, graph)


def matmul(directory: Path) -> None:
    """`x` float [n, 3] (not said statically) -> `y` [n, 2] = x @ [[1, 2], [3, 4], [5, 6]]."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, None, name="x")
        weights = v1.get_variable("weights", initializer=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        return {"serving_default": (PREDICT, {"x": x}, {"y": v1.matmul(x, weights)})}

    _export(directory, graph)


def defaults(directory: Path) -> None:
    """`a`, `b`, `c` float -> `sum` = a + 10 b + 100 c; `b` defaults to 2 and `c` to [3]."""

    def graph(v1: Any) -> dict[str, Any]:
        a, b, c = (v1.placeholder(v1.float32, None, name=name) for name in "abc")
        inputs = {"a": a, "b": b, "c": c}
        return {"serving_default": (PREDICT, inputs, {"sum": a + 10.0 * b + 100.0 * c}, {"b": 2.0, "c": [3.0]})}

    _export(directory, graph)


def slow(directory: Path) -> None:
    """`seconds` float [n] -> `y` = seconds, after the greatest of them: a loop in the graph keeps one core busy."""

    def graph(v1: Any) -> dict[str, Any]:
        seconds = v1.placeholder(v1.float32, [None], name="seconds")
        end = v1.timestamp() + v1.cast(v1.reduce_max(seconds), v1.float64)
        waited = v1.while_loop(lambda now: now < end, lambda now: [v1.timestamp()], [v1.timestamp()])
        with v1.control_dependencies([waited]):
            return {"serving_default": (PREDICT, {"seconds": seconds}, {"y": v1.identity(seconds)})}

    _export(directory, graph)


def not_finite(directory: Path) -> None:
    """`x` float [n] -> `y` = log(x): -inf for 0, NaN below; `inverse` = 1 / x: inf for 0."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        return {"serving_default": (PREDICT, {"x": x}, {"y": v1.math.log(x), "inverse": 1.0 / x})}

    _export(directory, graph)


def scalar(directory: Path) -> None:
    """`x` float [n] -> `total`, of rank 0. Signature `uneven`: `x` -> `same` [n] and `more` [n + 1]."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        more = {"same": v1.identity(x), "more": v1.concat([x, [0.0]], 0)}
        return {
            "serving_default": (PREDICT, {"x": x}, {"total": v1.reduce_sum(x)}),
            "uneven": (PREDICT, {"x": x}, more),
        }

    _export(directory, graph)


def classes(directory: Path) -> None:
    """tf.Examples with `x` float [3] -> labels `low`, `mid`, `high` and the scores x.

    Signatures: serving_default (both), scores, classes, regress ([n]), and for each refusal one that is unfit:
    flat_scores, int_scores, text_batch, number_classes, uneven, two_inputs, three_outputs, no_inputs, no_outputs,
    wide (regression of [n, 3]), int_regress, short (regression of [n + 1]), from_x (input is the parsed feature).
    """

    def graph(v1: Any) -> dict[str, Any]:
        text = v1.placeholder(v1.string, [None], name="examples")
        x = v1.parse_example(text, {"x": v1.FixedLenFeature([3], v1.float32)})["x"]
        labels = v1.tile([["low", "mid", "high"]], [v1.shape(x)[0], 1])
        flat, whole, longer = x[:, 0], v1.cast(x, v1.int32), v1.concat([x, x[:1]], 0)

        def classify(inputs: dict[str, Any] | None = None, **outputs: Any) -> Any:
            return CLASSIFY, inputs or {"inputs": text}, outputs

        def regress(inputs: dict[str, Any] | None = None, **outputs: Any) -> Any:
            return REGRESS, inputs or {"inputs": text}, outputs

        return {
            "serving_default": classify(classes=labels, scores=x),
            "scores": classify(scores=x),
            "classes": classify(classes=labels),
            "regress": regress(outputs=flat),
            "flat_scores": classify(scores=flat),
            "int_scores": classify(scores=whole),
            "text_batch": classify(classes=v1.concat([labels, labels[:1]], 0)),
            "number_classes": classify(classes=x),
            "uneven": classify(classes=labels[:, :2], scores=x),
            "two_inputs": classify({"inputs": text, "more": x}, scores=x),
            "three_outputs": classify(classes=labels, scores=x, more=flat),
            "no_inputs": classify({"examples": text}, scores=x),
            "no_outputs": classify(probabilities=x),
            "wide": regress(outputs=x),
            "int_regress": regress(outputs=whole[:, 0]),
            "short": regress(outputs=longer[:, 0]),
            "from_x": regress({"inputs": x}, outputs=flat),
            "regress_no_inputs": regress({"examples": text}, outputs=flat),
            "regress_no_outputs": regress(y=flat),
            "regress_two_outputs": regress(outputs=flat, more=flat),
        }

    _export(directory, graph)


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

    _export(directory, graph)
    vocabulary.unlink()


def big(directory: Path) -> None:
    """`x` float [n] -> `y` = x + the sum of a variable of BIG_MB MiB of zeros."""

    def graph(v1: Any) -> dict[str, Any]:
        x = v1.placeholder(v1.float32, [None], name="x")
        block = v1.get_variable("block", [BIG_MB << 18], initializer=v1.zeros_initializer(), use_resource=True)
        return {"serving_default": (PREDICT, {"x": x}, {"y": x + v1.reduce_sum(block)})}

    _export(directory, graph)


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


def _export(directory: Path, graph: Callable[[Any], Mapping[str, Any]], tags: Sequence[str] = ("serve",)) -> None:
    """Writes a TF1 SavedModel.

    Args:
        graph: given tf.compat.v1, builds the graph and returns {signature: (method, inputs, outputs[, defaults])}.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        definitions = {name: _definition(v1, *parts) for name, parts in graph(v1).items()}
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            list(tags),
            definitions,
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()


def _definition(
    v1: Any, method: str, inputs: dict[str, Any], outputs: dict[str, Any], defaults: Mapping[str, Any] | None = None
) -> Any:
    def infos(tensors: dict[str, Any]) -> dict[str, Any]:
        return {alias: v1.saved_model.build_tensor_info(tensor) for alias, tensor in tensors.items()}

    definition = v1.saved_model.build_signature_def(infos(inputs), infos(outputs), method)
    for alias, value in (defaults or {}).items():
        definition.defaults[alias].CopyFrom(v1.make_tensor_proto(value, v1.float32))
    return definition
