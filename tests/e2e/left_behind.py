"""What runs have left in a home folder, read as the house reads it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.metadata import NodeRun, nodes_of_run, open_store
from serving.ledger import Decision, Ledger, open_ledger
from serving.model_directory import versions

ALWAYS_RUNS = "Baseline"  # TFX does not cache resolvers


@dataclass(frozen=True)
class Home:
    """A folder that PRESSLINE_HOME names."""

    path: Path

    @property
    def ledger(self) -> Ledger:
        return open_ledger(f"sqlite:///{self.path / 'ledger.sqlite'}")

    def decisions(self, kind: str, task: str = "small", run: str | None = None) -> list[Decision]:
        """Of one kind, oldest first."""
        return self.ledger.decisions(task=task, kind=kind, run=run)

    def newest_run(self, task: str = "small") -> str:
        """Its name."""
        run = self.ledger.decisions(task=task, kind="run_started", newest_first=True, limit=1)[0].run
        assert run is not None
        return run

    def nodes(self, run: str) -> dict[str, NodeRun]:
        """By name, in the order in which they started."""
        return {one.node: one for one in nodes_of_run(open_store(str(self.path / "metadata.sqlite")), run)}

    def states(self, run: str) -> dict[str, str]:
        """Of the nodes of a run, but for the one that always runs."""
        return {name: one.state for name, one in self.nodes(run).items() if name != ALWAYS_RUNS}

    def verdict(self, run: str) -> dict[str, Any]:
        """The verdict's file."""
        content: dict[str, Any] = json.loads(
            self.artifact(run, "Verdict", "verdict").joinpath("verdict.json").read_text()
        )
        return content

    def artifact(self, run: str, node: str, output: str) -> Path:
        """The folder of a node's only artifact."""
        (only,) = self.nodes(run)[node].outputs[output]
        return Path(only.uri)

    def models(self, task: str = "small") -> Path:
        """The model directory."""
        return self.path / "models" / task

    def versions(self, task: str = "small") -> tuple[int, ...]:
        """What a server would see."""
        return versions(self.models(task))


def examples(split: Path) -> Iterator[bytes]:
    """The serialized tf.Examples of a split of an Examples artifact."""
    import tensorflow as tf

    files = sorted(map(str, split.iterdir()))
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        yield bytes(record)
