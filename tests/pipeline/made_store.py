"""A metadata store as TFX leaves it, made by hand: runs of a few nodes with their artifacts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import metadata

COMPLETE, FAILED, CACHED, RUNNING = 3, 4, 5, 2


class MadeStore:
    """Writes what TFX would have written of runs of the pipeline `pipeline`."""

    def __init__(self, path: Path, pipeline: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.store = metadata.open_store(str(path))
        self.pipeline = self._context("pipeline", pipeline)

    def artifact(self, kind: str, uri: str, **properties: int | str) -> int:
        """The id of a new artifact of this pipeline."""
        from ml_metadata.proto import metadata_store_pb2

        kind_id = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
        artifact = metadata_store_pb2.Artifact(type_id=kind_id, uri=uri)
        for name, value in properties.items():
            _set(artifact.custom_properties[name], value)
        (found,) = self.store.put_artifacts([artifact])
        self.store.put_attributions_and_associations(
            [metadata_store_pb2.Attribution(artifact_id=found, context_id=self.pipeline)], []
        )
        return int(found)

    def node(
        self,
        run: str,
        node: str,
        state: int = COMPLETE,
        inputs: Mapping[str, int] | None = None,
        outputs: Mapping[str, int] | None = None,
        **settings: int | str,
    ) -> int:
        """The id of a node's new execution in a run, which consumed and produced these artifacts."""
        from ml_metadata.proto import metadata_store_pb2

        kind = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name=f"type.of.{node}"))
        execution = metadata_store_pb2.Execution(type_id=kind, last_known_state=state)
        for name, value in settings.items():
            _set(execution.custom_properties[name], value)
        (found,) = self.store.put_executions([execution])
        self.store.put_attributions_and_associations(
            [],
            [
                metadata_store_pb2.Association(execution_id=found, context_id=context)
                for context in (
                    self._context("pipeline_run", run),
                    self._context("node", f"mine.{node}"),
                    self.pipeline,
                )
            ],
        )
        event = metadata_store_pb2.Event
        made = event.OUTPUT if state != CACHED else event.INTERNAL_OUTPUT
        events = []
        for kinds, artifacts in ((event.INPUT, inputs), (made, outputs)):
            for name, artifact in (artifacts or {}).items():
                one = event(execution_id=found, artifact_id=artifact, type=kinds)
                one.path.steps.add(key=name)
                one.path.steps.add(index=0)
                events.append(one)
        self.store.put_events(events)
        return int(found)

    def _context(self, kind: str, name: str) -> int:
        from ml_metadata.proto import metadata_store_pb2

        known = self.store.get_context_by_type_and_name(kind, name)
        if known is not None:
            return int(known.id)
        kind_id = self.store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        (found,) = self.store.put_contexts([metadata_store_pb2.Context(type_id=kind_id, name=name)])
        return int(found)


def _set(value: Any, to: int | str) -> None:
    if isinstance(to, int):
        value.int_value = to
    else:
        value.string_value = to
