"""What an Evaluator is asked for, and whether the columnar way can answer it."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf.message import Message
from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto import config_pb2
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import json_utils, path_utils, proto_utils

from components.evaluator.formulas import FORMULAS

Artifacts = dict[str, list[Artifact]]
METRIC_CLASSES = {
    "AUC": "auc",
    "BinaryAccuracy": "binary_accuracy",
    "BinaryCrossEntropy": "binary_crossentropy",
    "Calibration": "calibration",
    "ExampleCount": "example_count",
    "MeanLabel": "mean_label",
    "MeanPrediction": "mean_prediction",
    "Precision": "precision",
    "Recall": "recall",
}
# Fields of the configuration that the columnar way follows; any other that is set goes to Beam.
KNOWN_FIELDS = {
    config_pb2.EvalConfig: {"model_specs", "metrics_specs", "slicing_specs", "options"},
    config_pb2.ModelSpec: {
        "name",
        "signature_name",
        "label_key",
        "prediction_key",
        "preprocessing_function_names",
        "is_baseline",
    },
    config_pb2.MetricsSpec: {"metrics", "model_names"},
    config_pb2.MetricConfig: {"class_name"},
    config_pb2.SlicingSpec: {"feature_keys"},
    config_pb2.Options: {"compute_confidence_intervals", "confidence_intervals", "include_default_metrics"},
}
# Inputs and execution properties of the node that only the stock executor knows.
ONLY_STOCK_INPUTS = (keys.SCHEMA_KEY,)
ONLY_STOCK_PROPERTIES = (
    keys.FEATURE_SLICING_SPEC_KEY,
    keys.FAIRNESS_INDICATOR_THRESHOLDS_KEY,
    keys.MODULE_FILE_KEY,
    keys.MODULE_PATH_KEY,
)


class NeedsBeamError(Exception):
    """The columnar way does not know something that is asked for; the message says what."""


@dataclass(frozen=True)
class Request:
    """An evaluation that the columnar way can answer.

    Attributes:
        config: with TFMA's defaults; without a baseline its only model has the name "".
        model_paths: SavedModel folder by model name, in the order of the config.
        metric_keys: the metrics of all models, without differences, in TFMA's order.
        with_intervals: whether each metric gets TFMA's Poisson bootstrap interval.
        files: gzip TFRecord files of the splits, in order.
    """

    config: config_pb2.EvalConfig
    model_paths: dict[str, str]
    metric_keys: tuple[metric_types.MetricKey, ...]
    with_intervals: bool
    files: tuple[str, ...]


def request_of(inputs: Artifacts, properties: dict[str, Any]) -> Request:
    """Reads the inputs and execution properties of the node. Raises NeedsBeamError."""
    _only_known_inputs(inputs, properties)
    config = tfma.EvalConfig()
    proto_utils.json_to_proto(properties[keys.EVAL_CONFIG_KEY], config)
    # The same defaults as the stock executor's: without a baseline its model spec goes.
    config = tfma.utils.update_eval_config_with_defaults(
        config, has_baseline=bool(inputs.get(keys.BASELINE_MODEL_KEY)), rubber_stamp=True
    )
    tfma.utils.verify_eval_config(config)
    _only_known_fields([config, *config.model_specs, *config.metrics_specs, *config.slicing_specs, config.options])
    _only_known_fields(metric for spec in config.metrics_specs for metric in spec.metrics)
    return Request(
        config=config,
        model_paths={spec.name: _model_path(inputs, spec.is_baseline) for spec in config.model_specs},
        metric_keys=_metric_keys(config),
        with_intervals=_with_intervals(config.options),
        files=_files(inputs[keys.EXAMPLES_KEY], json_utils.loads(properties.get(keys.EXAMPLE_SPLITS_KEY) or "null")),
    )


def _only_known_inputs(inputs: Artifacts, properties: dict[str, Any]) -> None:
    for name in ONLY_STOCK_INPUTS:
        if inputs.get(name):
            raise NeedsBeamError(f"input {name!r}")
    for name in ONLY_STOCK_PROPERTIES:
        if properties.get(name) not in (None, "", "null"):
            raise NeedsBeamError(f"execution property {name!r}")
    if not properties.get(keys.EVAL_CONFIG_KEY):
        raise NeedsBeamError("no eval_config")
    if len(inputs.get(keys.MODEL_KEY, [])) != 1 or len(inputs.get(keys.BASELINE_MODEL_KEY, [])) > 1:
        raise NeedsBeamError("not one model, and at most one baseline")


def _only_known_fields(messages: Iterable[Message]) -> None:
    for message in messages:
        unknown = {field.name for field, _ in message.ListFields()} - KNOWN_FIELDS[type(message)]
        if unknown:
            raise NeedsBeamError(f"{type(message).__name__} with {', '.join(sorted(unknown))}")


def _model_path(inputs: Artifacts, is_baseline: bool) -> str:
    artifact = inputs[keys.BASELINE_MODEL_KEY if is_baseline else keys.MODEL_KEY][0]
    path = path_utils.serving_model_path(artifact.uri, path_utils.is_old_model_artifact(artifact))
    # Of a Keras SavedModel TFMA also computes the metrics that the model was compiled with.
    if fileio.exists(posixpath.join(path, "keras_metadata.pb")):
        raise NeedsBeamError(f"a Keras SavedModel in {path}")
    return str(path)


def _metric_keys(config: config_pb2.EvalConfig) -> tuple[metric_types.MetricKey, ...]:
    for class_name in (metric.class_name for spec in config.metrics_specs for metric in spec.metrics):
        if class_name not in METRIC_CLASSES:
            raise NeedsBeamError(f"metric {class_name!r}")
    computations = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    found = {key for computation in computations for key in computation.keys if not key.name.startswith("_")}
    for key in found:
        if key.name not in FORMULAS or key.sub_key or key.aggregation_type or key.output_name or key.example_weighted:
            raise NeedsBeamError(f"metric {key}")
    return tuple(sorted(found))


def _with_intervals(options: config_pb2.Options) -> bool:
    if not options.compute_confidence_intervals.value:
        return False
    if options.confidence_intervals.method != config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP:
        raise NeedsBeamError("confidence intervals that are not of the Poisson bootstrap")
    return True


def _files(examples: list[Artifact], splits: list[str] | None) -> tuple[str, ...]:
    for artifact in examples:
        for name, expected in (("payload_format", "FORMAT_TF_EXAMPLE"), ("file_format", "tfrecords_gzip")):
            if artifact.has_custom_property(name) and artifact.get_string_custom_property(name) != expected:
                raise NeedsBeamError(f"examples of {name} {artifact.get_string_custom_property(name)!r}")
    uris = [uri for split in splits or ["eval"] for uri in artifact_utils.get_split_uris(examples, split)]
    files = [file for uri in uris for file in sorted(fileio.glob(posixpath.join(uri, "*")))]
    for file in files:
        if not file.endswith(".gz"):
            raise NeedsBeamError(f"examples that are not gzip TFRecord files: {file}")
    return tuple(files)
