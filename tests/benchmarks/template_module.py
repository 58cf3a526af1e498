"""run_fn as TFX's taxi template writes it: materialised transformed examples, Keras fit, signatures on tf.Examples.

Two things differ, for without them it does not run on today's libraries: Keras 3 in place of `tf.keras`, and so
`ExportArchive` in place of `tf.saved_model.save`. Model, batch size, passes and schedule are those of the clicks task.
"""

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.tfxio import dataset_options

from pipeline.tasks.clicks.model import build_model
from pipeline.tasks.clicks.task import TASK


def run_fn(arguments: Any) -> None:
    """Called by TFX's Trainer."""
    parameters = TASK.hyperparameters
    keras.utils.set_random_seed(parameters.seed)
    transform = tft.TFTransformOutput(arguments.transform_output)

    def batches(files: list[str]) -> tf.data.Dataset:
        options = dataset_options.TensorFlowDatasetOptions(batch_size=parameters.batch_size, label_key=TASK.label)
        schema = transform.transformed_metadata.schema
        rows = arguments.data_accessor.tf_dataset_factory(files, options, schema).repeat()
        # Keras 3 takes no more features than the model has inputs; some are there to slice metrics by.
        return rows.map(lambda features, label: ({name: features[name] for name in model.input}, label))

    steps = arguments.train_steps // parameters.epochs
    with tf.distribute.MirroredStrategy().scope():
        model = build_model(transform, parameters)
        schedule = keras.optimizers.schedules.CosineDecay(parameters.learning_rate, arguments.train_steps, alpha=0.1)
        model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    best = keras.callbacks.EarlyStopping(patience=parameters.patience, restore_best_weights=True)
    history = model.fit(
        batches(arguments.train_files),
        epochs=parameters.epochs,
        steps_per_epoch=steps,
        validation_data=batches(arguments.eval_files),
        validation_steps=arguments.eval_steps,
        callbacks=[best, keras.callbacks.TensorBoard(arguments.model_run_dir, update_freq="epoch")],
        verbose=2,
    )
    Path(arguments.model_run_dir, "result.json").write_text(
        json.dumps({"auc": history.history["val_auc"][best.best_epoch]})
    )
    _export(model, transform, arguments.serving_model_dir)


def _export(model: keras.Model, transform: tft.TFTransformOutput, folder: str) -> None:
    layer = transform.transform_features_layer()
    examples = [tf.TensorSpec([None], tf.string, name="examples")]

    @tf.function(input_signature=examples)
    def serve_tf_examples_fn(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = transform.raw_feature_spec()
        spec.pop(TASK.label)
        features = layer(tf.io.parse_example(serialized, spec))
        return {"outputs": model({name: features[name] for name in model.input})}

    @tf.function(input_signature=examples)
    def transform_features_fn(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(layer(tf.io.parse_example(serialized, transform.raw_feature_spec())))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(layer)
    archive.add_endpoint("serving_default", serve_tf_examples_fn)
    archive.add_endpoint("transform_features", transform_features_fn)
    archive.write_out(folder, verbose=False)
