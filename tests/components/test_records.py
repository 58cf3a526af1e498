import gzip
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

from components.records import columns_of, read_span, required_features
from serving.errors import InputError
from tests.components.record_files import SCHEMA, WRITERS, Record, write_csv, write_parquet, write_tfrecord

FORMATS = tuple(WRITERS)
RECORDS: list[Record] = [
    {"text": b"", "count": 0, "score": 0.0, "texts": [], "counts": [], "scores": []},
    {"text": None, "count": None, "score": None, "texts": None, "counts": None, "scores": None},
    {"text": b"\xff\x00\xfe", "count": -1, "score": -0.0, "texts": [b"a", b"", b"\xff"], "counts": [0],
     "scores": [0.0]},
    {"text": b'a,"b"\nc', "count": 2**63 - 1, "score": 1.5, "texts": [b'{"b64": "YQ=="}'], "counts": [1, 2],
     "scores": [1]},
    {"text": b"NA", "count": -(2**63), "score": float("nan"), "texts": [b"null"], "counts": [3],
     "scores": [float("inf"), float("-inf")]},
]  # fmt: skip

float32 = st.floats(width=32, allow_subnormal=False)
int64 = st.integers(-(2**63), 2**63 - 1)
# A separator inside a value, and a list of one empty text, are what CSV cannot say.
part = st.binary(max_size=4).filter(lambda value: b"|" not in value)
parts = st.lists(part, max_size=3).filter(lambda values: values != [b""])
record = st.fixed_dictionaries(
    {
        "text": st.none() | st.binary(max_size=6) | st.sampled_from([b"", b"0", b"NaN", b'{"b64":"YQ=="}']),
        "count": st.none() | st.just(0) | int64,
        "score": st.none() | st.just(0.0) | float32,
        "texts": st.none() | parts,
        "counts": st.none() | st.lists(int64, max_size=3),
        "scores": st.none() | st.lists(float32, max_size=3),
    }
)


def read(*files: Path, **options: Any) -> dict[str, list[Any]]:
    batches = list(read_span(files, SCHEMA, **options))
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema.types == [column.list_type for column in columns_of(SCHEMA)]
    found: dict[str, list[Any]] = pa.Table.from_batches(batches).to_pydict()
    return found


def expected(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Every value as a list; None stays None."""
    columns: dict[str, list[Any]] = {column.name: [] for column in columns_of(SCHEMA)}
    for one in records:
        for name, values in columns.items():
            value = one[name]
            values.append(value if value is None or isinstance(value, list) else [value])
    return columns


def same(got: dict[str, list[Any]], want: dict[str, list[Any]]) -> bool:
    # By their text: NaN equals NaN, and -0.0 does not equal 0.0.
    return repr(got) == repr({name: [_floats(name, values) for values in rows] for name, rows in want.items()})


def _floats(name: str, values: Any) -> Any:
    return [float(value) for value in values] if name.startswith("score") and values is not None else values


@pytest.mark.parametrize("kind", FORMATS)
def test_zeros_empty_texts_missing_values_and_raw_bytes_stay_different_things(kind: str, tmp_path: Path) -> None:
    assert same(read(WRITERS[kind](tmp_path, RECORDS)), expected(RECORDS))


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, deadline=None)
@given(records=st.lists(record, min_size=1, max_size=6), batch_rows=st.integers(1, 7))
def test_records_come_back_as_they_were_written(kind: str, records: list[Record], batch_rows: int) -> None:
    with TemporaryDirectory() as folder:
        assert same(read(WRITERS[kind](Path(folder), records), batch_rows=batch_rows), expected(records))


@pytest.mark.parametrize("kind", FORMATS)
def test_batches_are_ready_for_the_encoder_and_nothing_is_lost_in_tf_examples(kind: str, tmp_path: Path) -> None:
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder, RecordBatchToExamplesEncoder

    (batch,) = read_span([WRITERS[kind](tmp_path, RECORDS)], SCHEMA)
    back = ExamplesToRecordBatchDecoder(SCHEMA.SerializeToString()).DecodeBatch(
        RecordBatchToExamplesEncoder().encode(batch)
    )
    assert same(
        {name: back.column(back.schema.names.index(name)).to_pylist() for name in batch.schema.names}, expected(RECORDS)
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_several_files_follow_one_another_in_batches_of_at_most_so_many_rows(kind: str, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(WRITERS[kind](tmp_path / name, RECORDS))
    batches = list(read_span(files, SCHEMA, batch_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 2, 1, 2, 2, 1]
    assert same(read(*files, batch_rows=2), expected(RECORDS * 2))


def test_reading_text_and_parquet_does_not_import_tensorflow(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from components.records import read_span
from tests.components.record_files import SCHEMA, WRITERS
for kind in ("parquet", "csv", "json lines"):
    file = WRITERS[kind](Path({str(tmp_path)!r}), [{RECORDS[0]!r}])
    assert sum(batch.num_rows for batch in read_span([file], SCHEMA)) == 1
print("tensorflow" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_types_come_from_the_schema_and_not_from_what_values_look_like(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,score\n007,1\n1e5,2\n")
    (batch,) = read_span([tmp_path / "a.csv"], SCHEMA)
    assert batch.column("text").to_pylist() == [[b"007"], [b"1e5"]]
    assert batch.column("score").to_pylist() == [[1.0], [2.0]]


def test_a_column_of_one_csv_keeps_empty_lines_as_missing_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbftext\r\n\r\n""\r\nx\r\n')
    assert read(tmp_path / "a.csv")["text"] == [None, [b""], [b"x"]]


def test_a_double_is_rounded_to_float32_and_beyond_it_becomes_infinite(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", "c"], "score": pa.array([0.1, 1e300, None], pa.float64())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")["score"] == [[pytest.approx(0.1, abs=1e-8)], [float("inf")], None]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.large_binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_parquet_text_of_any_arrow_type_is_bytes(kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["a", None, ""]).cast(kind), "texts": [["b"], [], None]})
    pq.write_table(table, tmp_path / "a.parquet")
    got = read(tmp_path / "a.parquet")
    assert (got["text"], got["texts"]) == ([[b"a"], None, [b""]], [[b"b"], [], None])


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", b"count\n1\n", r"a\.csv: the schema requires column 'text' \(BYTES\); the file has count"),
        ("a.csv", b"text,Count\na,1\n", r"column 'Count' is not in the schema \(did you mean 'count'"),
        ("a.csv", b"text,text\na,1\n", "column 'text' is there more than once"),
        ("a.csv", b"text,count\na,1\nb,x\n", r"record 2: column 'count' expected INT .* got 'x'"),
        ("a.csv", b'text,count\na,""\n', r"record 1: column 'count' expected INT .* got ''"),
        ("a.csv", b"text,count\na,\xff\n", r"record 1: column 'count' expected INT .* got b'\\xff'"),
        ("a.csv", b"text,counts\na,1|2\nb,1|1.5\n", r"record 2: column 'counts' expected INT .* got '1\.5'"),
        ("a.csv", b"text,count\na,1\nb\n", "Row #3: Expected 2 columns, got 1"),
        ("a.csv", b'text,count\n"a,1\nb,2\n', "odd number of them"),
        ("a.csv", b"text\n", "holds no records"),
        ("a.csv", b"", "expected CSV with a header line"),
        ("a.csv", b"\xff\xfe,b\na,b\n", "the header line is not UTF-8"),
        ("a.csv.gz", gzip.compress(b"text\n" + b"a\n" * 999)[:-20], "Truncated compressed stream"),
        ("a.csv.gz", b"text\na\n", "expected CSV"),
        ("a.jsonl", b'{"count":1}', r"requires column 'text' \(BYTES\); the file has count"),
        ("a.jsonl", b'{"text":"a","cuont":1}', r"column 'cuont' is not in the schema \(did you mean 'count'"),
        ("a.jsonl", b'{"text":"a"}\n\n{"text":"b","count":1.0}', r"record 2: column 'count' expected one INT value"),
        ("a.jsonl", b'{"text":"a","count":true}', r"record 1: column 'count' expected one INT value; got true"),
        ("a.jsonl", b'{"text":5}', "record 1: column 'text' expected one BYTES value; got 5"),
        ("a.jsonl", b'{"text":["a"]}', r"column 'text' expected one BYTES value; got \[\"a\"\]"),
        ("a.jsonl", b'{"text":"a","texts":"b"}', "column 'texts' expected a list of BYTES values; got \"b\""),
        ("a.jsonl", b'{"text":"a","texts":["b",null]}', "record 1: column 'texts' has a list with a null inside"),
        ("a.jsonl", b'{"text":"a"}\n{"text":{"b64":"!"}}', "record 2: column 'text' expected .*base64"),
        ("a.jsonl", b'{"text":"a"}\n{"text":', "record 2: expected one JSON object a line; .*cut short"),
        ("a.jsonl", b"[1]\n", r"record 1: expected one JSON object a line; got \[1\]"),
        ("a.jsonl", b"\x00\xffgarbage", "record 1: expected one JSON object a line"),
        ("a.jsonl", b"\n\n", "holds no records"),
        ("a.jsonl.gz", gzip.compress(b'{"text":"a"}\n' * 999)[:-20], "Truncated compressed stream"),
        ("a.parquet", b"", "expected a whole Parquet file"),
        ("a.parquet", b"PAR1 and no more", "expected a whole Parquet file"),
        ("a.tfrecord", b"", "holds no records"),
        ("a.tfrecord", b"garbage garbage garbage", "expected a whole TFRecord file"),
        ("a.xlsx", b"", "cannot tell its format"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_its_reason(
    name: str, content: bytes, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as raised:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        ("count", pa.array([None, 1.0]), r"record 2: column 'count' expected INT .* got 1\.0 \(.* of type double"),
        ("count", pa.array([True, False]), r"column 'count' expected INT .* got True \(the column is of type bool"),
        ("count", pa.array([1, 2**64 - 1], pa.uint64()), "record 2: column 'count' expected INT .* got 184467440737"),
        ("count", pa.array(["1", "2"]), "column 'count' expected INT .* got '1'"),
        ("score", pa.array([1, 2**24 + 1]), "record 2: column 'score' expected FLOAT .* got 16777217"),
        ("text", pa.array([1, 2]), "column 'text' expected BYTES .* got 1"),
        ("texts", pa.array([["a"], ["b", None]]), "record 2: column 'texts' has a list with a null inside"),
        ("texts", pa.array([{"a": 1}, None]), "record 1: column 'texts' expected BYTES"),
        ("nope", pa.array([1, 2]), "column 'nope' is not in the schema"),
    ],
)  # fmt: skip
def test_a_parquet_column_of_a_wrong_type_is_refused(
    column: str, values: pa.Array, complaint: str, tmp_path: Path
) -> None:
    columns = {"text": pa.array(["a", "b"])} | {column: values}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=complaint):
        read(tmp_path / "a.parquet")


def test_the_record_in_an_error_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,count\n" + "a,1\n" * 6 + "b,x\n")
    with pytest.raises(InputError, match="record 7: column 'count'"):
        read(tmp_path / "a.csv", batch_rows=2)


@pytest.mark.parametrize("cut", [1, 8, 9, 40])
@pytest.mark.parametrize("write", [write_parquet, write_tfrecord])
def test_a_file_that_was_cut_short_is_refused(write: Any, cut: int, tmp_path: Path) -> None:
    file = write(tmp_path, RECORDS)
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(InputError, match="cut short"):
        read(file)


def test_tf_examples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    def one(**features: Any) -> bytes:
        serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
        return serialized

    text = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))
    whole = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
    real = tf.train.Feature(float_list=tf.train.FloatList(value=[1.5]))
    for examples, complaint in (
        ([one(text=text, count=whole), b"junk"], "record 2: expected a serialized tf.Example"),
        ([one(text=text, count=whole), one(text=text, count=real)], "expected int64_list, found float_list"),
        ([one(text=text), one(text=text, count=real)], r"record 2: column 'count' expected INT .* got 1\.5"),
        ([one(text=text, cuont=whole)], "column 'cuont' is not in the schema .did you mean 'count'"),
        ([one(count=whole)], "the schema requires column 'text'"),
    ):
        with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
            for example in examples:
                writer.write(example)
        with pytest.raises(InputError, match=complaint):
            read(tmp_path / "a.tfrecord")


def test_formats_are_not_mixed_in_one_span(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mixes CSV \(records.csv\) with Parquet \(records.parquet\)"):
        read(write_csv(tmp_path, RECORDS), write_parquet(tmp_path, RECORDS))


def test_a_span_without_files_is_refused() -> None:
    with pytest.raises(InputError, match="at least one record file"):
        read()


def test_the_label_is_required_for_training_and_not_for_serving(tmp_path: Path) -> None:
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    schema.default_environment.extend(["TRAINING", "SERVING"])
    label = schema.feature.add(name="liked", type=schema_pb2.INT, not_in_environment=["SERVING"])
    label.presence.min_count = 1
    assert required_features(schema) == {"text", "liked"}
    assert required_features(schema, "SERVING") == {"text"}
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(InputError, match="requires column 'liked'"):
        list(read_span([tmp_path / "a.csv"], schema))
    (batch,) = read_span([tmp_path / "a.csv"], schema, environment="SERVING")
    assert batch.column("liked").to_pylist() == [None]


def test_a_schema_without_a_type_is_refused() -> None:
    schema = schema_pb2.Schema()
    schema.feature.add(name="mystery")
    with pytest.raises(InputError, match="'mystery' is of type TYPE_UNKNOWN"):
        columns_of(schema)
