"""What a new span would change in the curated schema, and what each change touches. Knows TFDV, not TFX."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

__all__ = ["SchemaChange", "SchemaDiff", "schema_diff"]

CONTEXT_LINES = 6


@dataclass(frozen=True)
class SchemaChange:
    """One feature whose entry would change.

    Attributes:
        feature: the raw feature.
        what: `added`, `removed` or `changed`.
        transformed: transformed features made from it.
        models: models that learn from this schema, where the feature reaches one.
        gates: gates that slice by it.
    """

    feature: str
    what: str
    transformed: tuple[str, ...]
    models: tuple[str, ...]
    gates: tuple[str, ...]


@dataclass(frozen=True)
class SchemaDiff:
    """A proposal for a reviewer.

    Attributes:
        text: unified diff of the pbtxt, in canonical form (no comments); empty where nothing changes.
        changes: one entry a changed feature, in the proposed schema's order.
        proposed: pbtxt of the whole proposed schema.
    """

    text: str
    changes: tuple[SchemaChange, ...]
    proposed: str


def schema_diff(
    schema_text: str,
    statistics: Sequence[statistics_pb2.DatasetFeatureStatisticsList],
    *,
    name: str = "schema.pbtxt",
    transformed: Mapping[str, Sequence[str]] | None = None,
    models: Sequence[str] = (),
    gates: Mapping[str, Sequence[str]] | None = None,
) -> SchemaDiff:
    """The curated schema against the one that would accept a new span, as TFDV proposes it.

    Args:
        schema_text: pbtxt of the curated schema.
        statistics: of the new span, one entry a split; splits without records change nothing.
        name: of the schema's file, for the head of the diff.
        transformed: raw feature -> names of the transformed features made from it.
        models: names of the models that learn from this schema.
        gates: raw feature -> names of the gates that slice by it.
    """
    curated = text_format.Parse(schema_text, schema_pb2.Schema())
    proposed = schema_pb2.Schema()
    proposed.CopyFrom(curated)
    for split in statistics:
        if split.datasets and split.datasets[0].num_examples:
            proposed = tfdv.update_schema(proposed, split)
    before, after = text_format.MessageToString(curated), text_format.MessageToString(proposed)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} (curated)", f"{name} (proposed)", n=CONTEXT_LINES, lineterm=""
    )
    changes = tuple(
        SchemaChange(
            feature,
            what,
            tuple((transformed or {}).get(feature, ())),
            tuple(models) if (transformed or {}).get(feature) else (),
            tuple((gates or {}).get(feature, ())),
        )
        for feature, what in _changed(curated, proposed)
    )
    return SchemaDiff("\n".join(lines), changes, after)


def _changed(curated: schema_pb2.Schema, proposed: schema_pb2.Schema) -> list[tuple[str, str]]:
    """(feature, what) of each feature whose entry, or whose shared string domain, differs."""
    before, after = _entries(curated), _entries(proposed)
    names = [*after, *(name for name in before if name not in after)]
    what = {name: _what(before.get(name), after.get(name)) for name in names}
    return [(name, word) for name, word in what.items() if word]


def _what(before: bytes | None, after: bytes | None) -> str:
    if before == after:
        return ""
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _entries(schema: schema_pb2.Schema) -> dict[str, bytes]:
    domains = {domain.name: domain.SerializeToString(deterministic=True) for domain in schema.string_domain}
    return {
        feature.name: feature.SerializeToString(deterministic=True) + domains.get(feature.domain, b"")
        for feature in schema.feature
    }
