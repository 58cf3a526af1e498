"""From a task's gates to tfma.EvalConfig: TFMA computes, Pressline judges (components/verdict)."""

from typing import TYPE_CHECKING

from components.verdict.measurements import BASELINE, CANDIDATE
from pipeline.signatures import SERVING_EXAMPLES, TRANSFORM_FEATURES
from pipeline.task import Task

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

METRIC_CLASSES = {
    "auc": "AUC",
    "log_loss": "BinaryCrossEntropy",
    "calibration_error": "Calibration",
    "accuracy": "BinaryAccuracy",
    "precision": "Precision",
    "recall": "Recall",
}
# Besides what the gates name: what a reader of every report wants to know.
ALWAYS = ("AUC", "BinaryCrossEntropy", "Calibration", "MeanLabel", "MeanPrediction", "ExampleCount")


def slices_of(task: Task) -> tuple[tuple[str, ...], ...]:
    """Every slice that is reported: the task's, then those that only its gates name; the overall slice is implied."""
    wanted = [*task.slice_by, *(one for gate in task.gates for one in gate.slices)]
    return tuple(dict.fromkeys(wanted))


def eval_config(task: Task) -> "config_pb2.EvalConfig":
    """The evaluation of a candidate against its baseline on the held-out examples.

    Every number comes with the 95 % confidence interval of TFMA's Poisson bootstrap (20 resamples).
    """
    from tensorflow_model_analysis.proto import config_pb2

    classes = dict.fromkeys([*ALWAYS, *(METRIC_CLASSES[gate.metric] for gate in task.gates)])

    def spec(name: str, is_baseline: bool) -> config_pb2.ModelSpec:
        return config_pb2.ModelSpec(
            name=name,
            signature_name=SERVING_EXAMPLES,
            label_key=task.label,
            preprocessing_function_names=[TRANSFORM_FEATURES],
            is_baseline=is_baseline,
        )

    options = config_pb2.Options()
    options.compute_confidence_intervals.value = True
    options.confidence_intervals.method = config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
    return config_pb2.EvalConfig(
        model_specs=[spec(CANDIDATE, is_baseline=False), spec(BASELINE, is_baseline=True)],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=name) for name in classes])],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=list(keys)) for keys in slices_of(task)),
        ],
        options=options,
    )
