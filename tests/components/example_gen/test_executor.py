import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tfx.components.example_gen.import_example_gen.executor import Executor as StockExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components.example_gen.component import span_examples
from components.example_gen.executor import Executor, span_files
from serving.errors import InputError

SCHEMA = """
feature { name: "user" type: INT presence { min_fraction: 1 } shape {} }
feature { name: "count" type: INT shape {} }
feature { name: "score" type: FLOAT shape {} }
feature { name: "word" type: BYTES shape {} }
feature { name: "tags" type: BYTES }
"""
ROWS = 500
IN_PROCESS = ["--runner=FnApiRunner", "--sdk_container_image=in-process"]


def _table(start: int, rows: int) -> pa.Table:
    user = np.arange(start, start + rows) % 97
    return pa.table(
        {
            "user": pa.array(user, pa.int64()),
            "count": pa.array([[0, None, 3][at % 3] for at in range(start, start + rows)], pa.int64()),
            "score": pa.array([[0.0, 1.5, None][at % 3] for at in range(start, start + rows)], pa.float32()),
            "word": pa.array(
                [[b"", None, b"\xff\xfe\x00", b"caf\xc3\xa9"][at % 4] for at in range(start, start + rows)]
            ),
            "tags": pa.array([[[b"a", b""], [], None][at % 3] for at in range(start, start + rows)]),
        }
    )


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    (folder / "span-3").mkdir()
    pq.write_table(_table(0, ROWS // 2), folder / "span-3" / "part-0.parquet")
    pq.write_table(_table(ROWS // 2, ROWS // 2), folder / "span-3" / "part-1.parquet")
    (folder / "span-3" / "_SUCCESS").write_text("")
    (folder / "span-3" / ".part-1.parquet.crc").write_text("")
    return folder


def _properties(base: Path, in_memory_mib: int, pattern: str = "span-3/*", split_by: str = "user") -> dict[str, Any]:
    """What the driver hands to the executor."""
    node = span_examples(str(base), 3, SCHEMA, split_by, 5, in_memory_mib)
    properties = dict(node.exec_properties)
    config = json_format.Parse(properties["input_config"], example_gen_pb2.Input())
    config.splits[0].pattern = pattern
    return {**properties, "input_config": json_format.MessageToJson(config)}


def _run(executor_class: type, properties: dict[str, Any], out: Path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(out)
    context = BaseBeamExecutor.Context(beam_pipeline_args=list(IN_PROCESS), tmp_dir=str(out / "tmp"), unique_id="1")
    executor_class(context).Do({}, {"examples": [examples]}, properties)
    return examples


def _records(examples: standard_artifacts.Examples, split: str) -> list[bytes]:
    files = sorted(Path(examples.uri, f"Split-{split}").glob("*"))
    return list(tf.data.TFRecordDataset([str(file) for file in files], "GZIP").as_numpy_iterator())


def _sorted_examples(examples: standard_artifacts.Examples, split: str) -> list[bytes]:
    parsed = (tf.train.Example.FromString(record) for record in _records(examples, split))
    return sorted(example.SerializeToString(deterministic=True) for example in parsed)


@pytest.fixture(scope="module")
def columnar(spans: Path, tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    return _run(Executor, _properties(spans, 256), tmp_path_factory.mktemp("columnar"))


@pytest.fixture(scope="module")
def by_beam(spans: Path, tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    return _run(Executor, _properties(spans, 0), tmp_path_factory.mktemp("beam"))


@pytest.fixture(scope="module")
def stock(
    columnar: standard_artifacts.Examples, tmp_path_factory: pytest.TempPathFactory
) -> standard_artifacts.Examples:
    folder = tmp_path_factory.mktemp("tfrecords")
    with tf.io.TFRecordWriter(str(folder / "all.gz"), "GZIP") as writer:
        for split in ("train", "eval"):
            for record in _records(columnar, split):
                writer.write(record)
    properties = _properties(folder, 256, pattern="*.gz")
    return _run(StockExecutor, properties, tmp_path_factory.mktemp("stock"))


@pytest.mark.parametrize("split", ["train", "eval"])
def test_the_columnar_way_and_beam_give_the_same_records_to_the_same_splits(
    columnar: standard_artifacts.Examples, by_beam: standard_artifacts.Examples, split: str
) -> None:
    assert _sorted_examples(columnar, split) == _sorted_examples(by_beam, split)


@pytest.mark.parametrize("split", ["train", "eval"])
def test_records_fall_into_the_splits_of_the_stock_example_gen(
    columnar: standard_artifacts.Examples, stock: standard_artifacts.Examples, split: str
) -> None:
    assert len(_records(stock, split)) > 50
    assert _sorted_examples(columnar, split) == _sorted_examples(stock, split)


def test_the_artifact_is_described_as_the_stock_example_gen_describes_it(
    columnar: standard_artifacts.Examples, by_beam: standard_artifacts.Examples, stock: standard_artifacts.Examples
) -> None:
    def described(examples: standard_artifacts.Examples) -> tuple[str, dict[str, str]]:
        properties = examples.mlmd_artifact.custom_properties
        texts = {name: value.string_value for name, value in sorted(properties.items()) if name != "rows"}
        return examples.split_names, texts

    assert described(columnar) == described(by_beam) == described(stock)
    assert columnar.get_int_custom_property("rows") == sum(len(_records(columnar, one)) for one in ("train", "eval"))
    names = sorted(str(path.relative_to(columnar.uri)) for path in Path(columnar.uri).glob("Split-*/*"))
    assert names == [f"Split-{split}/data_tfrecord-00000-of-00001.gz" for split in ("eval", "train")]


def test_zeros_empty_strings_missing_values_and_raw_bytes_stay_different_things(
    columnar: standard_artifacts.Examples,
) -> None:
    records = [*_records(columnar, "train"), *_records(columnar, "eval")]
    seen: dict[str, set[str]] = {name: set() for name in ("count", "score", "word", "tags")}
    for record in records:
        features = tf.train.Example.FromString(record).features.feature
        for name, kinds in seen.items():
            feature = features[name]
            kind = feature.WhichOneof("kind")
            kinds.add(repr(list(getattr(feature, kind).value)) if kind else "missing")
    assert seen == {
        "count": {"[0]", "[3]", "missing"},
        "score": {"[0.0]", "[1.5]", "missing"},
        "word": {repr([b""]), repr([b"\xff\xfe\x00"]), repr(["café".encode()]), "missing"},
        "tags": {repr([b"a", b""]), "[]", "missing"},
    }


def test_every_record_is_in_one_split_and_no_user_is_in_both(columnar: standard_artifacts.Examples) -> None:
    users = {
        split: [tf.train.Example.FromString(record).features.feature["user"].int64_list.value[0] for record in records]
        for split in ("train", "eval")
        if (records := _records(columnar, split))
    }
    assert len(users["train"]) + len(users["eval"]) == ROWS
    assert not set(users["train"]) & set(users["eval"])
    assert len(set(users["train"]) | set(users["eval"])) == 97


def test_records_keep_the_order_of_the_files(columnar: standard_artifacts.Examples) -> None:
    users = [
        tf.train.Example.FromString(record).features.feature["user"].int64_list.value[0]
        for record in _records(columnar, "train")
    ]
    held_out = {
        tf.train.Example.FromString(record).features.feature["user"].int64_list.value[0]
        for record in _records(columnar, "eval")
    }
    assert users == [at % 97 for at in range(ROWS) if at % 97 not in held_out]


def test_the_columnar_way_writes_the_same_bytes_each_time(
    spans: Path, columnar: standard_artifacts.Examples, tmp_path: Path
) -> None:
    again = _run(Executor, _properties(spans, 256), tmp_path)
    for first in Path(columnar.uri).glob("Split-*/*"):
        assert Path(again.uri, first.relative_to(columnar.uri)).read_bytes() == first.read_bytes()


def test_files_that_begin_with_a_dot_or_an_underscore_are_no_records(spans: Path) -> None:
    assert [Path(file).name for file in span_files(str(spans), "span-3/*")] == ["part-0.parquet", "part-1.parquet"]


def test_a_span_without_files_says_where_it_looked(spans: Path) -> None:
    with pytest.raises(InputError, match="no files of records match span-9/"):
        span_files(str(spans), "span-9/*")


@pytest.mark.parametrize(
    ("split_by", "message"),
    [("word", "63 of 250 records have no value"), ("score", "holds floats"), ("usr", "not a column")],
)
def test_a_feature_that_cannot_split_records_is_refused(
    spans: Path, tmp_path: Path, split_by: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _run(Executor, _properties(spans, 256, split_by=split_by), tmp_path)


def test_a_column_of_the_wrong_type_stops_the_ingest_in_beam_as_input_error_too(tmp_path: Path) -> None:
    folder = tmp_path / "span-3"
    folder.mkdir()
    pq.write_table(_table(0, 9).set_column(0, "user", pa.array(["x"] * 9)), folder / "a.parquet")
    for in_memory_mib in (256, 0):
        with pytest.raises(InputError, match="user"):
            _run(Executor, _properties(tmp_path, in_memory_mib), tmp_path / "out")


def test_the_settings_keep_what_reading_needs_and_nothing_else(spans: Path) -> None:
    curated = SCHEMA + 'string_domain { name: "d" value: "x" }'
    plain = json.loads(span_examples("base", 1, SCHEMA, "user", 5).exec_properties["custom_config"])
    assert json.loads(span_examples("base", 1, curated, "user", 5).exec_properties["custom_config"]) == plain
    other = span_examples("base", 1, SCHEMA.replace("INT shape", "FLOAT shape"), "user", 5)
    assert json.loads(other.exec_properties["custom_config"]) != plain
