from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.signatures import _parsed, column_spec, export, multi_valued, read_schema, serving_features
from tests.pipeline import small_task

SCHEMA = """
feature { name: "text" type: BYTES presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
feature { name: "count" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
feature { name: "score" type: FLOAT presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
feature { name: "maybe_text" type: BYTES value_count { min: 0 max: 1 } }
feature { name: "maybe_count" type: INT value_count { min: 0 max: 1 } }
feature { name: "maybe_score" type: FLOAT value_count { min: 0 max: 1 } }
feature { name: "texts" type: BYTES value_count { min: 0 max: 4 } }
feature { name: "counts" type: INT value_count { min: 0 max: 4 } }
feature { name: "scores" type: FLOAT value_count { min: 0 max: 4 } }
feature {
  name: "answer" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } } not_in_environment: "SERVING"
}
default_environment: "TRAINING"
default_environment: "SERVING"
"""
LEAST = -(2**63)
TEXTS = st.binary(max_size=3)
COUNTS = st.integers(LEAST + 1, 2**63 - 1)
SCORES = st.floats(allow_nan=False, width=32)
DTYPES = {"text": object, "count": np.int64, "score": np.float32}
PADDING = {"text": b"", "count": LEAST, "score": float("nan")}


@pytest.fixture(scope="module")
def schema_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "schema.pbtxt"
    path.write_text(SCHEMA)
    return path


@pytest.fixture(scope="module")
def schema(schema_path: Path) -> Any:
    return read_schema(str(schema_path))


@pytest.fixture(scope="module")
def spec(schema: Any) -> dict[str, Any]:
    from tensorflow_transform.tf_metadata import schema_utils

    found: dict[str, Any] = schema_utils.schema_as_feature_spec(schema).feature_spec
    return found


def by_examples(name: str, rows: list[list[Any]], feature: Any) -> Any:
    """The column as `tf.io.parse_example` gives it."""
    import tensorflow as tf

    serialized = []
    for row in rows:
        example = tf.train.Example()
        made = example.features.feature[name]
        for kind, field in (("text", "bytes_list"), ("count", "int64_list"), ("score", "float_list")):
            if kind in name:
                getattr(made, field).value.extend(row)
        serialized.append(example.SerializeToString())
    return tf.io.parse_example(serialized, {name: feature})[name]


def assert_alike(column: Any, feature: Any, is_list: bool, name: str, rows: list[list[Any]]) -> None:
    import tensorflow as tf

    spec, tensor = column_spec(feature, name), tf.constant(column, feature.dtype)
    assert spec.shape.is_compatible_with(tensor.shape)
    assert (spec.dtype, spec.name) == (feature.dtype, name)
    ours, theirs = _parsed(tensor, feature, is_list), by_examples(name, rows, feature)
    assert type(ours) is type(theirs)
    if isinstance(ours, tf.SparseTensor):
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.dense_shape, theirs.dense_shape)
        ours, theirs = ours.values, theirs.values
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("kind", "values"), [("text", TEXTS), ("count", COUNTS), ("score", SCORES)])
def test_a_required_value_is_one_a_row_the_empty_text_and_zero_included(
    kind: str, values: st.SearchStrategy[Any], schema: Any, spec: dict[str, Any]
) -> None:
    @settings(deadline=None, max_examples=30)
    @given(st.lists(values, min_size=1, max_size=5))
    def holds(column: list[Any]) -> None:
        assert_alike(column, spec[kind], kind in multi_valued(schema), kind, [[value] for value in column])

    holds()


@pytest.mark.parametrize(("kind", "values"), [("count", COUNTS), ("score", SCORES)])
def test_an_optional_number_that_is_padding_is_missing(
    kind: str, values: st.SearchStrategy[Any], schema: Any, spec: dict[str, Any]
) -> None:
    name = f"maybe_{kind}"

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.one_of(st.none(), values), min_size=1, max_size=5))
    def holds(column: list[Any]) -> None:
        sent = [[PADDING[kind] if value is None else value] for value in column]
        rows = [[] if value is None else [value] for value in column]
        assert_alike(sent, spec[name], name in multi_valued(schema), name, rows)

    holds()


def test_an_optional_empty_text_is_a_text_and_is_missing_only_for_all_rows(schema: Any, spec: dict[str, Any]) -> None:
    assert "maybe_text" not in multi_valued(schema)
    assert_alike([[b""], [b"a"]], spec["maybe_text"], False, "maybe_text", [[b""], [b"a"]])
    assert_alike(np.empty((2, 0), "S1"), spec["maybe_text"], False, "maybe_text", [[], []])


@pytest.mark.parametrize(("kind", "values"), [("text", TEXTS.filter(bool)), ("count", COUNTS), ("score", SCORES)])
def test_a_list_is_padded_to_the_longest_of_its_batch(
    kind: str, values: st.SearchStrategy[Any], schema: Any, spec: dict[str, Any]
) -> None:
    name = f"{kind}s"

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.lists(values, max_size=4), min_size=1, max_size=5), st.integers(0, 2))
    def holds(rows: list[list[Any]], more: int) -> None:
        width = max(map(len, rows)) + more  # padding beyond the longest changes nothing
        sent = np.full((len(rows), width), PADDING[kind], DTYPES[kind])
        for place, row in enumerate(rows):
            sent[place, : len(row)] = row
        assert_alike(sent, spec[name], name in multi_valued(schema), name, rows)

    holds()


def test_lists_are_those_that_may_hold_more_than_one_value(schema: Any) -> None:
    assert multi_valued(schema) == {"texts", "counts", "scores"}


def test_what_is_outside_serving_is_not_sent(schema: Any) -> None:
    assert serving_features(schema) == {one.name for one in schema.feature} - {"answer"}


class Transform:
    """As much of a TFTransformOutput as `export` needs before it looks at the label."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec

    def raw_feature_spec(self) -> dict[str, Any]:
        return self._spec

    def transform_features_layer(self) -> None:
        return None


def test_a_label_that_the_schema_lets_be_served_is_refused(
    schema_path: Path, spec: dict[str, Any], tmp_path: Path
) -> None:
    class Model:
        inputs: tuple[Any, ...] = ()

    with pytest.raises(ValueError, match="lets the label 'count' be served: give it `not_in_environment: \"SERVING\"`"):
        export(Model(), Transform(spec), str(schema_path), "count", str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_the_small_tasks_schema_keeps_its_label_out_of_serving(tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(small_task.SCHEMA)
    assert small_task.LABEL not in serving_features(read_schema(str(tmp_path / "schema.pbtxt")))
