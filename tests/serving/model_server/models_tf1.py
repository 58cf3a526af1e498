"""TF1 SavedModels for the tests, and how they are written; models.KINDS lists them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PREDICT = "tensorflow/serving/predict"


CLASSIFY = "tensorflow/serving/classify"


REGRESS = "tensorflow/serving/regress"


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

    export(directory, graph, tags)


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

    export(directory, graph)


def export(directory: Path, graph: Callable[[Any], Mapping[str, Any]], tags: Sequence[str] = ("serve",)) -> None:
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
