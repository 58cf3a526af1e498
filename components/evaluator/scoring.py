"""What the models say of the held-out records: predictions, labels and features to slice by, batch by batch.

TFMA's own steps call the signatures, so that inputs and outputs are taken as TFMA takes them; they run without Beam.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util, util
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.evaluator.formulas import Columns, columns_of
from components.evaluator.request import NeedsBeamError, Request
from components.evaluator.slices import SliceKey, feature_values, slice_rows

__all__ = ["Scored", "read_examples", "score", "shared_models"]

BATCH_ROWS = 512  # records may be pictures
SharedModels = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """Candidate and baseline on the same n records.

    Attributes:
        columns: labels and predictions by model name.
        slices: the rows of each slice, ascending.
        rows: n.
    """

    columns: dict[str, Columns]
    slices: dict[SliceKey, NDArray[np.int64]]
    rows: int


def read_examples(files: tuple[str, ...], most: int) -> list[bytes]:
    """The serialized tf.Examples of gzip TFRecord files.

    Raises:
        NeedsBeamError: there are more than `most`, or `most` is 0.
    """
    if most < 1:
        raise NeedsBeamError("no record may be held in memory")
    gzip = tf.io.TFRecordOptions(compression_type="GZIP")
    # Deprecated for eager code, but tf.data traces a graph for every file, which takes 10 times as long as the reading.
    records: list[bytes] = []
    for record in chain.from_iterable(tf.compat.v1.io.tf_record_iterator(file, gzip) for file in files):
        if len(records) == most:
            raise NeedsBeamError(f"more than {most} records")
        records.append(record)
    return records


def shared_models(request: Request) -> SharedModels:
    """TFMA's handles of the models by name; each is loaded at its first use."""
    # Without a type TFMA loads each model once more, only to see whether it is one of Keras; request_of has looked.
    typed = tfma.EvalConfig()
    typed.CopyFrom(request.config)
    for spec in typed.model_specs:
        spec.model_type = tfma.TF_GENERIC
    return {
        name: tfma.default_eval_shared_model(path, model_name=name, eval_config=typed)
        for name, path in request.model_paths.items()
    }


def score(request: Request, models: SharedModels, examples: list[bytes]) -> Scored:
    """Runs the models on all records.

    Raises:
        NeedsBeamError: labels or predictions are not one number a record, or labels not within 0 to 1.
        ValueError: a model lacks a signature that the config names, or predicts NaN.
        InputError: a text to slice by is not UTF-8.
    """
    config = request.config
    specs = [tuple(spec.feature_keys) for spec in config.slicing_specs] or [()]
    by_feature: dict[str, list[pa.Table]] = {name: [] for name in chain.from_iterable(specs)}
    labels: dict[str, list[Any]] = {name: [] for name in request.model_paths}
    predictions: dict[str, list[Any]] = {name: [] for name in request.model_paths}
    first_row = 0
    for raw, extracts in _batches(config, models, examples):
        wanted = model_util.get_feature_values_for_model_spec_field(
            list(config.model_specs), "label_key", "label_keys", extracts, True
        )
        for spec in config.model_specs:
            labels[spec.name].append(_numbers(_of_model(wanted, spec), raw.num_rows, "label", spec))
            predictions[spec.name].append(_numbers(_prediction(extracts, spec), raw.num_rows, "prediction", spec))
        transformed = _transformed(extracts, config)
        for feature, tables in by_feature.items():
            values = feature_values(feature, transformed, raw, first_row)
            tables.extend([] if values is None else [values])
        first_row += raw.num_rows
    values = {feature: pa.concat_tables(tables) for feature, tables in by_feature.items() if tables}
    return Scored(
        columns={name: _columns(labels[name], predictions[name], name) for name in request.model_paths},
        slices=slice_rows(specs, values, first_row),
        rows=first_row,
    )


def _check_signatures(spec: config_pb2.ModelSpec, shared_model: Any) -> None:
    model, path = shared_model.model_loader.load(), shared_model.model_path
    wanted = [spec.signature_name or "serving_default", *spec.preprocessing_function_names]
    missing = [name for name in wanted if "@" not in name and name not in model.signatures and not hasattr(model, name)]
    if missing:
        raise ValueError(
            f"model {spec.name or 'candidate'!r} in {path}: expected the signatures {', '.join(wanted)}, found only "
            f"{', '.join(sorted(model.signatures))}. Export the model with {', '.join(missing)}, "
            "or name others in the EvalConfig's model_specs."
        )


def _batches(
    config: config_pb2.EvalConfig, models: SharedModels, examples: list[bytes]
) -> Iterator[tuple[pa.RecordBatch, dict[str, Any]]]:
    """Raw features of each batch, and what TFMA calls its extracts: with transformed features and predictions."""
    # As extractors.TransformedFeaturesExtractor and PredictionsExtractor set it up.
    specs = {spec.name: spec for spec in config.model_specs}
    transform = model_util.ModelSignaturesDoFn(
        config.model_specs,
        models,
        output_keypath=[constants.TRANSFORMED_FEATURES_KEY],
        signature_names={name: list(spec.preprocessing_function_names) for name, spec in specs.items()},
        default_signature_names=["transformed_features", "transformed_labels"],
        prefer_dict_outputs=True,
    )
    predict = model_util.ModelSignaturesDoFn(
        config.model_specs,
        models,
        output_keypath=[constants.PREDICTIONS_KEY],
        signature_names={name: [spec.signature_name] for name, spec in specs.items()},
        prefer_dict_outputs=False,
    )
    # They hold the models from here on: a model that nothing holds is loaded again by the next that asks for it.
    transform.setup()
    predict.setup()
    for spec in config.model_specs:
        _check_signatures(spec, models[spec.name])
    decoder = ExamplesToRecordBatchDecoder()
    for start in range(0, len(examples), BATCH_ROWS):
        batch = examples[start : start + BATCH_ROWS]
        raw = decoder.DecodeBatch(batch)
        extracts: dict[str, Any] = {
            constants.INPUT_KEY: np.array(batch, object),
            constants.FEATURES_KEY: util.record_batch_to_tensor_values(_lists(raw)),
        }
        for step in (transform, predict):
            (extracts,) = step.process(extracts)
        yield raw, extracts


def _lists(raw: pa.RecordBatch) -> pa.RecordBatch:
    """Without the features that no record of the batch has a value of."""
    return raw.select([field.name for field in raw.schema if not pa.types.is_null(field.type)])


def _transformed(extracts: dict[str, Any], config: config_pb2.EvalConfig) -> list[dict[str, NDArray[Any]]]:
    found = extracts.get(constants.TRANSFORMED_FEATURES_KEY) or {}
    if len(config.model_specs) == 1:
        return [found]
    return [found[spec.name] for spec in config.model_specs if spec.name in found]


def _of_model(values: Any, spec: config_pb2.ModelSpec) -> Any:
    """TFMA keys by model name only where there are several."""
    return values.get(spec.name) if spec.name and isinstance(values, dict) else values


def _prediction(extracts: dict[str, Any], spec: config_pb2.ModelSpec) -> Any:
    found = _of_model(extracts[constants.PREDICTIONS_KEY], spec)
    return found.get(spec.prediction_key) if isinstance(found, dict) else found


def _numbers(values: Any, rows: int, kind: str, spec: config_pb2.ModelSpec) -> NDArray[Any]:
    if not isinstance(values, np.ndarray) or values.size != rows or values.dtype.kind not in "biuf":
        raise NeedsBeamError(f"{kind} of model {spec.name!r} is not one number a record")
    return values.reshape(rows)


def _columns(labels: list[Any], predictions: list[Any], model: str) -> Columns:
    label = np.concatenate(labels or [np.zeros(0)])
    prediction = np.concatenate(predictions or [np.zeros(0)])
    if not np.all((label >= 0) & (label <= 1)):
        raise NeedsBeamError(f"labels of model {model!r} are not within 0 to 1")
    nans = int(np.count_nonzero(np.isnan(prediction)))
    if nans:
        raise ValueError(
            f"model {model or 'candidate'!r}: expected probabilities, found NaN for {nans} of {len(prediction)} "
            f"records, first for record {int(np.argmax(np.isnan(prediction)))}. Look at its training loss."
        )
    return columns_of(label, prediction)
