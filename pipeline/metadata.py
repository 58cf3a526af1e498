"""What MLMD knows of a run: the state of every node, read back, because a runner's return is no proof of success."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ml_metadata as mlmd

COMPLETE, CACHED, FAILED = "COMPLETE", "CACHED", "FAILED"


@dataclass(frozen=True)
class Artifact:
    """One artifact: its id in MLMD, its folder, and its custom properties."""

    id: int
    uri: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class NodeRun:
    """What one node did in one run.

    Attributes:
        node: its id in the graph.
        execution: its id in MLMD.
        state: COMPLETE, CACHED, FAILED, or another of MLMD's state names.
        seconds: between MLMD's first and last word of it.
        why: why it ran, or did not need to.
        outputs: its artifacts, by output name.
    """

    node: str
    execution: int
    state: str
    seconds: float
    why: str
    outputs: dict[str, tuple[Artifact, ...]]

    @property
    def rows(self) -> int | None:
        """Records in its output, where it counts them."""
        counts = [one.properties.get("rows") for all_of in self.outputs.values() for one in all_of]
        known = [int(count) for count in counts if count is not None]
        return sum(known) if known else None


def open_store(path: str) -> "mlmd.MetadataStore":
    """The MLMD store in an SQLite file."""
    import ml_metadata as mlmd
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = path
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


def nodes_of_run(store: "mlmd.MetadataStore", run: str) -> list[NodeRun]:
    """The nodes of a run in the order they started; empty where the run is unknown."""
    context = store.get_context_by_type_and_name("pipeline_run", run)
    if context is None:
        return []
    executions = sorted(store.get_executions_by_context(context.id), key=lambda one: one.id)
    return [_node_run(store, execution) for execution in executions]


def latest_output(nodes: list[NodeRun], node: str, output: str) -> Artifact | None:
    """The last artifact of a node's output in a run; None where the node made none."""
    for one in reversed(nodes):
        if one.node == node and one.outputs.get(output):
            return one.outputs[output][-1]
    return None


def _node_run(store: "mlmd.MetadataStore", execution: Any) -> NodeRun:
    from ml_metadata.proto import metadata_store_pb2

    contexts = store.get_contexts_by_execution(execution.id)
    node = next((context for context in contexts if context.type == "node"), None)
    name = node.name.partition(".")[2] if node is not None else execution.type
    state = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
    seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000
    why = "same inputs and settings" if state == CACHED else _why(store, node, execution)
    return NodeRun(name, execution.id, state, seconds, why, _outputs(store, execution.id))


def _outputs(store: "mlmd.MetadataStore", execution: int) -> dict[str, tuple[Artifact, ...]]:
    events = [event for event in store.get_events_by_execution_ids([execution]) if event.type in (4, 6)]  # outputs
    artifacts = {one.id: one for one in store.get_artifacts_by_id([event.artifact_id for event in events])}
    found: dict[str, tuple[Artifact, ...]] = {}
    for event in events:
        key = next((step.key for step in event.path.steps if step.HasField("key")), "")
        artifact = artifacts[event.artifact_id]
        properties = {name: _value(value) for name, value in artifact.custom_properties.items()}
        found[key] = (*found.get(key, ()), Artifact(artifact.id, artifact.uri, properties))
    return found


def _why(store: "mlmd.MetadataStore", node: Any, execution: Any) -> str:
    """What differs from the last finished execution of the same node."""
    if node is None:
        return ""
    before = [
        one
        for one in store.get_executions_by_context(node.id)
        if one.id < execution.id and one.last_known_state in (3, 5)  # COMPLETE, CACHED
    ]
    if not before:
        return "first time"
    last = max(before, key=lambda one: one.id)
    inputs, earlier = _inputs(store, execution.id), _inputs(store, last.id)
    fresh = [name for name in sorted(inputs) if inputs[name] != earlier.get(name)]
    if fresh:
        return "new " + ", ".join(sorted({name.partition("_")[0] if name[-1:].isdigit() else name for name in fresh}))
    if inputs.keys() != earlier.keys():
        return "fewer inputs"
    settings = sorted(
        name
        for name, value in execution.custom_properties.items()
        if not name.startswith("__") and _value(last.custom_properties.get(name)) != _value(value)
    )
    return "changed " + ", ".join(settings) if settings else "runs each time"


def _inputs(store: "mlmd.MetadataStore", execution: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for event in store.get_events_by_execution_ids([execution]):
        if event.type in (3, 5):  # inputs
            key = next((step.key for step in event.path.steps if step.HasField("key")), "")
            found[key] = (*found.get(key, ()), event.artifact_id)
    return found


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value") if value is not None else None
    return getattr(value, kind) if kind else None
