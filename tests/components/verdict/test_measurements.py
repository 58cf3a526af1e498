import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.verdict.judge import Interval, Measurement
from components.verdict.measurements import BASELINE, CANDIDATE, measurements, read


def pair(name: str, model: str, value: float, bounds: tuple[float, float] | None = None, is_diff: bool = False) -> str:
    """One metric as TFMA 0.52 writes it, with the interval of its bootstrap."""
    interval = "" if bounds is None else f"""
        confidence_interval {{
          lower_bound {{ double_value {{ value: {bounds[0]} }} }}
          upper_bound {{ double_value {{ value: {bounds[1]} }} }}
          standard_error {{ double_value {{ value: 0.01 }} }}
          degrees_of_freedom {{ value: 19 }}
        }}"""  # fmt: skip
    return f"""
      metric_keys_and_values {{
        key {{ name: "{name}" model_name: "{model}" is_diff: {str(is_diff).lower()} }}
        value {{ double_value {{ value: {value} }} }}{interval}
      }}"""


def a_slice(*pairs: str, key: str = "") -> Any:
    from google.protobuf import text_format
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

    text = f"slice_key {{ {key} }} {''.join(pairs)}"
    return text_format.Parse(text, metrics_for_slice_pb2.MetricsForSlice())


def both(name: str, candidate: float, baseline: float, bounds: tuple[float, float]) -> tuple[str, ...]:
    return (
        pair(name, CANDIDATE, candidate, bounds),
        pair(name, BASELINE, baseline, (0.0, 2.0)),
        pair(name, CANDIDATE, candidate - baseline, (-0.5, 0.5), is_diff=True),
    )


COUNTS = (pair("example_count", CANDIDATE, 40), pair("example_count", BASELINE, 40))


def test_a_candidate_beside_a_baseline_has_its_interval_and_the_difference_with_its_own() -> None:
    (auc,) = measurements([a_slice(*both("auc", 0.75, 0.5, (0.7, 0.8)), *COUNTS)])
    assert auc == Measurement("auc", (), 40, Interval(0.75, 0.7, 0.8), Interval(0.25, -0.5, 0.5))


def test_a_candidate_alone_is_found_under_tfmas_empty_model_name_and_has_no_difference() -> None:
    (loss,) = measurements([a_slice(pair("binary_crossentropy", "", 0.5), pair("example_count", "", 7))])
    assert (loss.metric, loss.examples, loss.candidate.value, loss.difference) == ("log_loss", 7, 0.5, None)
    assert math.isnan(loss.candidate.lower)
    assert math.isnan(loss.candidate.upper)


def test_what_no_gate_can_name_is_left_out() -> None:
    assert not list(measurements([a_slice(pair("mean_label", CANDIDATE, 0.5), *COUNTS)]))


@pytest.mark.parametrize(
    ("calibration", "bounds", "error"),
    [
        (1.1, (0.95, 1.25), Interval(0.1, 0.0, 0.25)),  # 1 is within: it may be no error at all
        (1.2, (1.1, 1.3), Interval(0.2, 0.1, 0.3)),
        (0.8, (0.7, 0.9), Interval(0.2, 0.1, 0.3)),
    ],
)
def test_the_calibrations_distance_from_one_is_what_counts(
    calibration: float, bounds: tuple[float, float], error: Interval
) -> None:
    (found,) = measurements([a_slice(*both("calibration", calibration, 0.9, bounds), *COUNTS)])
    assert found.metric == "calibration_error"
    for one, expected in zip(
        (found.candidate.value, found.candidate.lower, found.candidate.upper),
        (error.value, error.lower, error.upper),
        strict=True,
    ):
        assert one == pytest.approx(expected, abs=1e-9)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(error.value - 0.1)  # not the difference of the calibrations
    assert math.isnan(found.difference.lower)


def test_the_calibration_error_without_an_interval_has_none() -> None:
    (found,) = measurements([a_slice(pair("calibration", "", 0.75), pair("example_count", "", 7))])
    assert found.candidate.value == 0.25
    assert math.isnan(found.candidate.lower)
    assert math.isnan(found.candidate.upper)


@pytest.mark.parametrize(
    ("kind", "text"), [('bytes_value: "M"', "M"), ("int64_value: 1990", "1990"), ("float_value: 0.5", "0.5")]
)
def test_a_slices_values_are_texts_whatever_their_type(kind: str, text: str) -> None:
    keys = f'single_slice_keys {{ column: "a" {kind} }} single_slice_keys {{ column: "b" bytes_value: "\\377" }}'
    (found,) = measurements([a_slice(pair("auc", "", 0.5), key=keys)])
    assert found.slice == (("a", text), ("b", "�"))


def test_a_metric_without_a_number_is_nan() -> None:
    text = 'metric_keys_and_values { key { name: "auc" } value { debug_message: "no positive example" } }'
    (found,) = measurements([a_slice(text)])
    assert math.isnan(found.candidate.value)
    assert found.examples == 0


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Measurement], Any]:
    """What TFMA says of 300 answers of two models, and the frame of them; no bootstrap, which takes a minute."""
    import apache_beam as beam
    import pandas as pd
    import tensorflow_model_analysis as tfma

    from pipeline.evaluation import eval_config
    from pipeline.task import Gate
    from tests.pipeline import small_task

    random = np.random.default_rng(0)
    label = random.integers(0, 2, 300)
    frame = pd.DataFrame(
        {
            "liked": label.astype(float),
            "user": np.where(random.random(300) < 0.8, "M", "F"),
            CANDIDATE: label * 0.3 + random.random(300) * 0.7,
            BASELINE: random.random(300),
        }
    )
    task = small_task.declare("unused")
    config = eval_config(task)
    assert isinstance(task.gates[0], Gate)
    config.options.compute_confidence_intervals.value = False
    for spec in config.model_specs:
        spec.ClearField("signature_name")
        spec.ClearField("preprocessing_function_names")
        spec.prediction_key = spec.name
    folder = tmp_path_factory.mktemp("evaluation")
    original = beam.Pipeline
    with pytest.MonkeyPatch.context() as patch:
        # analyze_raw_data takes no options, and the default runner of Beam 2.77 wants to download a binary.
        patch.setattr(beam, "Pipeline", lambda: original(argv=["--runner=FnApiRunner"]))
        tfma.analyze_raw_data(frame, config, output_path=str(folder))
    return read(str(folder)), frame


def test_a_real_evaluation_is_read_with_every_metric_on_every_slice(
    evaluated: tuple[list[Measurement], Any],
) -> None:
    found, frame = evaluated
    counts = frame.user.value_counts()
    assert {(one.metric, one.slice, one.examples) for one in found} == {
        (metric, key, examples)
        for metric in ("auc", "log_loss", "calibration_error")
        for key, examples in (((), 300), ((("user", "M"),), counts["M"]), ((("user", "F"),), counts["F"]))
    }


def test_a_real_evaluations_numbers_are_those_of_scikit_learn(evaluated: tuple[list[Measurement], Any]) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    found, frame = evaluated
    overall = {one.metric: one for one in found if one.slice == ()}
    men = {one.metric: one for one in found if one.slice == (("user", "M"),)}
    for numbers, rows in ((overall, frame), (men, frame[frame.user == "M"])):
        auc = {model: roc_auc_score(rows.liked, rows[model]) for model in (CANDIDATE, BASELINE)}
        loss = {model: log_loss(rows.liked, rows[model]) for model in (CANDIDATE, BASELINE)}
        error = {model: abs(rows[model].sum() / rows.liked.sum() - 1) for model in (CANDIDATE, BASELINE)}
        for metric, own, tolerance in (
            ("auc", auc, 1e-3),  # TFMA sums the curve over 10,000 buckets
            ("log_loss", loss, 1e-5),
            ("calibration_error", error, 1e-6),
        ):
            one = numbers[metric]
            assert one.candidate.value == pytest.approx(own[CANDIDATE], abs=tolerance)
            assert one.difference is not None
            assert one.difference.value == pytest.approx(own[CANDIDATE] - own[BASELINE], abs=2 * tolerance)


def test_a_folder_without_an_evaluation_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"expected TFMA's metrics in {tmp_path}; there are none"):
        read(str(tmp_path))
