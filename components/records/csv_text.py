"""CSV files (RFC 4180, with a header line) as typed batches."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from components.records.columns import Column, check_names
from components.records.typed import Place, typed_batch
from serving.errors import InputError

SEPARATOR = "|"
_BLOCK_BYTES = 16 << 20


def read_csv(file: Path, columns: tuple[Column, ...], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The file's records. Raises InputError where it is not CSV, or does not fit the columns."""
    try:
        _check_quotes(file)
        names = _header(file)
        check_names(names, columns, file)
        before = 0
        # Everything is read as bytes, and typed afterwards in one place for all formats.
        with _open(file, {name: pa.binary() for name in names}, one_column=len(names) == 1) as reader:
            for block in reader:
                for start in range(0, block.num_rows, batch_rows):
                    part = block.slice(start, batch_rows)
                    arrays = {column.name: _split(part, column) for column in columns if column.name in names}
                    yield typed_batch(arrays, part.num_rows, columns, Place(file, before), text=True)
                    before += part.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: expected CSV with a header line (RFC 4180); {_reason(error)}.") from error


def _header(file: Path) -> list[str]:
    with _open(file, {}, one_column=False) as reader:
        return list(reader.schema.names)


def _open(file: Path, types: dict[str, pa.DataType], one_column: bool) -> pyarrow.csv.CSVStreamingReader:
    return pyarrow.csv.open_csv(
        pa.input_stream(str(file), compression="detect"),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        # An empty line is a missing value where there is one column, and no record elsewhere.
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=not one_column),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _split(batch: pa.RecordBatch, column: Column) -> pa.Array:
    array = batch.column(column.name)
    if not column.several:
        return array
    parts = pc.split_pattern(array, SEPARATOR)
    # Splitting '' gives one empty text; here it says: no values.
    empty = pc.fill_null(pc.equal(pc.binary_length(array), 0), False)
    none = pa.array([[]], parts.type)
    return pc.if_else(empty, none[0], parts)


def _check_quotes(file: Path) -> None:
    """A quotation mark left open would swallow the records after it without a word."""
    marks = 0
    with pa.input_stream(str(file), compression="detect") as stream:
        while block := stream.read(_BLOCK_BYTES):
            marks += block.count(b'"')
    if marks % 2:
        raise InputError(
            f"{file}: expected every quotation mark to be closed, and doubled inside a quoted field (RFC 4180); the "
            f"file has an odd number of them ({marks}). Was it cut short? Otherwise quote fields that hold one."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the header line is not UTF-8"
    # pyarrow's rows count the header line as 1, as editors and spreadsheets do.
    return re.sub(r"^CSV parse error: ", "", str(error)).strip().rstrip(".")
