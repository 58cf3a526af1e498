"""The nodes of this package together, as the graph of a task joins them, under TFX's own runners."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_metadata as mlmd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.curated_schema.component import CuratedSchema
from components.data_gate.component import DataGate
from components.data_gate.errors import DataGateError
from components.example_gen.component import span_examples, span_pattern
from components.span_window.component import SpanWindowExamples
from components.statistics_gen.component import span_statistics

SCHEMA = """
feature { name: "user" type: INT presence { min_fraction: 1 } shape {} }
feature {
  name: "gender" type: BYTES presence { min_fraction: 1 } shape {} string_domain { value: "F" value: "M" }
  drift_comparator { infinity_norm { threshold: 0.2 } }
}
feature { name: "liked" type: INT presence { min_fraction: 1 } shape {} int_domain { min: 0 max: 1 } }
default_environment: "TRAINING"
"""
ROWS = 300
State = metadata_store_pb2.Execution.State


def _directory(span: int) -> str:
    """One of them is padded: users' folders are not always of one kind."""
    return "span-02" if span == 2 else f"span-{span}"


def _write_span(folder: Path, span: int, gender: tuple[str, ...] = ("F", "M")) -> None:
    target = folder / _directory(span)
    target.mkdir(parents=True)
    rng = np.random.default_rng(span)
    columns = {
        "user": rng.integers(0, 60, ROWS),
        "gender": rng.permutation(np.resize(np.array(gender), ROWS)),
        "liked": rng.integers(0, 2, ROWS),
    }
    pq.write_table(pa.table(columns), target / "part-0.parquet")


class Line:
    """One home: spans, artifacts, metadata, ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans = folder / "spans"

    def pipeline(self, spans: range, schema: str = SCHEMA) -> Pipeline:
        examples = {
            span: span_examples(str(self.spans), span, schema, "user", 5, files_pattern=span_pattern(_directory(span)))
            for span in spans
        }
        statistics = {span: span_statistics(node.outputs["examples"], span) for span, node in examples.items()}
        curated = CuratedSchema(text=schema)
        gate = DataGate(
            {span: node.outputs["statistics"] for span, node in statistics.items()},
            schema=curated.outputs["schema"],
            newest_examples=examples[spans[-1]].outputs["examples"],
            task="toy",
            label="liked",
        )
        window = SpanWindowExamples({span: node.outputs["examples"] for span, node in examples.items()})
        window.add_upstream_node(gate)
        return Pipeline(
            "toy",
            str(self.folder / "artifacts"),
            components=[*examples.values(), *statistics.values(), curated, gate, window],
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(self.folder / "metadata.sqlite")),
            beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=in-process"],
        )

    def run(self, spans: range, schema: str = SCHEMA) -> dict[str, str]:
        """Run, and return the state of each node of this run."""
        before = {execution.id for execution in self._store().get_executions()}
        LocalDagRunner().run(self.pipeline(spans, schema))
        return {name: state for id_, name, state in self._executions() if id_ not in before}

    def _store(self) -> mlmd.MetadataStore:
        config = metadata.sqlite_metadata_connection_config(str(self.folder / "metadata.sqlite"))
        return mlmd.MetadataStore(config)

    def _executions(self) -> Iterator[tuple[int, str, str]]:
        store = self._store()
        for execution in store.get_executions():
            node = next(
                context.name for context in store.get_contexts_by_execution(execution.id) if context.type == "node"
            )
            yield execution.id, node.removeprefix("toy."), State.Name(execution.last_known_state)

    def newest_artifact(self, type_name: str) -> Path:
        artifacts = self._store().get_artifacts_by_type(type_name)
        return Path(max(artifacts, key=lambda artifact: artifact.id).uri)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Three runs: spans 1 to 3, the same again, then with span 4; the states of each and what they left."""
    line = Line(tmp_path_factory.mktemp("line"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRESSLINE_HOME", str(line.folder / "var"))
        for span in (1, 2, 3):
            _write_span(line.spans, span)
        cold, again = line.run(range(1, 4)), line.run(range(1, 4))
        window_of_three = line.newest_artifact("Examples")
        _write_span(line.spans, 4)
        grown = line.run(range(1, 5))
        yield {"line": line, "cold": cold, "again": again, "grown": grown, "window": window_of_three}


def _nodes(history: dict[str, Any], run: str, state: str) -> set[str]:
    return {node for node, found in history[run].items() if found == state}


def test_a_first_run_executes_every_node(history: dict[str, Any]) -> None:
    spans = {f"{kind}Gen-span-{span}" for kind in ("Example", "Statistics") for span in (1, 2, 3)}
    assert _nodes(history, "cold", "COMPLETE") == {*spans, "CuratedSchema", "DataGate", "SpanWindow"}


def test_a_second_run_of_the_same_executes_nothing(history: dict[str, Any]) -> None:
    assert _nodes(history, "again", "CACHED") == set(history["cold"])


def test_a_new_span_executes_only_its_own_nodes_the_gate_and_the_window(history: dict[str, Any]) -> None:
    expected = {"ExampleGen-span-4", "StatisticsGen-span-4", "DataGate", "SpanWindow"}
    assert _nodes(history, "grown", "COMPLETE") == expected
    assert len(_nodes(history, "grown", "CACHED")) == 7


def _users(folder: Path, split: str) -> list[int]:
    files = sorted(str(path) for path in Path(folder, f"Split-{split}").glob("data_tfrecord-*-of-*.gz"))
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record).features.feature["user"].int64_list.value[0] for record in records]


def test_no_evaluation_record_and_no_user_of_one_is_trained_on(history: dict[str, Any]) -> None:
    train, held_out = (_users(history["window"], split) for split in ("train", "eval"))
    assert len(held_out) > 20
    assert not set(train) & set(held_out)


def test_the_window_trains_on_every_span_and_evaluates_on_the_newest_alone(history: dict[str, Any]) -> None:
    held_out_users = set(_users(history["window"], "eval"))
    raw = {span: pq.read_table(history["line"].spans / _directory(span))["user"].to_pylist() for span in (1, 2, 3)}
    newest = [user for user in raw[3] if user in held_out_users]
    assert _users(history["window"], "eval") == newest
    train_users = set(_users(history["window"], "train"))
    assert _users(history["window"], "train") == [
        user for span in (1, 2, 3) for user in raw[span] if user in train_users
    ]
    names = sorted(path.name for path in Path(history["window"], "Split-train").iterdir())
    assert names == [f"data_tfrecord-{at:05d}-of-00003.gz" for at in range(3)]


def test_the_gate_leaves_its_report_beside_the_anomalies_and_in_the_home(history: dict[str, Any]) -> None:
    line = history["line"]
    reports = sorted((line.folder / "var" / "reports" / "toy").glob("*/data_gate/report.json"))
    assert [json.loads(path.read_text())["verdict"] for path in reports] == ["PASSED", "PASSED"]
    artifact = line.newest_artifact("ExampleAnomalies")
    assert (artifact / "report.json").read_text() == reports[-1].read_text()
    assert len(list(artifact.glob("Split-span-*/SchemaDiff.pb"))) == 8
    assert "PASSED" in (artifact / "report.txt").read_text()


def test_a_changed_schema_reads_no_span_again(history: dict[str, Any]) -> None:
    states = history["line"].run(range(1, 4), SCHEMA.replace("threshold: 0.2", "threshold: 0.3"))
    assert {node for node, state in states.items() if state == "COMPLETE"} == {"CuratedSchema", "DataGate"}


def test_a_bad_newest_span_stops_the_line_with_a_report_and_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("PRESSLINE_LEDGER_URL", raising=False)
    line = Line(tmp_path)
    _write_span(line.spans, 1)
    _write_span(line.spans, 2, gender=("F", "X"))
    with pytest.raises(DataGateError) as stopped:
        line.run(range(1, 3))
    assert "ENUM_TYPE_UNEXPECTED_STRING_VALUES" in str(stopped.value)
    assert "one of F, M" in str(stopped.value)
    folder = next((tmp_path / "var" / "reports" / "toy").glob("*/data_gate"))
    report = json.loads((folder / "report.json").read_text())
    found = {(finding["split"], finding["kind"]): finding for finding in report["findings"]}
    counts = {split: found[split, "ENUM_TYPE_UNEXPECTED_STRING_VALUES"]["rows"] for split in ("train", "eval")}
    assert sum(counts.values()) == ROWS / 2
    sample = [json.loads(text) for text in (folder / "offending.jsonl").read_text().splitlines()]
    assert len(sample) == 20
    assert all(shown["record"]["gender"] == ["X"] for shown in sample)

    from serving.ledger import open_ledger

    decision = open_ledger().decisions(task="toy", kind="gate")[-1]
    assert decision.verdict == "STOPPED"
    assert decision.evidence["findings"] == report["findings"]


def test_the_nodes_compile_for_kubeflow(history: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "toy.json"
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image="example/pressline")
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config=config, output_filename=str(target))
    runner.run(history["line"].pipeline(range(1, 4)), write_out=True)
    tasks = json.loads(target.read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
    gate = tasks["DataGate"]["inputs"]["artifacts"]
    assert {"statistics_1", "statistics_2", "statistics_3", "schema", "newest_examples"} == set(gate)
    assert tasks["SpanWindow"]["dependentTasks"]
