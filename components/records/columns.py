"""What the curated schema says of each column: its type, whether files must have it, whether values come in lists."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from serving.errors import InputError

_TYPES = {
    schema_pb2.BYTES: ("BYTES", pa.binary()),
    schema_pb2.INT: ("INT", pa.int64()),
    schema_pb2.FLOAT: ("FLOAT", pa.float32()),
}


@dataclass(frozen=True)
class Column:
    """One feature of the schema, as a column.

    Attributes:
        name: of the feature and of the column.
        kind: "BYTES", "INT" or "FLOAT".
        value_type: Arrow's binary, int64 or float32.
        required: whether every file must have the column; its values may still be missing.
        several: whether a record may hold more than one value, so that text files write a list.
    """

    name: str
    kind: str
    value_type: pa.DataType
    required: bool
    several: bool

    @property
    def list_type(self) -> pa.DataType:
        """The type of the column that readers yield."""
        return pa.list_(self.value_type)


def columns_of(schema: schema_pb2.Schema, environment: str = "TRAINING") -> tuple[Column, ...]:
    """The schema's features in its order, without deprecated ones.

    A column is required when its presence has a positive min_count or min_fraction and it belongs to `environment`.

    Raises:
        InputError: a feature without a type, or of a nested type.
    """
    return tuple(_column(schema, feature, environment) for feature in schema.feature if not _retired(feature))


def required_features(schema: schema_pb2.Schema, environment: str = "TRAINING") -> frozenset[str]:
    """Names of the columns that every record file must have."""
    return frozenset(column.name for column in columns_of(schema, environment) if column.required)


def check_names(names: Collection[str], columns: Iterable[Column], file: Path) -> None:
    """Refuses a file that lacks a required column, has one twice, or has one that the schema does not know.

    Raises:
        InputError: naming file, column, and the nearest known names.
    """
    known = {column.name: column for column in columns}
    for name in _repeated(names):
        raise InputError(f"{file}: column {name!r} is there more than once; keep one of them.")
    for name in names:
        if name not in known:
            near = _nearest(name, set(known) - set(names))
            hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
            raise InputError(
                f"{file}: column {name!r} is not in the schema{hint}: rename it, remove it from the file, or add it to "
                f"the schema after review. The schema knows: {', '.join(known)}."
            )
    missing = [column for column in known.values() if column.required and column.name not in names]
    if missing:
        expected = ", ".join(f"{column.name!r} ({column.kind})" for column in missing)
        raise InputError(
            f"{file}: the schema requires column {expected}; the file has {', '.join(names) or 'no columns'}. "
            "Add it to the file, or make it optional in the schema."
        )


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    by_lower = {other.lower(): other for other in sorted(known)}
    return [by_lower[lower] for lower in get_close_matches(name.lower(), by_lower, n=2, cutoff=0.5)]


def _repeated(names: Collection[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)


def _column(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> Column:
    if feature.type not in _TYPES:
        got = schema_pb2.FeatureType.Name(feature.type)
        raise InputError(f"schema: feature {feature.name!r} is of type {got}; expected BYTES, INT or FLOAT.")
    kind, value_type = _TYPES[feature.type]
    must = feature.presence.min_count > 0 or feature.presence.min_fraction > 0
    return Column(feature.name, kind, value_type, must and _belongs(schema, feature, environment), _several(feature))


def _several(feature: schema_pb2.Feature) -> bool:
    if feature.HasField("value_count"):
        return int(feature.value_count.max) != 1
    size = 1
    for dimension in feature.shape.dim:
        size *= dimension.size
    return size != 1


def _belongs(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    if environment in feature.not_in_environment:
        return False
    # A schema without environments is for all of them.
    everywhere = environment in schema.default_environment or not schema.default_environment
    return everywhere or environment in feature.in_environment


def _retired(feature: schema_pb2.Feature) -> bool:
    return bool(feature.lifecycle_stage == schema_pb2.DEPRECATED)
