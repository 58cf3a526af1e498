from pathlib import Path

import pytest

from pipeline.metadata import Artifact, latest_output, nodes_of_run
from tests.pipeline.made_store import CACHED, FAILED, RUNNING, MadeStore


@pytest.fixture
def made(tmp_path: Path) -> MadeStore:
    return MadeStore(tmp_path / "metadata.sqlite", "mine")


def why_of(made: MadeStore, run: str) -> list[str]:
    return [one.why for one in nodes_of_run(made.store, run)]


def test_a_run_that_is_not_known_has_no_nodes(made: MadeStore) -> None:
    assert nodes_of_run(made.store, "none") == []


def test_the_nodes_of_a_run_come_in_order_with_states_and_outputs(made: MadeStore) -> None:
    schema = made.artifact("Schema", "/schema")
    examples = made.artifact("Examples", "/examples", rows=12, span="3")
    made.node("first", "CuratedSchema", outputs={"schema": schema})
    made.node("first", "ExampleGen-span-3", inputs={"schema": schema}, outputs={"examples": examples})
    made.node("other", "CuratedSchema", CACHED, outputs={"schema": schema})
    made.node("first", "Trainer", FAILED, inputs={"examples": examples})
    made.node("first", "Pusher", RUNNING)
    nodes = nodes_of_run(made.store, "first")
    assert [(one.node, one.state, one.rows) for one in nodes] == [
        ("CuratedSchema", "COMPLETE", None),
        ("ExampleGen-span-3", "COMPLETE", 12),
        ("Trainer", "FAILED", None),
        ("Pusher", "RUNNING", None),
    ]
    assert nodes[1].outputs == {"examples": (Artifact(examples, "/examples", {"rows": 12, "span": "3"}),)}
    assert all(one.seconds >= 0 for one in nodes)


def test_a_cached_nodes_outputs_are_those_that_it_took_over(made: MadeStore) -> None:
    schema = made.artifact("Schema", "/schema")
    made.node("first", "CuratedSchema", outputs={"schema": schema})
    made.node("second", "CuratedSchema", CACHED, outputs={"schema": schema})
    (node,) = nodes_of_run(made.store, "second")
    assert (node.state, node.why) == ("CACHED", "same inputs and settings")
    assert node.outputs["schema"][0].uri == "/schema"


def test_a_node_says_which_inputs_are_new(made: MadeStore) -> None:
    old, new, schema = (made.artifact("Examples", f"/{name}") for name in ("old", "new", "schema"))
    made.node("first", "Gate", inputs={"examples_0": old, "schema": schema})
    made.node("second", "Gate", inputs={"examples_0": old, "examples_1": new, "schema": schema})
    made.node("third", "Gate", inputs={"examples_0": old, "schema": schema})
    made.node("fourth", "Gate", inputs={"examples_0": old, "schema": new})
    made.node("fifth", "Gate", inputs={"examples_0": old, "schema": new})
    whys = [why_of(made, run) for run in ("first", "second", "third", "fourth", "fifth")]
    assert whys == [["first time"], ["new examples"], ["fewer inputs"], ["new schema"], ["runs each time"]]


def test_a_node_says_which_settings_changed_but_not_of_those_that_always_do(made: MadeStore) -> None:
    made.node("first", "Trainer", epochs=1, code="a", __artifact_info__="1")
    made.node("second", "Trainer", epochs=2, code="b", __artifact_info__="2")
    made.node("third", "Trainer", epochs=2, code="b", __artifact_info__="3")
    assert why_of(made, "second") == ["changed code, epochs"]
    assert why_of(made, "third") == ["runs each time"]


def test_a_node_is_compared_with_its_last_finished_run_and_not_with_a_failed_one(made: MadeStore) -> None:
    made.node("first", "Trainer", FAILED, epochs=1)
    made.node("second", "Trainer", epochs=1)
    made.node("third", "Trainer", FAILED, epochs=2)
    made.node("fourth", "Trainer", epochs=2)
    assert [why_of(made, run) for run in ("second", "fourth")] == [["first time"], ["changed epochs"]]


def test_the_latest_output_is_the_last_that_the_node_made(made: MadeStore) -> None:
    first, second = (made.artifact("Model", f"/{name}") for name in ("first", "second"))
    made.node("run", "Trainer", FAILED)
    made.node("run", "Trainer", outputs={"model": first})
    made.node("run", "Trainer", outputs={"model": second})
    made.node("run", "Trainer", FAILED)
    nodes = nodes_of_run(made.store, "run")
    found = latest_output(nodes, "Trainer", "model")
    assert found is not None
    assert found.uri == "/second"
    assert latest_output(nodes, "Trainer", "examples") is None
    assert latest_output(nodes, "Pusher", "model") is None
