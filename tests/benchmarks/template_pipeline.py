"""TFX's stock components, wired and set as its taxi template wires them, on the clicks records.

`python -m tests.benchmarks.template_pipeline RECORDS OUTPUT`, RECORDS made by clicks_files.

In its favour: it reads tf.Examples that were converted before, gets the newest span's held-out records as its `eval`
split by name, caches (the template has that commented out), and has `--runner=FnApiRunner`, as the default runner wants
to download a binary. Its preprocessing_fn is the line's own.
"""

import json
import sys
from pathlib import Path

import tensorflow_model_analysis as tfma
from tfx import v1 as tfx

from pipeline.tasks.clicks.task import TASK

LEAST_ACCURACY = 0.55
HERE = "tests.benchmarks.template_module"


def create_pipeline(records: Path, output: Path, train_steps: int) -> tfx.dsl.Pipeline:
    """The graph of the template.

    Args:
        records: folder of `train/` and `eval/` TFRecords.
        output: of everything.
        train_steps: over all passes.
    """
    splits = [tfx.proto.Input.Split(name=name, pattern=f"{name}/*") for name in ("train", "eval")]
    example_gen = tfx.components.ImportExampleGen(
        input_base=str(records), input_config=tfx.proto.Input(splits=splits), payload_format=_tf_example()
    )
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn=TASK.preprocessing_fn,
    )
    trainer = tfx.components.Trainer(
        run_fn=f"{HERE}.run_fn",
        examples=transform.outputs["transformed_examples"],
        schema=schema_gen.outputs["schema"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(num_steps=train_steps),
        eval_args=tfx.proto.EvalArgs(num_steps=1),
    )
    baseline = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model_resolver")
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=_eval_config(),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(output / "serving_model"))
        ),
    )
    metadata = output / "metadata.sqlite"
    return tfx.dsl.Pipeline(
        pipeline_name="template",
        pipeline_root=str(output / "artifacts"),
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            example_validator,
            transform,
            trainer,
            baseline,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)),
        beam_pipeline_args=["--runner=FnApiRunner"],
    )


def _tf_example() -> int:
    from tfx.proto import example_gen_pb2

    return int(example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)


def _eval_config() -> tfma.EvalConfig:
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": LEAST_ACCURACY}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -1e-10}
        ),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                label_key=TASK.label,
                preprocessing_function_names=["transform_features"],
            )
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name="BinaryAccuracy", threshold=threshold)])],
    )


def main(records: Path, output: Path) -> None:
    """Runs it; raises where no model was pushed."""
    counts = json.loads((records / "counts.json").read_text())
    parameters = TASK.hyperparameters
    steps = parameters.epochs * (counts["train"] // parameters.batch_size)
    tfx.orchestration.LocalDagRunner().run(create_pipeline(records, output, steps))
    if not any((output / "serving_model").glob("*/saved_model.pb")):
        raise SystemExit("the template pushed no model")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
