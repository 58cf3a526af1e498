"""Spans of the small task as Parquet."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.pipeline import small_task

ROWS = 1500
TYPES = {"user": pa.binary(), "age": pa.int64(), "price": pa.float32(), "tags": pa.list_(pa.binary()),
         "liked": pa.int64()}  # fmt: skip


def table(seed: int, rows: int = ROWS) -> pa.Table:
    """Made-up records, as a user's own program would write them."""
    columns = small_task.rows(rows, seed)
    plain = {name: lists if name == "tags" else [one and one[0] for one in lists] for name, lists in columns.items()}
    return pa.table({name: pa.array(plain[name], kind) for name, kind in TYPES.items()})


def with_column(records: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The records with other values in a column, or with one more column."""
    at = records.column_names.index(name) if name in records.column_names else None
    return records.append_column(name, values) if at is None else records.set_column(at, name, values)


def new_users(records: pa.Table) -> pa.Table:
    """The same records of users that no other table has."""
    names = [b"new " + user.as_py() for user in records["user"]]
    return with_column(records, "user", pa.array(names, pa.binary()))


def write(root: Path, number: int, records: pa.Table) -> Path:
    """`span-<number>/` below `root`, replaced where it was; returns its only file."""
    file = root / f"span-{number}" / "records.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(records, file)
    return file
