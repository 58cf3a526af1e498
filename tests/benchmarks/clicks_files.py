"""The records of the clicks task as the other ways want them; made before anything is timed.

`python -m tests.benchmarks.clicks_files SPANS OUTPUT` writes held_out_users.json, counts.json, and the records
that the line trains and evaluates on as `train/` and `eval/` TFRecords of tf.Examples: TFX's stock ExampleGen would
lose every 0 of a Parquet file, reads only one span, and a CSV file cannot hold a list.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen.partition import assign_splits
from components.records.span import read_span
from pipeline.tasks.clicks.task import TASK


def main(spans: Path, output: Path) -> None:
    """Writes the files; `output` is made."""
    schema = text_format.Parse(TASK.schema_file.read_text(encoding="utf-8"), schema_pb2.Schema())
    folders = sorted(spans.glob("span-*"), key=lambda folder: int(folder.name.removeprefix("span-")))
    held_out_users: set[bytes] = set()
    counts = {"train": 0, "eval": 0}
    for split in ("train", "eval"):
        (output / split).mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with (
        tf.io.TFRecordWriter(str(output / "train" / "clicks.gz"), options) as train,
        tf.io.TFRecordWriter(str(output / "eval" / "clicks.gz"), options) as held_out,
    ):
        for folder in folders:
            for batch in read_span(sorted(folder.glob("*.parquet")), schema):
                side = assign_splits(batch, TASK.split_by, (TASK.window.holdout - 1, 1))
                counts["train"] += int((side == 0).sum())
                counts["eval"] += int((side == 1).sum()) if folder == folders[-1] else 0
                held_out_users |= _values(batch.filter(pa.array(side == 1)), TASK.split_by)
                for index, example in enumerate(RecordBatchToExamplesEncoder().encode(batch)):
                    if side[index] == 0:
                        train.write(example)
                    elif folder == folders[-1]:
                        held_out.write(example)
    (output / "held_out_users.json").write_text(json.dumps(sorted(user.decode() for user in held_out_users)))
    (output / "counts.json").write_text(json.dumps(counts))


def _values(batch: pa.RecordBatch, name: str) -> set[bytes]:
    return set(batch.column(batch.schema.get_field_index(name)).flatten().to_pylist())


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
