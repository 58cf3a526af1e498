"""Turns one column, as a file holds it, into list<binary | int64 | float32>, or says which record does not fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.records.columns import Column
from serving.errors import InputError

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Place:
    """Where a batch lies: the file, and the number of records of it that came before (0 for the first batch)."""

    file: Path
    before: int = 0

    def record(self, row: int) -> str:
        """How an error message names the record in row `row` of the batch; records count from 1."""
        return f"{self.file}, record {self.before + row + 1}"


def typed_batch(
    arrays: Mapping[str, pa.Array], rows: int, columns: tuple[Column, ...], place: Place, text: bool = False
) -> pa.RecordBatch:
    """The schema's columns in the schema's order, each list<value_type>; a column that the file lacks is all missing.

    Args:
        arrays: column name -> Arrow array of `rows` values or lists of values.
        text: numbers are written as text (CSV).

    Raises:
        InputError: a value does not fit; it names file, column, record, expected type and value.
    """
    typed = [
        _typed(arrays[column.name], column, place, text) if column.name in arrays else pa.nulls(rows, column.list_type)
        for column in columns
    ]
    return pa.RecordBatch.from_arrays(typed, [column.name for column in columns])


def _typed(array: pa.Array, column: Column, place: Place, text: bool) -> pa.Array:
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), column.list_type)
    if _is_list(array.type):
        lengths, values = pc.list_value_length(array), array.flatten()
    else:
        lengths, values = array.is_valid().cast(pa.int64()), array.drop_null()
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    if values.null_count:
        row = _row_of(ends, pc.index(values.is_null(), True).as_py())
        raise InputError(
            f"{place.record(row)}: column {column.name!r} has a list with a null inside; expected {column.kind} values."
            " A record's list may be missing or empty, a value in it may not."
        )
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    converted = _converted(values, ends, column, place, text)
    return pa.ListArray.from_arrays(offsets, converted, mask=array.is_null())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _converted(values: pa.Array, ends: "np.ndarray", column: Column, place: Place, text: bool) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not _fits(values.type, column, text):
        if len(values) == 0:
            return pa.array([], column.value_type)
        raise _wrong_value(place.record(_row_of(ends, 0)), column, values[0], f"the column is of type {values.type}")
    try:
        return _cast(values, column, text)
    except pa.ArrowInvalid:
        bad = first_bad(len(values), lambda start, stop: _casts(values[start:stop], column, text))
        raise _wrong_value(place.record(_row_of(ends, bad)), column, values[bad]) from None


def _fits(kind: pa.DataType, column: Column, text: bool) -> bool:
    if column.kind == "BYTES" or text:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind)
                    or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))  # fmt: skip
    return bool(pa.types.is_integer(kind) or (column.kind == "FLOAT" and pa.types.is_floating(kind)))


def _cast(values: pa.Array, column: Column, text: bool) -> pa.Array:
    if text and column.kind != "BYTES":
        values = values.cast(pa.string())
    # Checked: no integer overflows or loses digits. A double is rounded to the nearest float32, as tf.Example holds.
    return values.cast(column.value_type)


def _casts(values: pa.Array, column: Column, text: bool) -> bool:
    try:
        _cast(values, column, text)
    except pa.ArrowInvalid:
        return False
    return True


def first_bad(count: int, works: Callable[[int, int], bool]) -> int:
    """The smallest i in 0..count-1 for which `works(i, i + 1)` is False, given that `works(0, count)` is."""
    start, stop = 0, count
    while stop - start > 1:
        middle = (start + stop) // 2
        if works(start, middle):
            start = middle
        else:
            stop = middle
    return start


def _row_of(ends: "np.ndarray", value: int) -> int:
    return int(np.searchsorted(ends, value, side="right"))


def _wrong_value(where: str, column: Column, value: pa.Scalar, why: str = "") -> InputError:
    shown = _shown(value)
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."
    return InputError(
        f"{where}: column {column.name!r} expected {_EXPECTED[column.kind]}; got {shown}{f' ({why})' if why else ''}. "
        "Correct the value, or write the column with that type."
    )


def _shown(value: pa.Scalar) -> str:
    if not hasattr(value, "as_buffer"):
        return repr(value.as_py())
    raw = value.as_buffer().to_pybytes()
    try:
        return repr(raw.decode())
    except UnicodeDecodeError:
        return repr(raw)


_EXPECTED = {
    "BYTES": "BYTES (text or bytes)",
    "INT": "INT (a whole number of 64 bits)",
    "FLOAT": "FLOAT (a number; a whole one of up to 24 bits, or it would lose digits)",
}
