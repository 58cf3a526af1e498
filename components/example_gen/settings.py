"""What the ingest executor must know beyond the stock ExampleGen's properties, carried in its `custom_config`."""

from dataclasses import dataclass

from google.protobuf import json_format, struct_pb2, text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.proto import example_gen_pb2

__all__ = ["IngestSettings", "typing_of"]


@dataclass(frozen=True)
class IngestSettings:
    """How a span is read.

    Attributes:
        typing: pbtxt of a schema; only names, types and shapes of features matter (see `typing_of`).
        in_memory_mib: spans whose files add up to at most this many MiB are ingested on columns, larger ones in Beam.
    """

    typing: str
    in_memory_mib: int

    def custom_config(self) -> example_gen_pb2.CustomConfig:
        """As ExampleGen carries it."""
        fields = struct_pb2.Struct()
        fields.update({"typing": self.typing, "in_memory_mib": self.in_memory_mib})
        config = example_gen_pb2.CustomConfig()
        config.custom_config.Pack(fields)
        return config

    @classmethod
    def from_json(cls, custom_config_json: str) -> "IngestSettings":
        """From the `custom_config` property that an executor is given."""
        config = json_format.Parse(custom_config_json, example_gen_pb2.CustomConfig())
        packed = struct_pb2.Struct()
        if not config.custom_config.Unpack(packed):
            raise ValueError(f"custom_config of the ingest node holds no settings of it: {custom_config_json!r}")
        fields = json_format.MessageToDict(packed)
        return cls(typing=fields["typing"], in_memory_mib=int(fields["in_memory_mib"]))

    @property
    def schema(self) -> schema_pb2.Schema:
        """The typing, parsed."""
        return text_format.Parse(self.typing, schema_pb2.Schema())


def typing_of(schema_text: str) -> str:
    """The part of a curated schema (pbtxt) that reading records depends on, as pbtxt.

    Names, types, shapes, value counts, whether a column is required, environments and retirement. The ingest node is
    cached by its properties; a new domain or drift threshold must not read every span again.
    """
    schema = text_format.Parse(schema_text, schema_pb2.Schema())
    typing = schema_pb2.Schema(default_environment=schema.default_environment)
    for feature in schema.feature:
        kept = typing.feature.add(name=feature.name, type=feature.type)
        kept.in_environment.extend(feature.in_environment)
        kept.not_in_environment.extend(feature.not_in_environment)
        for field in ("shape", "value_count", "value_counts"):
            if feature.HasField(field):
                getattr(kept, field).CopyFrom(getattr(feature, field))
        if feature.HasField("lifecycle_stage"):
            kept.lifecycle_stage = feature.lifecycle_stage
        if feature.presence.min_count > 0 or feature.presence.min_fraction > 0:
            kept.presence.min_count = 1
    return text_format.MessageToString(typing)
