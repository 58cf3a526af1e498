import inspect
from pathlib import Path
from typing import Any

import pytest

from pipeline import preflight
from pipeline.schema_diff import _made_from
from serving.errors import InputError
from tests.pipeline import faulty_features, small_task

ROWS = 8


@pytest.fixture(scope="module")
def schema() -> Any:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(small_task.SCHEMA, schema_pb2.Schema())


@pytest.fixture(scope="module")
def examples() -> list[bytes]:
    import tensorflow as tf

    kinds = {"user": "bytes_list", "tags": "bytes_list", "price": "float_list"}
    columns = small_task.rows(ROWS, 3)
    rows = []
    for row in range(ROWS):
        example = tf.train.Example()
        for name, column in columns.items():
            values = getattr(example.features.feature[name], kinds.get(name, "int64_list")).value
            values.extend(column[row] or [])
        rows.append(example.SerializeToString())
    return rows


def checked(name: str, examples: list[bytes], schema: Any) -> None:
    preflight.check(f"tests.pipeline.faulty_features.{name}", examples, schema, small_task.LABEL)


def message_of(name: str, examples: list[bytes], schema: Any) -> str:
    with pytest.raises(InputError) as caught:
        checked(name, examples, schema)
    return str(caught.value)


def line_of(name: str) -> str:
    """Where the line is that ends in `# here`."""
    lines, first = inspect.getsourcelines(getattr(faulty_features, name))
    (offset,) = (place for place, line in enumerate(lines) if line.rstrip().endswith("# here"))
    return f"{Path(faulty_features.__file__)}:{first + offset}: return "


@pytest.mark.parametrize("name", ["whole", "every_analyzer", "by_copy"])
def test_a_good_function_passes(name: str, examples: list[bytes], schema: Any) -> None:
    checked(name, examples, schema)


def test_a_good_function_passes_on_a_single_record(examples: list[bytes], schema: Any) -> None:
    checked("whole", examples[:1], schema)


def test_a_wrong_feature_is_named_with_the_line_and_the_right_ones(examples: list[bytes], schema: Any) -> None:
    message = message_of("unknown_feature", examples, schema)
    assert line_of("unknown_feature") in message
    assert "KeyError: there is no feature 'hight'; the schema has age, liked, price, tags, user" in message


@pytest.mark.parametrize(
    ("name", "feature", "error"),
    [
        ("unfit_shapes", "age", "InvalidArgumentError: "),
        ("no_number", "user", "InvalidArgumentError: "),
        ("by_a_callee", "liked", "LinAlgError: "),
    ],
)
def test_an_error_shows_the_users_line_and_the_feature_it_read_last(
    name: str, feature: str, error: str, examples: list[bytes], schema: Any
) -> None:
    message = message_of(name, examples, schema)
    assert message.startswith(
        f"preprocessing_fn failed on a sample of {ROWS} records (the feature it read last: {feature!r})\n"
    )
    assert line_of(name) in message
    assert error in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_label", "must return the label 'liked'; it returned age"),
        ("sparse", "'tags' is a SparseTensor; expected a dense tensor [batch, ...]"),
        ("one_number", f"'age' has shape () for {ROWS} records; expected [{ROWS}, ...]"),
        ("other_rows", f"'age' has shape ({ROWS - 1}, 1) for {ROWS} records"),
        ("nothing", "returns a dict of named tensors; got NoneType"),
        ("no_such_function", "cannot be loaded: tests.pipeline.faulty_features has no function 'no_such_function'"),
    ],
)
def test_an_unfit_output_is_named(name: str, expected: str, examples: list[bytes], schema: Any) -> None:
    message = message_of(name, examples, schema)
    assert message.startswith(f"tests.pipeline.faulty_features.{name}")
    assert expected in message


def test_a_record_that_breaks_the_schema_is_left_to_the_data_gate(schema: Any) -> None:
    import tensorflow as tf

    checked("no_number", [tf.train.Example().SerializeToString()], schema)


def test_a_schema_that_cannot_become_tensors_is_refused(examples: list[bytes]) -> None:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    text = 'feature { name: "age" type: INT shape { dim { size: 1 } } }'
    unfit = text_format.Parse(text, schema_pb2.Schema())
    assert "the schema cannot be used for training: Feature age had shape" in message_of("whole", examples, unfit)


@pytest.mark.parametrize("name", ["every_analyzer", "no_number"])
def test_nothing_of_it_is_left_whether_it_passed_or_failed(name: str, examples: list[bytes], schema: Any) -> None:
    import tensorflow as tf
    from tensorflow_transform import analyzer_nodes

    graph, bind = tf.compat.v1.get_default_graph(), analyzer_nodes.bind_future_as_tensor

    def notes() -> dict[str, int]:
        kept = {key: len(graph.get_collection_ref(key)) for key in graph.get_all_collection_keys()}
        return {key: count for key, count in kept.items() if count}

    before = notes()
    if name == "every_analyzer":
        checked(name, examples, schema)
    else:
        message_of(name, examples, schema)
    assert notes() == before
    assert analyzer_nodes.bind_future_as_tensor is bind


def test_a_trace_after_it_sees_each_features_own_sources(examples: list[bytes], schema: Any) -> None:
    checked("whole", examples, schema)
    task = small_task.declare("unused")
    assert _made_from(task, schema) == {name: [name] for name in ("age", "liked", "price", "tags", "user")}
