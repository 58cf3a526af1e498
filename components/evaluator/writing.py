"""The files of a TFMA evaluation, written by TFMA's own conversions."""

import posixpath
from collections.abc import Iterable

import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_model_analysis import version
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import eval_config_writer
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as tfma_writer
from tfx.dsl.io import fileio

from components.evaluator.measuring import SliceMetrics
from components.evaluator.request import Request

__all__ = ["write_evaluation"]

# What TFMA writes where it is not told the place of the data.
NO_LOCATION, NO_FORMAT = "<user provided PCollection>", "<unknown>"


def write_evaluation(folder: str, request: Request, slices: Iterable[SliceMetrics]) -> None:
    """Writes metrics, empty plots and attributions, the validation and the configuration, which comes last."""
    measured = list(slices)
    fileio.makedirs(folder)
    _write(folder, "metrics", (tfma_writer.convert_slice_metrics_to_proto(one, []) for one in measured))
    _write(folder, "plots", (tfma_writer.convert_slice_plots_to_proto((key, {}), []) for key, _ in measured))
    _write(folder, "attributions", (tfma_writer.convert_slice_attributions_to_proto((key, {})) for key, _ in measured))
    _write_records(posixpath.join(folder, "validations.tfrecord"), [_validation(request.config, measured)])
    run = config_pb2.EvalRun(
        eval_config=request.config,
        version=version.VERSION,
        data_location=NO_LOCATION,
        file_format=NO_FORMAT,
        model_locations=request.model_paths,
    )
    name = f"{eval_config_writer.EVAL_CONFIG_FILE}.{eval_config_writer.EVAL_CONFIG_FILE_FORMAT}"
    with fileio.open(posixpath.join(folder, name), "w") as file:
        # Sorted, for the order of a map's entries changes from process to process.
        file.write(json_format.MessageToJson(run, sort_keys=True) + "\n")


def _write(folder: str, name: str, messages: Iterable[Message]) -> None:
    _write_records(posixpath.join(folder, f"{name}-00000-of-00001.tfrecord"), messages)


def _write_records(path: str, messages: Iterable[Message]) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for message in messages:
            writer.write(message.SerializeToString(deterministic=True))


def _validation(config: config_pb2.EvalConfig, slices: Iterable[SliceMetrics]) -> Message:
    """TFMA's validation of an evaluation without thresholds, which validates nothing: the gates judge."""
    combine = tfma_writer.CombineValidations(config, rubber_stamp=False)
    result = combine.create_accumulator()
    for one in slices:
        result = combine.add_input(result, metrics_validator.validate_metrics(one, config))
    validation: Message = combine.extract_output(result)
    return validation
