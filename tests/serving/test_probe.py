"""The probe: a SavedModel asked in a fresh process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.probe.measure import measure, timed
from serving.probe.request import Array, Group, Records, Request, decode, encode, from_plain
from serving.probe.signature import Input, UnfitError, fit
from tests.serving import small_model

TEXTS, INT64, FLOAT32 = np.dtype(object), np.dtype(np.int64), np.dtype(np.float32)


def texts(*rows: list[bytes]) -> Array:
    return np.array(rows, object).reshape(len(rows), -1)


def group_of(**columns: Array) -> Group:
    return Group(np.arange(len(next(iter(columns.values())))), columns)


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(st.binary(max_size=6), min_size=1, max_size=5),
    numbers=st.lists(st.floats(width=32), min_size=1, max_size=5),
    whole=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
)
def test_a_request_survives_its_json_to_the_last_bit(
    words: list[bytes], numbers: list[float], whole: list[int]
) -> None:
    columns: dict[str, Array] = {
        "words": np.array(words, object)[None, :],
        "numbers": np.array([numbers], np.float32),
        "whole": np.array([whole], np.int64),
        "none": np.empty((1, 0), object),
    }
    request = Request(Records(np.array([b"\x00\xff"], object), (Group(np.array([0]), columns),)), (1, 8), 5, 2)
    back = decode(encode(request))
    assert (back.batch_sizes, back.calls, back.warm_up_calls) == ((1, 8), 5, 2)
    assert back.records.serialized.tolist() == [b"\x00\xff"]
    for name, column in columns.items():
        other = back.records.groups[0].columns[name]
        assert other.dtype == column.dtype
        assert other.shape == column.shape
        if column.dtype == object:
            assert other.tolist() == column.tolist()
        else:
            np.testing.assert_array_equal(other, column)


def test_a_batch_starts_again_from_the_first_record_when_there_are_fewer() -> None:
    batch = group_of(age=np.array([[1], [2], [3]])).batch(7)
    assert batch.columns["age"].tolist() == [[1], [2], [3], [1], [2], [3], [1]]


def test_columns_are_given_the_rank_and_type_of_the_signature() -> None:
    group = group_of(age=np.array([[1], [2]]), job=texts([b"a"], [b"b"]), list=np.ones((2, 3), np.float32))
    wanted = {"age": Input(np.dtype(np.float32), 1), "job": Input(TEXTS, 1), "list": Input(FLOAT32, 2)}
    fitted = fit(group, wanted, "serving_default")
    assert fitted["age"].dtype == np.float32
    assert fitted["age"].tolist() == [1.0, 2.0]
    assert fitted["job"].tolist() == [b"a", b"b"]
    assert fitted["list"].shape == (2, 3)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"liked": Input(INT64, 1)}, "takes liked, which is no feature that a client sends"),
        ({"genres": Input(TEXTS, 1)}, "takes one genres a record, and a record has 2"),
        ({"genres": Input(INT64, 2)}, "takes genres as int64; the schema has texts"),
        ({"age": Input(TEXTS, 1)}, "takes age as texts; the schema has int64"),
    ],
)
def test_a_signature_that_takes_something_else_is_told_apart_by_column(wanted: dict[str, Input], message: str) -> None:
    group = group_of(age=np.array([[1]]), genres=texts([b"a", b"b"]))
    with pytest.raises(UnfitError, match=message):
        fit(group, wanted, "serving_default")


def test_percentiles_are_of_calls_that_took_place_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = [0], iter([9_000_000] * 3 + [1_000_000] * 196 + [5_000_000] * 3 + [7_000_000])

    def call() -> None:
        clock[0] += next(costs)

    monkeypatch.setattr("serving.probe.measure.time.perf_counter_ns", lambda: clock[0])
    assert timed(call, calls=200, warm_up_calls=3) == {"p50": 1.0, "p99": 5.0, "calls": 200}


@pytest.fixture(scope="module")
def request_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.serving_check.raw_records import columns

    serialized = small_model.examples(40)
    request = Request(Records(serialized, columns(serialized, small_model.schema())), calls=20, warm_up_calls=2)
    path = tmp_path_factory.mktemp("request") / "request.json"
    path.write_text(encode(request))
    return path


def probe(model: Path, request: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "serving.probe", str(model), str(request)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONWARNINGS": ""}
    )


def test_the_probe_prints_the_answers_of_both_signatures_and_its_latency(
    model_with: Callable[[str], Path], request_file: Path
) -> None:
    import tensorflow as tf

    done = probe(model_with(""), request_file)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    raw = from_plain(answer["answers"]["serving_default"]["score"])
    serialized = from_plain(answer["answers"]["serving_examples"]["score"])
    request = decode(request_file.read_text())
    loaded = tf.saved_model.load(str(model_with("")))
    expected = loaded.signatures["serving_examples"](examples=tf.constant(request.records.serialized))["score"].numpy()
    assert raw.shape == (40, 1)
    assert len(np.unique(raw)) > 20
    np.testing.assert_allclose(raw, expected, rtol=0, atol=1e-6)  # another batch size may round otherwise
    np.testing.assert_allclose(serialized, expected, rtol=0, atol=1e-6)
    for size in ("1", "64"):
        assert 0 < answer["latency_ms"][size]["p50"] <= answer["latency_ms"][size]["p99"]
        assert answer["latency_ms"][size]["calls"] == 20


def test_the_probes_last_words_name_what_the_model_lacks(model_with: Callable[[str], Path], request_file: Path) -> None:
    done = probe(model_with("no_raw"), request_file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().splitlines()[-1] == (
        "the model has no signature serving_default; it has serving_examples, transform_features"
    )


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("label", UnfitError, "signature serving_default takes liked, which is no feature that a client sends"),
        ("one_answer", UnfitError, r"signature serving_default answers score of shape \[1, 1\] to \d+ records"),
        (
            "no_examples",
            UnfitError,
            "the model has no signature serving_examples; it has serving_default, transform_features",
        ),
        ("raises", Exception, "this model is no good"),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused_by_what_is_wrong_with_it(
    model_with: Callable[[str], Path], request_file: Path, fault: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure(str(model_with(fault)), decode(request_file.read_text()))


def test_the_probe_loads_nothing_of_tfx(model_with: Callable[[str], Path], request_file: Path) -> None:
    program = (
        "import runpy, sys\n"
        "sys.argv = ['serving.probe', *sys.argv[1:]]\n"
        "try: runpy.run_module('serving.probe', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'tfx', 'apache_beam', 'ml_metadata', 'tensorflow_transform', 'components'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(model_with("")), str(request_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"
