"""Two small models, some held-out records, and both executors run on them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator.executor import Executor as StockExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator.executor import Executor

IN_PROCESS = ["--runner=FnApiRunner", "--sdk_container_image=in-process"]
METRICS = (
    "AUC",
    "BinaryCrossEntropy",
    "Calibration",
    "MeanLabel",
    "MeanPrediction",
    "ExampleCount",
    "BinaryAccuracy",
    "Precision",
    "Recall",
)
SLICES = ((), ("gender",), ("tags",), ("decade",), ("age_bucket", "gender"), ("nowhere",))
EXECUTORS = {"ours": Executor, "stock": StockExecutor}


class Scorer(tf.Module):
    """Raw features x (float), age (int), gender (text), tags (texts), liked (int); `slope` is all that is learned."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = tf.Variable(slope)
        self.spec = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "age": tf.io.FixedLenFeature([1], tf.int64),
            "liked": tf.io.FixedLenFeature([1], tf.int64),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def serving_default(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.sigmoid(self.slope * x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, {name: self.spec[name] for name in ("x", "age")})
        # The second term ranks records otherwise than the other model does.
        return {
            "score": tf.sigmoid(self.slope * raw["x"] + (self.slope - 0.5) * tf.cast(raw["age"] - 40, tf.float32) / 20)
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, self.spec)
        # Of the two models each has its own decades: a record is in the slices of both.
        decade = raw["age"] // 10 * 10 + tf.cast(self.slope > 1, tf.int64)
        return {
            "liked": raw["liked"],
            "age_bucket": raw["age"] // 30,
            "decade": decade,
            "x_wide": tf.tile(raw["x"], [1, 3]),
        }


def save_model(folder: Path, slope: float, without: str = "") -> standard_artifacts.Model:
    module = Scorer(slope)
    names = ("serving_default", "serving_examples", "transform_features")
    signatures = {name: getattr(module, name) for name in names if name != without}
    if without:  # TFMA also finds a function by its attribute

        class Without(tf.Module):
            pass

        saved: tf.Module = Without()
        saved.slope = module.slope
    else:
        saved = module
    tf.saved_model.save(saved, str(folder / "Format-Serving"), signatures=signatures)
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def records(rows: int, seed: int = 3) -> list[bytes]:
    """Gender "o" has one label only; a fifth has no gender; 0 to 3 tags, some twice."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    gender = rng.choice(["f", "m", "o", ""], rows, p=[0.4, 0.3, 0.1, 0.2])
    liked = (rng.random(rows) < 1 / (1 + np.exp(-x))) | (gender == "o")
    made = []
    for row in range(rows):
        example = tf.train.Example()
        example.features.feature["x"].float_list.value.append(x[row])
        example.features.feature["age"].int64_list.value.append(int(rng.integers(18, 60)))
        example.features.feature["liked"].int64_list.value.append(int(liked[row]))
        if gender[row]:
            example.features.feature["gender"].bytes_list.value.append(gender[row].encode())
        tags = rng.choice([b"a", b"b", b"\xc3\xa9"], rng.integers(0, 4)).tolist()
        example.features.feature["tags"].bytes_list.value.extend(tags)
        made.append(example.SerializeToString(deterministic=True))
    return made


def save_examples(folder: Path, made: list[bytes]) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    for split, parts in (("train", [[]]), ("eval", [made[: len(made) // 3], made[len(made) // 3 :]])):
        (folder / f"Split-{split}").mkdir(parents=True)
        for number, part in enumerate(parts):
            file = folder / f"Split-{split}" / f"data_tfrecord-0000{number}-of-0000{len(parts)}.gz"
            with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
                for record in part:
                    writer.write(record)
    return artifact


def config(
    slices: tuple[tuple[str, ...], ...] = SLICES, metrics: tuple[str, ...] = METRICS, intervals: bool = False
) -> config_pb2.EvalConfig:
    options = config_pb2.Options()
    if intervals:
        options.compute_confidence_intervals.value = True
        options.confidence_intervals.method = config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
    specs = [
        config_pb2.ModelSpec(
            name=name,
            signature_name="serving_examples",
            label_key="liked",
            preprocessing_function_names=["transform_features"],
            is_baseline=name == "baseline",
        )
        for name in ("candidate", "baseline")
    ]
    return config_pb2.EvalConfig(
        model_specs=specs,
        metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=name) for name in metrics])],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=list(keys)) for keys in slices],
        options=options,
    )


@dataclass(frozen=True)
class Bench:
    """Artifacts, and how to run an executor on them."""

    folder: Path
    examples: standard_artifacts.Examples
    candidate: standard_artifacts.Model
    baseline: standard_artifacts.Model
    new_folder: Callable[[str], Path]
    done: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        executor: str,
        eval_config: config_pb2.EvalConfig,
        *,
        with_baseline: bool = True,
        examples: standard_artifacts.Examples | None = None,
        candidate: standard_artifacts.Model | None = None,
        most: int = 1000,
        **properties: Any,
    ) -> str:
        """The folder with the evaluation."""
        out, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        folder = self.new_folder("evaluation")
        out.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
        inputs = {"examples": [examples or self.examples], "model": [candidate or self.candidate]}
        if with_baseline:
            inputs["baseline_model"] = [self.baseline]
        context = BaseBeamExecutor.Context(beam_pipeline_args=list(IN_PROCESS), tmp_dir=str(folder), unique_id="1")
        asked = {
            "eval_config": proto_utils.proto_to_json(eval_config),
            "example_splits": '["eval"]',
            "fairness_indicator_thresholds": "null",
            "in_memory_examples": most,
        } | properties
        EXECUTORS[executor](context).Do(inputs, {"evaluation": [out], "blessing": [blessing]}, asked)
        assert not Path(blessing.uri).exists()
        return str(out.uri)

    def both(self, name: str, eval_config: config_pb2.EvalConfig, with_baseline: bool) -> tuple[str, str]:
        """Our folder and the stock executor's; each is made once a session."""
        for executor in EXECUTORS:
            if (key := f"{executor} {name}") not in self.done:
                self.done[key] = self.run(executor, eval_config, with_baseline=with_baseline)
        return self.done[f"ours {name}"], self.done[f"stock {name}"]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("evaluator")
    return Bench(
        folder=folder,
        examples=save_examples(folder / "examples", records(150)),
        candidate=save_model(folder / "candidate", 1.5),
        baseline=save_model(folder / "baseline", 0.5),
        new_folder=tmp_path_factory.mktemp,
    )


Numbers = dict[tuple[Any, str, str, bool], tuple[float, float, float]]


def numbers(evaluation: str) -> Numbers:
    """(slice, metric, model, is_diff) -> (value, lower bound, upper bound); bounds are NaN without an interval."""
    found: Numbers = {}
    for one in tfma.load_metrics(evaluation):
        key = tuple(
            (single.column, getattr(single, single.WhichOneof("kind"))) for single in one.slice_key.single_slice_keys
        )
        for pair in one.metric_keys_and_values:
            bounds = (np.nan, np.nan)
            if pair.HasField("confidence_interval"):
                interval = pair.confidence_interval
                bounds = (interval.lower_bound.double_value.value, interval.upper_bound.double_value.value)
                assert interval.degrees_of_freedom.value == 19
            name = (key, pair.key.name, pair.key.model_name, pair.key.is_diff)
            assert name not in found
            found[name] = (pair.value.double_value.value, *bounds)
    return found
