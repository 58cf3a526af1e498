"""Writes one span's records as Parquet: the same table gives the same bytes, and a span appears whole or not at all."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS = "records.parquet"
_LEFT_OVER = ".span-*.partial"


def write_span(root: Path, number: int, table: "pa.Table") -> Path:
    """Writes `<root>/span-<number>/records.parquet`, replacing the one that is there; returns its path.

    A crash at any point leaves the old file, the new one, or a hidden left-over that `clear_left_overs` removes.
    One writer at a time a root.
    """
    import pyarrow.parquet as pq

    partial = root / f".span-{number}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # Every option that shapes the bytes is named, so that a new default of pyarrow does not change them.
    pq.write_table(
        table.replace_schema_metadata(None).combine_chunks(),
        partial / RECORDS,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        row_group_size=65_536,
        data_page_size=1 << 20,
        store_schema=True,
    )
    _sync(partial / RECORDS)
    _sync(partial)
    span = root / f"span-{number}"
    if span.is_dir():
        (partial / RECORDS).replace(span / RECORDS)
        partial.rmdir()
        _sync(span)
    else:
        partial.replace(span)
    _sync(root)
    return span / RECORDS


def clear_left_overs(root: Path) -> None:
    """Removes what a killed `write_span` left below `root`."""
    for partial in root.glob(_LEFT_OVER):
        shutil.rmtree(partial)


def write_text(path: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
