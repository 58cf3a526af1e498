from dataclasses import replace

import pytest

from components.verdict.gates import HIGHER_IS_BETTER, METRICS
from components.verdict.measurements import TFMA_NAME
from pipeline.evaluation import METRIC_CLASSES, eval_config, slices_of
from pipeline.task import Gate, Task

TASK = Task(
    name="mine",
    question="?",
    label="liked",
    split_by="user",
    gates=(Gate("auc", at_least=0.5, slices=(("gender",), ("age", "gender"))),),
    slice_by=(("decade",), ("gender",)),
    preprocessing_fn="a.b",
    build_model="a.b",
)


def test_slices_are_the_tasks_and_its_gates_each_once() -> None:
    assert slices_of(TASK) == (("decade",), ("gender",), ("age", "gender"))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_that_a_gate_can_name_is_computed_and_read_back_by_its_name(metric: str) -> None:
    import tensorflow_model_analysis as tfma

    gate = Gate(metric, at_least=0.5) if metric in HIGHER_IS_BETTER else Gate(metric, at_most=0.5)
    config = eval_config(replace(TASK, gates=(gate,)))
    name = METRIC_CLASSES[metric]
    assert name in [one.class_name for one in config.metrics_specs[0].metrics]
    assert getattr(tfma.metrics, name)().get_config()["name"] == TFMA_NAME[metric]


def test_no_metric_is_asked_for_twice() -> None:
    names = [one.class_name for one in eval_config(TASK).metrics_specs[0].metrics]
    assert len(names) == len(set(names))
    assert {"AUC", "BinaryCrossEntropy", "Calibration", "MeanLabel", "ExampleCount"} <= set(names)


def test_candidate_and_baseline_are_asked_alike_and_the_gates_see_every_slice() -> None:
    config = eval_config(TASK)
    candidate, baseline = config.model_specs
    assert (candidate.name, candidate.is_baseline) == ("candidate", False)
    assert (baseline.name, baseline.is_baseline) == ("baseline", True)
    for spec in (candidate, baseline):
        assert spec.signature_name == "serving_examples"
        assert spec.label_key == "liked"
        assert list(spec.preprocessing_function_names) == ["transform_features"]
    assert [list(one.feature_keys) for one in config.slicing_specs] == [[], ["decade"], ["gender"], ["age", "gender"]]
    assert config.options.compute_confidence_intervals.value


def test_the_config_is_one_that_tfma_accepts() -> None:
    from tensorflow_model_analysis.utils import config_util

    config_util.verify_eval_config(eval_config(TASK))
