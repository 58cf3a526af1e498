"""What a graph is drawn for: which records, and where its results go."""

from dataclasses import dataclass

from pipeline.fingerprint import Fingerprint


@dataclass(frozen=True)
class Records:
    """Raw records to learn from.

    Attributes:
        root: the folder of `span-<N>/`.
        window: the spans to learn from, ascending; the last one is the newest.
        schema_text: the curated schema (pbtxt).
        fingerprint: of all that the run is made from.
    """

    root: str
    window: tuple[int, ...]
    schema_text: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Places:
    """Where a run leaves things.

    Attributes:
        artifacts: what nodes write; any tf.io.gfile path.
        models: TF Serving's base path of this task's model, on a mounted file system.
        metadata: the SQLite file of MLMD; "" where the orchestrator brings its own store.
    """

    artifacts: str
    models: str
    metadata: str = ""
