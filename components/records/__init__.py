"""A user's record files as Arrow, typed by the curated schema."""

from components.records.columns import Column, columns_of, required_features
from components.records.newcomers import with_newcomers
from components.records.span import BATCH_ROWS, read_span

__all__ = ["BATCH_ROWS", "Column", "columns_of", "read_span", "required_features", "with_newcomers"]
