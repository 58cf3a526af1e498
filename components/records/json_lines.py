"""JSON lines as typed batches; {"b64": "..."} is bytes that JSON text cannot hold."""

import base64
import binascii
import io
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from components.records.columns import Column, check_names
from components.records.typed import Place, first_bad, typed_batch
from serving.errors import InputError

_BLOCK_BYTES = 16 << 20
_SHOWN_CHARACTERS = 60
# In JSON, a quotation mark inside a string is escaped: this matches objects only, never text that looks like one.
# What comes before keeps a record whose only column is called b64 out of it; some writers escape each slash.
_B64 = re.compile(rb'([:,\[]\s*)\{\s*"b64"\s*:\s*"((?:[^"\\]|\\/)*)"\s*\}')
_JSON_TYPES = {"BYTES": pa.string(), "INT": pa.int64(), "FLOAT": pa.float64()}


def read_json_lines(file: Path, columns: tuple[Column, ...], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The file's records. Raises InputError where it is not JSON lines, or does not fit the columns."""
    before = 0
    present: set[str] = set()
    try:
        for block in _blocks(file):
            token = _unused_token(block)
            table = _parse(_B64.sub(rb'\1"' + token + rb'\2"', block), columns, Place(file, before))
            for start in range(0, table.num_rows, batch_rows):
                part = table.slice(start, batch_rows)
                place = Place(file, before + start)
                arrays = {name: _decoded(_one(part[name]), token, name, place) for name in part.column_names}
                yield typed_batch(arrays, part.num_rows, columns, place)
            before += table.num_rows
            present |= _present(block, table)
    except OSError as error:
        raise InputError(f"{file}: expected JSON lines; reading it failed: {error}. Was it cut short?") from error
    if before:
        # A key that a record leaves out is a missing value; only at the end is it sure that no record has it.
        check_names([column.name for column in columns if column.name in present], columns, file)


def _blocks(file: Path) -> Iterator[bytes]:
    """Whole lines, about 16 MiB at a time; more where a line is longer."""
    rest = b""
    with pa.input_stream(str(file), compression="detect") as stream:
        while block := stream.read(_BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
    if rest.strip():
        yield rest


def _unused_token(block: bytes) -> bytes:
    if not _B64.search(block):
        return b""
    # Random, so that no text, escaped or not, can be mistaken for encoded bytes.
    return secrets.token_hex(16).encode()


def _parse(block: bytes, columns: tuple[Column, ...], place: Place) -> pa.Table:
    schema = pa.schema([(column.name, _json_type(column)) for column in columns])
    if not block.strip():
        return schema.empty_table()
    try:
        return _read(block, schema)
    except pa.ArrowInvalid as error:
        raise _refusal(error, block, schema, columns, place) from error


def _json_type(column: Column) -> pa.DataType:
    value = _JSON_TYPES[column.kind]
    return pa.list_(value) if column.several else value


def _read(block: bytes, schema: pa.Schema) -> pa.Table:
    return pyarrow.json.read_json(
        io.BytesIO(block),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )


def _present(block: bytes, table: pa.Table) -> set[str]:
    """A column is there when some record has its key, even with a null."""
    names = table.column_names
    return {name for name in names if table[name].null_count < table.num_rows or json.dumps(name).encode() in block}


def _refusal(
    error: pa.ArrowInvalid, block: bytes, schema: pa.Schema, columns: tuple[Column, ...], place: Place
) -> InputError:
    """Finds the first line that is wrong, and reads it alone to say what is."""
    lines = [line for line in block.splitlines() if line.strip()]

    def works(start: int, stop: int) -> bool:
        try:
            _read(b"\n".join(lines[start:stop]), schema)
        except pa.ArrowInvalid:
            return False
        return True

    bad = first_bad(len(lines), works)
    where = place.record(bad)
    said = re.sub(r"^JSON parse error: | in row \d+$", "", str(error).strip()).rstrip(".")
    try:
        record = json.loads(lines[bad].decode("utf-8-sig", "replace"))
    except ValueError as wrong:
        return InputError(f"{where}: expected one JSON object a line; {wrong}. Was the file cut short?")
    if not isinstance(record, dict):
        return InputError(f"{where}: expected one JSON object a line; got {_shown(record)}.")
    try:
        check_names(list(record), [replace(column, required=False) for column in columns], place.file)
    except InputError as named:
        return named
    for column in columns:
        if not _fits(record.get(column.name), column):
            return InputError(
                f"{where}: column {column.name!r} expected {_expected(column)}; got {_shown(record[column.name])}. "
                "Correct the record."
            )
    return InputError(f"{where}: expected one JSON object of the schema's columns; {said}.")


def _fits(value: object, column: Column) -> bool:
    if value is None:
        return True
    if column.several:
        return isinstance(value, list) and all(_fits_one(one, column) for one in value)
    return _fits_one(value, column)


def _fits_one(value: object, column: Column) -> bool:
    if column.kind == "BYTES" or value is None:
        return value is None or isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return column.kind == "FLOAT" or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _expected(column: Column) -> str:
    return f"a list of {column.kind} values" if column.several else f"one {column.kind} value"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _one(array: pa.ChunkedArray) -> pa.Array:
    return array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)


def _decoded(array: pa.Array, token: bytes, name: str, place: Place) -> pa.Array:
    """The column with its encoded cells as bytes."""
    if not token or not (pa.types.is_string(array.type) or pa.types.is_list(array.type)):
        return array
    if pa.types.is_list(array.type):
        if not pa.types.is_string(array.type.value_type):
            return array
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        rows = np.repeat(np.arange(len(array)), lengths)
        values = _decoded_cells(array.flatten(), token, name, place, rows)
        return pa.ListArray.from_arrays(offsets, values, mask=array.is_null())
    return _decoded_cells(array, token, name, place, np.arange(len(array)))


def _decoded_cells(cells: pa.Array, token: bytes, name: str, place: Place, rows: "np.ndarray") -> pa.Array:
    raw = cells.cast(pa.binary())
    encoded = pc.fill_null(pc.starts_with(raw, token), False)
    where = pc.indices_nonzero(encoded).to_numpy()
    decoded = []
    for index, text in zip(where, raw.filter(encoded).to_pylist(), strict=True):
        try:
            decoded.append(base64.b64decode(text[len(token) :], validate=True))
        except binascii.Error as error:
            raise InputError(
                f'{place.record(int(rows[index]))}: column {name!r} expected {{"b64": "..."}} with standard base64; '
                f"it cannot be decoded: {error}."
            ) from error
    return pc.replace_with_mask(raw, encoded, pa.array(decoded, pa.binary()))
