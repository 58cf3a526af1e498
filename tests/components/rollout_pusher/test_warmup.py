"""Warm-up requests: real records in the form that TF Serving replays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.rollout_pusher.warmup import warmup_requests
from components.serving_check.raw_records import columns
from serving.probe.model import LoadedModel
from serving.probe.request import Records
from serving.probe.signature import UnfitError
from tests.serving import small_model


@pytest.fixture(scope="module")
def records() -> Records:
    serialized = small_model.examples(30)
    return Records(serialized, columns(serialized, small_model.schema()))


def logs_in(content: bytes, folder: Path) -> list[Any]:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / "requests"
    path.write_bytes(content)
    read = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(one) for one in read]


def test_each_signature_is_asked_with_one_record_and_with_64_and_answers(
    model_with: Callable[[str], Path], records: Records, tmp_path: Path
) -> None:
    import tensorflow as tf

    logs = logs_in(warmup_requests(str(model_with("")), records, "clicks"), tmp_path)
    model, seen = LoadedModel(str(model_with(""))), []
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "clicks"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        score = model.signature(request.model_spec.signature_name)(inputs)["score"]
        assert np.isfinite(score).all()
        seen.append((request.model_spec.signature_name, len(score)))
    names = ("serving_default", "serving_examples")
    assert sorted(seen) == sorted((name, size) for name in names for size in (1, 64))


def test_both_signatures_are_asked_about_the_same_records(
    model_with: Callable[[str], Path], records: Records, tmp_path: Path
) -> None:
    import tensorflow as tf

    logs = logs_in(warmup_requests(str(model_with("")), records, "clicks"), tmp_path)
    by_size: dict[int, list[Any]] = {}
    model = LoadedModel(str(model_with("")))
    for log in logs:
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        score = model.signature(request.model_spec.signature_name)(inputs)["score"]
        by_size.setdefault(len(score), []).append(score)
    for raw, serialized in by_size.values():
        np.testing.assert_allclose(raw, serialized, rtol=0, atol=1e-6)


def test_a_model_that_a_server_could_not_warm_up_is_refused(
    model_with: Callable[[str], Path], records: Records
) -> None:
    with pytest.raises(UnfitError, match="no signature serving_examples"):
        warmup_requests(str(model_with("no_examples")), records, "clicks")
    with pytest.raises(UnfitError, match="takes liked"):
        warmup_requests(str(model_with("label")), records, "clicks")
