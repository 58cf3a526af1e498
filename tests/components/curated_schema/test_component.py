from pathlib import Path

import ml_metadata as mlmd
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.curated_schema.component import SCHEMA_FILE, CuratedSchema

FIRST, SECOND = 'feature { name: "a" type: INT }', 'feature { name: "b" type: INT }'


def _run(folder: Path, text: str) -> list[str]:
    """Run the one node; the schemas that exist afterwards, oldest first."""
    config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    pipeline = Pipeline(
        "schema",
        str(folder / "artifacts"),
        components=[CuratedSchema(text=text)],
        enable_cache=True,
        metadata_connection_config=config,
    )
    LocalDagRunner().run(pipeline)
    artifacts = sorted(mlmd.MetadataStore(config).get_artifacts_by_type("Schema"), key=lambda artifact: artifact.id)
    return [Path(artifact.uri, SCHEMA_FILE).read_text() for artifact in artifacts]


def test_a_changed_text_is_a_new_schema_and_the_same_text_is_not(tmp_path: Path) -> None:
    assert _run(tmp_path, FIRST) == [FIRST]
    assert _run(tmp_path, FIRST) == [FIRST]
    assert _run(tmp_path, SECOND) == [FIRST, SECOND]
