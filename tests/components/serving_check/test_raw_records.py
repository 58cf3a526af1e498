"""Raw records out of an Examples artifact: as columns, with nothing lost and nothing padded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.serving_check.raw_records import RecordsError, columns, read
from tests.serving import small_model


def by_row(groups: Any) -> dict[int, dict[str, list[Any]]]:
    """Row -> feature -> its values."""
    return {
        int(row): {name: column[place].tolist() for name, column in group.columns.items()}
        for group in groups
        for place, row in enumerate(group.rows)
    }


def test_every_record_keeps_its_own_values_in_some_group() -> None:
    import tensorflow as tf

    serialized = small_model.examples(60)
    rows = by_row(columns(serialized, small_model.schema()))
    assert sorted(rows) == list(range(60))
    for row, values in rows.items():
        feature = tf.train.Example.FromString(serialized[row]).features.feature
        assert values["age"] == list(feature["age"].int64_list.value)
        assert values["job"] == list(feature["job"].bytes_list.value)
        assert values["genres"] == list(feature["genres"].bytes_list.value)
        assert values["weight"] == pytest.approx(list(feature["weight"].float_list.value), abs=0)


def test_the_label_is_no_column() -> None:
    (group, *_) = columns(small_model.examples(3), small_model.schema())
    assert sorted(group.columns) == ["age", "genres", "job", "weight"]


def test_zero_the_empty_text_and_a_missing_value_stay_three_things() -> None:
    rows = by_row(columns(small_model.examples(60), small_model.schema()))
    assert any(values["age"] == [0] for values in rows.values())
    assert any(values["job"] == [b""] for values in rows.values())
    assert any(b"" in values["genres"] for values in rows.values())
    assert {len(values["weight"]) for values in rows.values()} == {0, 1}


def test_at_most_the_first_records_of_a_split_are_read(tmp_path: Path) -> None:
    folder = small_model.write_examples(tmp_path / "examples", rows=30)
    records = read(str(folder / "Split-eval"), small_model.schema(), limit=20)
    assert records.serialized.tolist() == small_model.examples(30).tolist()[:20]
    assert sum(len(group.rows) for group in records.groups) == 20
    assert len(records.largest_group.rows) == max(len(group.rows) for group in records.groups)


def test_a_split_without_records_is_told_apart_from_a_bad_one(tmp_path: Path) -> None:
    empty = small_model.write_examples(tmp_path / "examples", rows=0)
    with pytest.raises(RecordsError, match="hold no records"):
        read(str(empty / "Split-eval"), small_model.schema(), limit=5)
    with pytest.raises(RecordsError, match="no records in"):
        read(str(empty / "Split-nothing"), small_model.schema(), limit=5)


def test_a_record_that_breaks_the_schema_is_named() -> None:
    schema = small_model.schema()
    schema.feature[0].type = 1  # BYTES, where the records hold integers
    with pytest.raises(RecordsError, match=r"(?s)do not fit the schema.*age"):
        columns(small_model.examples(3), schema)
    with pytest.raises(RecordsError, match="do not fit the schema"):
        columns(np.array([b"no example"], object), small_model.schema())
