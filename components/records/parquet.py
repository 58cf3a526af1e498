"""Parquet files as typed batches."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.records.columns import Column, check_names
from components.records.typed import Place, typed_batch
from serving.errors import InputError

# Arrow's binary columns end at 2 GiB a batch; this keeps a batch of pictures far below.
_BATCH_BYTES = 256 << 20


def read_parquet(file: Path, columns: tuple[Column, ...], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The file's records. Raises InputError where it is not whole, not Parquet, or does not fit the columns."""
    try:
        with pq.ParquetFile(file) as opened:
            check_names(opened.schema_arrow.names, columns, file)
            before = 0
            for batch in opened.iter_batches(_rows(opened.metadata, batch_rows)):
                arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield typed_batch(arrays, batch.num_rows, columns, Place(file, before))
                before += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file}: expected a whole Parquet file; reading it failed: {str(error).strip()}. Was it cut short while "
            "being copied? Write it again."
        ) from error


def _rows(metadata: pq.FileMetaData, most: int) -> int:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    size = sum(int(group.total_byte_size) for group in groups)
    return max(1, min(most, _BATCH_BYTES * max(1, int(metadata.num_rows)) // max(1, size)))
