"""Which records are in which slice, by TFMA's rules (slice_accessor.SliceAccessor, SingleSliceSpec.generate_slices).

A value is looked up in the transformed features first, in those of every model together, and in the raw features only
where no model has it. A record is in a slice of each of its different values, and of none where it has no value.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.errors import InputError

__all__ = ["SliceKey", "feature_values", "slice_rows"]

Value = int | float | str
SliceKey = tuple[tuple[str, Value], ...]  # sorted by feature; () is the overall slice
ROW = "row"


def feature_values(
    feature: str, transformed: Iterable[Mapping[str, NDArray[Any]]], raw: pa.RecordBatch, first_row: int
) -> pa.Table | None:
    """The pairs of row and value that one batch of n records has in a feature; None where it has no such feature.

    Args:
        feature: its name.
        transformed: each model's transformed features, [n, ...].
        raw: n records, one list column a feature.
        first_row: number of the batch's first record.
    """
    found = [features[feature] for features in transformed if feature in features]
    if found:
        values = np.concatenate([values.reshape(len(values), -1) for values in found], axis=1)
        rows = np.repeat(np.arange(len(values)), values.shape[1])
        column = pa.array(values.ravel())
    elif feature in raw.schema.names and not pa.types.is_null(raw.schema.field(feature).type):
        rows, column = pc.list_parent_indices(raw[feature]), pc.list_flatten(raw[feature])
    else:
        return None
    return pa.table({ROW: pc.add(pa.array(rows, pa.int64()), first_row), feature_column(0): column})


def slice_rows(
    specs: Iterable[tuple[str, ...]], values: Mapping[str, pa.Table], rows: int
) -> dict[SliceKey, NDArray[np.int64]]:
    """The records of every slice that has any, in ascending order; slices in the order of their keys.

    Args:
        specs: names of the features that are crossed; () is the overall slice, a record of it is every record.
        values: of each feature that any record has, from `feature_values`.
        rows: number of records.

    Raises:
        InputError: a text is not UTF-8.
    """
    found: dict[SliceKey, NDArray[np.int64]] = {}
    for spec in specs:
        if not spec and rows:
            found[()] = np.arange(rows)
        elif spec and all(feature in values for feature in spec):
            found |= _crossed([values[feature] for feature in spec], spec)
    return dict(sorted(found.items(), key=lambda item: [(name, str(value)) for name, value in item[0]]))


def feature_column(position: int) -> str:
    return f"feature-{position}"


def _crossed(tables: list[pa.Table], spec: tuple[str, ...]) -> dict[SliceKey, NDArray[np.int64]]:
    crossed = tables[0]
    for position, table in enumerate(tables[1:], start=1):
        named = table.rename_columns([ROW, feature_column(position)])
        crossed = crossed.join(named, keys=ROW, join_type="inner", use_threads=False)
    columns = [feature_column(position) for position in range(len(spec))]
    # Twice: a value that a record has more than once counts once.
    different = crossed.group_by([ROW, *columns], use_threads=False).aggregate([])
    groups = different.group_by(columns, use_threads=False).aggregate([(ROW, "list")])
    keys = zip(
        *(_texts(groups[column].to_pylist(), name) for column, name in zip(columns, spec, strict=True)), strict=True
    )
    lists = groups[f"{ROW}_list"].combine_chunks()
    return {
        tuple(sorted(zip(spec, key, strict=True))): np.sort(lists[index].values.to_numpy())
        for index, key in enumerate(keys)
    }


def _texts(values: list[Any], feature: str) -> list[Value]:
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise InputError(
            f"feature {feature!r}: expected UTF-8 texts to slice by, found {error.object!r}. "
            "Slice by another feature, or clean this one in the transform."
        ) from error
