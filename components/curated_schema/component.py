"""The curated schema as a Schema artifact, cached by its text."""

import posixpath

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts

__all__ = ["SCHEMA_FILE", "CuratedSchema"]

SCHEMA_FILE = "schema.pbtxt"


@component
def CuratedSchema(  # noqa: N802 - TFX names the node after the function
    schema: OutputArtifact[standard_artifacts.Schema],
    text: Parameter[str],
) -> None:
    """Write `text`, the pbtxt of a schema, as the file `schema.pbtxt` of a Schema artifact.

    The text is the cache key; ImportSchemaGen's is the path, which serves an old schema after the file has changed.
    """
    with fileio.open(posixpath.join(schema.uri, SCHEMA_FILE), "w") as file:
        file.write(text)
