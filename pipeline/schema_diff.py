"""`python -m pipeline schema diff TASK`: what a new span would change in the curated schema, and what that touches."""

from typing import Any

from pipeline import records
from pipeline.task import Task, load
from pipeline.tasks import find
from serving.errors import InputError


def show(task_name: str, data: str | None, span: int | None) -> int:
    """Prints the diff; returns 0, whether there is one or not.

    Raises:
        InputError: the span does not exist or cannot be read at all, or the schema is not one.
    """
    task = find(task_name)
    chosen = records.choose(task, data, span, None)
    number = chosen.window[-1]

    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.data_gate.schema_diff import schema_diff

    try:
        text = task.schema_file.read_text(encoding="utf-8")
        schema = text_format.Parse(text, schema_pb2.Schema())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(f"{task.schema_file} is not a schema in text format: {error}") from None
    difference = schema_diff(
        text,
        [_statistics(chosen, number, schema)],
        name=task.schema_file.name,
        transformed=_made_from(task, schema),
        models=(task.name,),
        gates=_gates_by_feature(task),
    )
    if not difference.text:
        print(f"span {number} of {chosen.root} changes nothing in {task.schema_file.name}")
        return 0
    print(difference.text)
    print()
    for change in difference.changes:
        touched = [
            f"{kind} {', '.join(names)}"
            for kind, names in (
                ("transformed features", change.transformed),
                ("models", change.models),
                ("gates", change.gates),
            )
            if names
        ]
        print(f"{change.what} {change.feature}: touches {'; '.join(touched) or 'nothing that is learnt or judged'}")
    return 0


def _statistics(chosen: records.ChosenSpans, number: int, schema: Any) -> Any:
    """TFDV's statistics of a span as the user's files have it, columns that the schema does not know included."""
    import pyarrow as pa
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory

    from components.records import read_span, with_newcomers
    from data.spans import list_spans

    files = next(one for one in list_spans(chosen.root) if one.number == number).files
    batches = list(read_span(files, with_newcomers(files, schema)))
    if not batches:
        raise InputError(f"span {number} of {chosen.root} holds no record")
    table = pa.Table.from_batches(batches).combine_chunks()
    return generate_statistics_in_memory(table.to_batches()[0], tfdv.StatsOptions())


def _made_from(task: Task, schema: Any) -> dict[str, list[str]]:
    """Raw feature -> the transformed features that depend on it, read off the traced preprocessing_fn."""
    from tensorflow_transform import graph_tools, impl_helper
    from tensorflow_transform.tf_metadata import schema_utils

    specs = impl_helper.get_type_specs_from_feature_specs(schema_utils.schema_as_feature_spec(schema).feature_spec)
    traced = impl_helper.trace_preprocessing_function(load(task.preprocessing_fn), specs, use_tf_compat_v1=False)
    graph, inputs, outputs = traced
    touched: dict[str, list[str]] = {}
    for name in sorted(outputs):
        # A traced output is an Identity that also waits for every table's initialisation: look through it.
        made = outputs[name].op.inputs[0]
        for raw in graph_tools.get_dependent_inputs(graph, inputs, {name: made}):
            touched.setdefault(raw, []).append(name)
    return touched


def _gates_by_feature(task: Task) -> dict[str, list[str]]:
    """Raw feature -> the gates that it decides: those sliced by it, and all of them where it is the label."""
    gates: dict[str, list[str]] = {}
    for gate in task.gates:
        for keys in gate.slices:
            for feature in keys:
                gates.setdefault(feature, []).append(f"{gate.metric} by {' and '.join(keys)}")
    return {**gates, task.label: [gate.metric for gate in task.gates]}
