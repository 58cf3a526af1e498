"""Takes a few raw records of the newest span for the preflight of a task's preprocessing_fn."""

from data.spans import list_spans
from pipeline import preflight
from pipeline.records import ChosenSpans
from pipeline.task import Task
from serving.errors import InputError

SAMPLE_ROWS = 64


def check(task: Task, chosen: ChosenSpans, schema_text: str) -> None:
    """Runs preprocessing_fn on the newest span's first records.

    Raises:
        InputError: the schema is not one, the span cannot be read by it, or preprocessing_fn fails.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    from components.records import read_span

    try:
        schema = text_format.Parse(schema_text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise InputError(f"{task.schema_file} is not a schema in text format: {error}") from None
    names = {feature.name for feature in schema.feature}
    for role, name in (("label", task.label), ("split_by", task.split_by)):
        if name not in names:
            raise InputError(f"task {task.name!r}: its {role} {name!r} is not in {task.schema_file}")
    newest = next(span for span in list_spans(chosen.root) if span.number == chosen.window[-1])
    batch = next(iter(read_span(newest.files, schema)))
    examples = RecordBatchToExamplesEncoder().encode(batch.slice(0, SAMPLE_ROWS))
    preflight.check(task.preprocessing_fn, [bytes(example) for example in examples], schema, task.label)
