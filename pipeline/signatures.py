"""The signatures of every SavedModel; `docs/design.md` names them and their outputs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    import tensorflow_transform as tft
    from tensorflow_metadata.proto.v0 import schema_pb2

SERVING_DEFAULT = "serving_default"  # raw columns, batch first
SERVING_EXAMPLES = "serving_examples"  # serialized tf.Examples of raw features
TRANSFORM_FEATURES = "transform_features"  # serialized tf.Examples of raw features and label
SCORE = "score"  # float32 [batch, 1]


def export(model: "keras.Model", transform: "tft.TFTransformOutput", schema_path: str, label: str, path: str) -> None:
    """Writes a SavedModel with the three signatures.

    Uses keras.export.ExportArchive: what `tf.saved_model.save` makes of a Keras 3 model does not load in a TF1
    session, which is how TensorFlow Serving loads it.

    Args:
        model: from a dict of transformed features to probabilities [batch, 1].
        transform: output of the Transform node.
        schema_path: the raw records' schema (pbtxt).
        label: raw feature that is never an input of a serving signature.
        path: the folder to write; must not exist.
    """
    import keras
    import tensorflow as tf

    schema = read_schema(schema_path)
    layer = transform.transform_features_layer()
    wanted = [tensor.name for tensor in model.inputs]

    def score(raw: "dict[str, tf.Tensor | tf.SparseTensor]") -> "dict[str, tf.Tensor]":
        features = layer(raw)
        return {SCORE: tf.cast(model({name: features[name] for name in wanted}, training=False), tf.float32)}

    spec = transform.raw_feature_spec()
    without_label = {name: feature for name, feature in spec.items() if name in serving_features(schema)}
    if label in without_label:
        raise ValueError(f'the schema lets the label {label!r} be served: give it `not_in_environment: "SERVING"`')

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_examples(examples: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return score(tf.io.parse_example(examples, without_label))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(examples: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return dict(layer(tf.io.parse_example(examples, spec)))

    columns = {name: column_spec(feature, name) for name, feature in without_label.items()}
    lists = multi_valued(schema)

    @tf.function(autograph=False, input_signature=[columns])
    def serving_default(raw: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        return score({name: _parsed(raw[name], spec[name], name in lists) for name in columns})

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(layer)
    endpoints: dict[str, Callable[..., Any]] = {
        SERVING_DEFAULT: serving_default,
        SERVING_EXAMPLES: serving_examples,
        TRANSFORM_FEATURES: transform_features,
    }
    for name, function in endpoints.items():
        archive.add_endpoint(name, function)
    archive.write_out(path, verbose=False)


def read_schema(path: str) -> "schema_pb2.Schema":
    """Parses a schema in protobuf's text format."""
    import tensorflow as tf
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    with tf.io.gfile.GFile(path) as file:
        schema: schema_pb2.Schema = text_format.Parse(file.read(), schema_pb2.Schema())
    return schema


def serving_features(schema: "schema_pb2.Schema") -> frozenset[str]:
    """Names of the raw features that a client sends: those not kept out of the SERVING environment."""
    return frozenset(feature.name for feature in schema.feature if "SERVING" not in feature.not_in_environment)


def multi_valued(schema: "schema_pb2.Schema") -> frozenset[str]:
    """Names of the raw features that hold a list of values, not one or none."""
    return frozenset(feature.name for feature in schema.feature if feature.value_count.max > 1)


def column_spec(feature: Any, name: str) -> "tf.TensorSpec":
    """A raw column as a client sends it: [batch] where one value is required, else [batch, values]."""
    import tensorflow as tf

    if not isinstance(feature, tf.io.FixedLenFeature):
        return tf.TensorSpec([None, None], feature.dtype, name=name)
    one_value = all(size == 1 for size in feature.shape)
    return tf.TensorSpec([None] if one_value else [None, *feature.shape], feature.dtype, name=name)


def _parsed(column: "tf.Tensor", feature: Any, is_list: bool) -> "tf.Tensor | tf.SparseTensor":
    """The column in the form that `tf.io.parse_example` gives to the transform graph.

    A client pads a list that is shorter than the longest of its batch with '' (texts), NaN (floats) or the least int64,
    and sends the same for an optional number that is missing. An optional text is different, for '' is a text: where it
    is missing the row is empty, which one request can only say for all of its rows; `serving_examples` has no such
    limit.
    """
    import tensorflow as tf

    if isinstance(feature, tf.io.FixedLenFeature):
        return tf.reshape(column, [-1, *feature.shape])
    if column.dtype == tf.string:
        present = tf.not_equal(column, "") if is_list else tf.ones_like(column, tf.bool)
    elif column.dtype.is_floating:
        present = tf.logical_not(tf.math.is_nan(column))
    else:
        present = tf.not_equal(column, column.dtype.min)
    return tf.ragged.boolean_mask(column, present).to_sparse()
