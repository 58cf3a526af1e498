"""The columnar way against TFX's own executor, on the same artifacts."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

from components.verdict.measurements import read
from serving.errors import InputError
from tests.components.evaluator.conftest import Bench, config, numbers, records, save_examples, save_model

FEW = ("AUC", "BinaryCrossEntropy", "Calibration", "ExampleCount")


@pytest.fixture(scope="module", params=[True, False], ids=["with baseline", "without baseline"])
def folders(request: pytest.FixtureRequest, bench: Bench) -> tuple[str, str]:
    return bench.both(f"values, baseline {request.param}", config(), request.param)


def test_every_metric_of_every_slice_and_model_equals_the_stock_executors(folders: tuple[str, str]) -> None:
    ours, stock = (numbers(folder) for folder in folders)
    assert sorted(ours) == sorted(stock)
    assert len(ours) > 150
    # A batch of another size gives float32 probabilities that differ in the last place (6e-8), and all else is float64.
    for key, (value, *_) in stock.items():
        assert ours[key][0] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), key


def test_all_files_are_there_and_those_without_metrics_are_equal_to_the_stock_executors(
    folders: tuple[str, str],
) -> None:
    ours, stock = (Path(folder) for folder in folders)
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in stock.iterdir())
    assert json.loads((ours / "eval_config.json").read_text()) == json.loads((stock / "eval_config.json").read_text())
    assert (ours / "validations.tfrecord").read_bytes() == (stock / "validations.tfrecord").read_bytes()


def test_tfma_and_the_verdict_read_it_like_the_stock_executors(folders: tuple[str, str]) -> None:
    ours, stock = (tfma.load_eval_result(folder) for folder in folders)
    assert {key for key, _ in ours.slicing_metrics} == {key for key, _ in stock.slicing_metrics}
    assert ours.config == stock.config
    assert sorted((one.metric, one.slice) for one in read(folders[0])) == sorted(
        (one.metric, one.slice) for one in read(folders[1])
    )
    plots = [{key for key, _ in result.plots} for result in (ours, stock)]
    assert plots[0] == plots[1]
    validations = [tfma.load_validation_result(folder).validation_ok for folder in folders]
    assert validations[0] == validations[1]


def test_a_slice_with_one_label_has_the_auc_of_tfma_which_is_0(folders: tuple[str, str]) -> None:
    model = "candidate" if "baseline" in {key[2] for key in numbers(folders[0])} else ""
    for folder in folders:
        found = numbers(folder)
        assert found[(("gender", b"o"),), "mean_label", model, False][0] == 1
        assert found[(("gender", b"o"),), "auc", model, False][0] == 0


def test_slices_come_from_the_transformed_features_of_both_models_and_else_from_the_raw_ones(bench: Bench) -> None:
    found = numbers(bench.both("values, baseline True", config(), True)[0])
    columns = {tuple(name for name, _ in key[0]) for key in found}
    assert columns == {(), ("gender",), ("tags",), ("decade",), ("age_bucket", "gender")}
    decades = {key[0][0][1] for key in found if key[0] and key[0][0][0] == "decade"}
    assert {20, 21, 50, 51} < decades  # each model has its own
    counts = [
        found[slice_key, "example_count", "candidate", False][0]
        for slice_key in {key[0] for key in found if key[0] and key[0][0][0] == "tags"}
    ]
    assert sum(counts) > 150  # a record with several tags is in several slices


@pytest.fixture(scope="module")
def with_intervals(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Few records and one slice: the stock executor's resamples take minutes for more."""
    few = save_examples(tmp_path_factory.mktemp("few") / "examples", records(60))
    asked = config(slices=((),), metrics=FEW, intervals=True)
    return bench.run("ours", asked, examples=few), bench.run("stock", asked, examples=few)


def test_intervals_are_as_wide_as_the_stock_executors(with_intervals: tuple[str, str]) -> None:
    ours, stock = (numbers(folder) for folder in with_intervals)
    assert sorted(ours) == sorted(stock)
    for key, (value, lower, upper) in stock.items():
        assert ours[key][0] == pytest.approx(value, rel=1e-6, abs=1e-6)
        if key[1] == "example_count":
            continue
        # Each half-width is from 20 resamples: the ratio of two follows sqrt(F(19, 19)), beyond 3 once in 200,000.
        assert 1 / 3 < (ours[key][2] - ours[key][1]) / (upper - lower) < 3, key
        # The middle is the mean of the resamples: both lie within a half-width of the value.
        assert abs((ours[key][1] + ours[key][2]) / 2 - value) < (upper - lower) / 2, key


def test_the_number_of_examples_has_no_interval_as_in_the_stock_executor(with_intervals: tuple[str, str]) -> None:
    for folder in with_intervals:
        found = numbers(folder)
        assert np.isnan(found[(), "example_count", "candidate", False][1])
        assert found[(), "example_count", "candidate", True] == (0, 0, 0)


def test_the_same_inputs_give_the_same_bytes(bench: Bench) -> None:
    first, second = (Path(bench.run("ours", config(intervals=True))) for _ in range(2))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_a_model_does_not_differ_from_itself_in_any_resample(bench: Bench) -> None:
    found = numbers(bench.run("ours", config(slices=((), ("tags",)), intervals=True), candidate=bench.baseline))
    differences = [bounds for key, bounds in found.items() if key[3]]
    assert len(differences) > 20
    assert all(bounds == (0, 0, 0) for bounds in differences)


def test_an_infinite_loss_has_no_interval_and_no_difference(bench: Bench, tmp_path: Path) -> None:
    certain = save_model(tmp_path / "model", 1e4)
    found = numbers(bench.run("ours", config(slices=((),), intervals=True), candidate=certain))
    assert not np.isfinite(found[(), "binary_crossentropy", "candidate", False]).any()
    assert not np.isfinite(found[(), "binary_crossentropy", "candidate", True]).any()
    assert np.isfinite(found[(), "auc", "candidate", True]).all()


def test_no_records_give_an_evaluation_without_slices_as_the_stock_executor_does(bench: Bench, tmp_path: Path) -> None:
    none = save_examples(tmp_path / "none", [])
    ours, stock = (bench.run(executor, config(), examples=none) for executor in ("ours", "stock"))
    assert numbers(ours) == numbers(stock) == {}
    assert list(tfma.load_eval_result(ours).slicing_metrics) == []
    assert tfma.load_validation_result(ours) == tfma.load_validation_result(stock)


def test_a_missing_signature_is_named_with_those_that_are_there(bench: Bench, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", 1.5, without="transform_features")
    with pytest.raises(
        ValueError, match=r"'candidate'.*found only serving_default, serving_examples.*transform_features"
    ):
        bench.run("ours", config(), candidate=model)


def test_predictions_of_nan_are_counted_in_the_error(bench: Bench, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", float("nan"))
    with pytest.raises(ValueError, match=r"'candidate'.*NaN for 150 of 150 records, first for record 0"):
        bench.run("ours", config(), candidate=model)


def test_a_text_to_slice_by_that_is_not_utf_8_is_refused(bench: Bench, tmp_path: Path) -> None:
    spoilt = [record.replace(b"\xc3\xa9", b"\xc3\xff") for record in records(30)]
    examples = save_examples(tmp_path / "spoilt", spoilt)
    with pytest.raises(InputError, match=r"'tags'.*UTF-8.*\\xc3\\xff"):
        bench.run("ours", config(), examples=examples)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('metrics_specs { metrics { class_name: "SpecificityAtSensitivity" } }', "metric 'SpecificityAtSensitivity'"),
        ('metrics_specs { metrics { class_name: "AUC" config: "{}" } }', "MetricConfig with config"),
        ('metrics_specs { thresholds { key: "auc" } }', "MetricsSpec with thresholds"),
        ("options { min_slice_size { value: 3 } }", "Options with min_slice_size"),
        ("options { compute_confidence_intervals { value: true } }", "not of the Poisson bootstrap"),
        ('slicing_specs { feature_values { key: "gender" value: "f" } }', "SlicingSpec with feature_values"),
        ('model_specs { name: "candidate" example_weight_key: "age" }', "ModelSpec with example_weight_key"),
        ("cross_slicing_specs { baseline_spec {} }", "EvalConfig with cross_slicing_specs"),
    ],
)
def test_what_the_columnar_way_does_not_know_is_handed_to_beam(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str, reason: str
) -> None:
    asked = config()
    text_format.Merge(change, asked)
    assert _reason_for_beam(bench, monkeypatch, caplog, asked, most=1000).find(reason) >= 0


@pytest.mark.parametrize(("most", "reason"), [(0, "no record may be held"), (149, "more than 149 records")])
def test_more_records_than_the_limit_are_handed_to_beam(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: int, reason: str
) -> None:
    assert _reason_for_beam(bench, monkeypatch, caplog, config(), most).find(reason) >= 0


@pytest.mark.parametrize(("key", "reason"), [("gender", "one number a record"), ("age", "within 0 to 1")])
def test_labels_that_are_not_binary_are_handed_to_beam(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str, reason: str
) -> None:
    asked = config()
    for spec in asked.model_specs:
        spec.label_key = key
    assert _reason_for_beam(bench, monkeypatch, caplog, asked, most=1000).find(reason) >= 0


def _reason_for_beam(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: config_pb2.EvalConfig,
    most: int,
) -> str:
    """Why the stock executor is called, which is not run here."""
    called = []
    monkeypatch.setattr("tfx.components.evaluator.executor.Executor.Do", lambda self, *asked: called.append(asked))
    with caplog.at_level(logging.INFO, logger="components.evaluator"):
        folder = bench.run("ours", asked, most=most)
    assert len(called) == 1
    assert not Path(folder).exists()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "components.evaluator.executor"]
    return message


def test_beam_measures_a_metric_that_the_columnar_way_does_not_know(bench: Bench) -> None:
    asked = config(slices=((),), metrics=("ExampleCount", "SquaredPearsonCorrelation"))
    found = numbers(bench.run("ours", asked, with_baseline=False))
    assert found[(), "example_count", "", False][0] == 150
    assert 0 < found[(), "squared_pearson_correlation", "", False][0] < 1
