from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen.executor import Executor as StockExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.statistics_gen.executor import Executor

ROWS = 3000
CATEGORICAL = 'feature { name: "item" type: INT int_domain { is_categorical: true } }'
IN_PROCESS = ["--runner=FnApiRunner", "--sdk_container_image=in-process"]
Statistics = dict[str, statistics_pb2.FeatureNameStatistics]


def _batch(rows: int) -> pa.RecordBatch:
    rng = np.random.default_rng(5)
    words = rng.choice(np.array([b"", b"a", b"b", b"\xff"], dtype=object), rows)
    return pa.RecordBatch.from_pydict(
        {
            "item": pa.array(rng.zipf(1.5, (rows, 1)).clip(0, 500).tolist(), pa.list_(pa.int64())),
            "score": pa.array(rng.normal(size=(rows, 1)).tolist(), pa.list_(pa.float32())),
            "word": pa.array([None if at % 7 == 0 else [word] for at, word in enumerate(words)], pa.list_(pa.binary())),
            "tags": pa.array([[b"x", b"y"][: at % 3] for at in range(rows)], pa.list_(pa.binary())),
            "never": pa.array([None] * rows, pa.list_(pa.float32())),
        }
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    """One span: `train` in two files, `eval` small, `none` without records."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    artifact.span = 4
    artifact.split_names = artifact_utils.encode_split_names(["train", "eval", "none"])
    records = RecordBatchToExamplesEncoder().encode(_batch(ROWS))
    parts = {"train-0": records[:2000], "train-1": records[2000:2600], "eval-0": records[2600:], "none-0": []}
    for name, part in parts.items():
        folder = Path(artifact.uri, f"Split-{name[:-2]}")
        folder.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / f"data_tfrecord-0000{name[-1]}-of-00002.gz"), "GZIP") as writer:
            for record in part:
                writer.write(record)
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    return artifact


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Schema:
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path_factory.mktemp("schema"))
    Path(artifact.uri, "schema.pbtxt").write_text(CATEGORICAL)
    return artifact


Run = Callable[[type, int, bool], standard_artifacts.ExampleStatistics]


@pytest.fixture(scope="module")
def run(
    examples: standard_artifacts.Examples,
    schema: standard_artifacts.Schema,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    def run_one(executor_class: type, in_memory_mib: int, with_schema: bool) -> standard_artifacts.ExampleStatistics:
        out = standard_artifacts.ExampleStatistics()
        out.uri = str(tmp_path_factory.mktemp("statistics"))
        context = BaseBeamExecutor.Context(beam_pipeline_args=list(IN_PROCESS), tmp_dir=out.uri, unique_id="1")
        inputs = {"examples": [examples]} | ({"schema": [schema]} if with_schema else {})
        properties = {"exclude_splits": "[]", "in_memory_mib": in_memory_mib}
        executor_class(context).Do(inputs, {"statistics": [out]}, properties)
        return out

    return run_one


@pytest.fixture(scope="module", params=[False, True], ids=["without schema", "with schema"])
def both(
    request: pytest.FixtureRequest, run: Run
) -> tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics]:
    return run(Executor, 64, request.param), run(StockExecutor, 64, request.param)


def _dataset(artifact: standard_artifacts.ExampleStatistics, split: str) -> statistics_pb2.DatasetFeatureStatistics:
    return tfdv.load_stats_binary(str(Path(artifact.uri, f"Split-{split}", "FeatureStats.pb"))).datasets[0]


def _features(artifact: standard_artifacts.ExampleStatistics, split: str) -> Statistics:
    return {".".join(feature.path.step): feature for feature in _dataset(artifact, split).features}


def _without_sketches(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.FeatureNameStatistics:
    """Everything that is exact; histograms, the median and rounded moments are compared apart."""
    plain = statistics_pb2.FeatureNameStatistics()
    plain.CopyFrom(feature)
    kind = plain.WhichOneof("stats")
    if kind == "num_stats":
        del plain.num_stats.histograms[:]
        for name in ("median", "mean", "std_dev"):
            plain.num_stats.ClearField(name)
    common = getattr(plain, kind).common_stats
    for name in ("num_values_histogram", "avg_num_values"):
        common.ClearField(name)
    if kind == "string_stats":  # values that come equally often are listed in any order
        plain.string_stats.ClearField("avg_length")
        del plain.string_stats.top_values[:]
        buckets = sorted(plain.string_stats.rank_histogram.buckets, key=lambda bucket: bucket.label)
        del plain.string_stats.rank_histogram.buckets[:]
        for bucket in buckets:
            plain.string_stats.rank_histogram.buckets.add(label=bucket.label, sample_count=bucket.sample_count)
    return plain


@pytest.mark.parametrize("split", ["train", "eval"])
def test_counts_extremes_and_values_equal_the_stock_executors(
    both: tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics], split: str
) -> None:
    ours, stock = (_features(artifact, split) for artifact in both)
    assert sorted(ours) == sorted(stock) == ["item", "never", "score", "tags", "word"]
    assert _dataset(both[0], split).num_examples == _dataset(both[1], split).num_examples > 300
    for name, feature in ours.items():
        assert _without_sketches(feature) == _without_sketches(stock[name]), name


@pytest.mark.parametrize("split", ["train", "eval"])
def test_moments_equal_the_stock_executors_but_for_the_order_of_adding(
    both: tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics], split: str
) -> None:
    ours, stock = (_features(artifact, split) for artifact in both)
    for name in ("item", "score"):
        if ours[name].WhichOneof("stats") == "num_stats":
            for moment in ("mean", "std_dev"):
                got, expected = getattr(ours[name].num_stats, moment), getattr(stock[name].num_stats, moment)
                assert got == pytest.approx(expected, rel=1e-12)
    assert ours["word"].string_stats.avg_length == pytest.approx(stock["word"].string_stats.avg_length, rel=1e-6)


@pytest.mark.parametrize("split", ["train", "eval"])
def test_histograms_agree_within_the_error_of_tfdvs_quantile_sketch(
    both: tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics], split: str
) -> None:
    """TFDV's sketch is asked for a rank error of 1 %: each cumulative count may differ by 2 % of the rows."""
    ours, stock = (_features(artifact, split)["score"].num_stats for artifact in both)
    rows = _dataset(both[0], split).num_examples
    for left, right in zip(ours.histograms, stock.histograms, strict=True):
        assert left.type == right.type
        cumulative = [np.cumsum([bucket.sample_count for bucket in histogram.buckets]) for histogram in (left, right)]
        if left.type == statistics_pb2.Histogram.STANDARD:
            assert np.abs(cumulative[0] - cumulative[1]).max() <= 0.02 * rows
        else:
            edges = [[bucket.high_value for bucket in histogram.buckets] for histogram in (left, right)]
            ranks = [np.searchsorted(np.sort(_scores(split)), edge) for edge in edges]
            assert np.abs(ranks[0] - ranks[1]).max() <= 0.02 * rows


def _scores(split: str) -> NDArray[np.float32]:
    values = _batch(ROWS).column(1).flatten().to_numpy()
    part: NDArray[np.float32] = values[:2600] if split == "train" else values[2600:]
    return part


def test_the_artifact_is_described_as_the_stock_executor_describes_it(
    both: tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics],
) -> None:
    ours, stock = (artifact.mlmd_artifact for artifact in both)
    assert (ours.properties, ours.custom_properties) == (stock.properties, stock.custom_properties)
    assert both[0].span == 4


def test_a_split_without_records_has_no_examples_as_in_stock(
    both: tuple[standard_artifacts.ExampleStatistics, standard_artifacts.ExampleStatistics],
) -> None:
    ours, stock = (_dataset(artifact, "none") for artifact in both)
    assert ours == stock
    assert ours.num_examples == 0


@pytest.mark.parametrize(("with_schema", "kind"), [(False, "num_stats"), (True, "string_stats")])
def test_whole_numbers_are_counted_by_value_only_where_the_schema_calls_them_categories(
    run: Run, with_schema: bool, kind: str
) -> None:
    assert _features(run(Executor, 64, with_schema), "train")["item"].WhichOneof("stats") == kind


def test_examples_above_the_limit_are_counted_in_beam_with_the_same_counts(run: Run) -> None:
    by_beam, columnar = run(Executor, 0, False), run(Executor, 64, False)
    for name, feature in _features(by_beam, "train").items():
        assert _without_sketches(feature) == _without_sketches(_features(columnar, "train")[name])
