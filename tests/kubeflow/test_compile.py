import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.home import PROJECT
from tests.kubeflow.outline import GOLDEN, TASK, compiled, outline, write_spans


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spans(tmp_path_factory.mktemp("data") / "spans")


@pytest.fixture(scope="module")
def job(spans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compiled(tmp_path_factory.mktemp("job"), "--data", str(spans), "--image", "registry/pressline:1")


def test_the_outline_is_the_golden_one(job: dict[str, Any], spans: Path) -> None:
    told = outline(job, str(spans)).replace("registry/pressline:1", "pressline:latest")
    assert told == GOLDEN.read_text(), f"where the change is meant: python -m {outline.__module__}"


def test_the_spec_is_one_that_the_kfp_sdk_loads(job: dict[str, Any]) -> None:
    from google.protobuf import json_format
    from kfp import components
    from kfp.pipeline_spec import pipeline_spec_pb2

    spec = json_format.ParseDict(job["pipelineSpec"], pipeline_spec_pb2.PipelineSpec())
    assert spec.schema_version == "2.1.0"
    loaded = components.load_component_from_text(json.dumps(job["pipelineSpec"]))
    assert loaded.name == "small"
    assert set(loaded.pipeline_spec.root.dag.tasks) == set(spec.root.dag.tasks)


def test_the_spec_has_every_node_of_the_local_graph_and_no_other(job: dict[str, Any], spans: Path) -> None:
    from pipeline import fingerprint
    from pipeline.environment import load_environment
    from pipeline.graph import create_pipeline
    from pipeline.tasks import find
    from pipeline.whereabouts import Places, Records

    task, environment = find(TASK), load_environment("local")
    made_from = fingerprint.of(task, environment, "digest", (0, 1))
    records = Records(str(spans), (0, 1), task.schema_file.read_text(), made_from)
    local = create_pipeline(task, environment, records, Places("artifacts", "models", "metadata.sqlite"))
    # TFX resolves the two inputs of the baseline in a task each.
    scheduled = {
        re.sub(r"^Baseline-.*-resolver$", "Baseline", name) for name in job["pipelineSpec"]["root"]["dag"]["tasks"]
    }
    assert scheduled == {node.id for node in local.components}


def test_every_container_runs_the_given_image(job: dict[str, Any]) -> None:
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    images = {one["container"]["image"] for one in executors if "container" in one}
    assert images == {"registry/pressline:1"}


def test_no_folder_of_this_machine_but_the_given_data_is_in_the_spec(job: dict[str, Any], spans: Path) -> None:
    text = json.dumps(job).replace(str(spans), "")
    assert str(PROJECT) not in text
    assert str(spans.parent) not in text


def refused(*line: str) -> str:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "kubeflow" / "compile.py"), *line], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["clikcs"], "unknown task 'clikcs'; did you mean clicks?"),
        (["clicks", "--environment", "lokal"], "no environment 'lokal'"),
        (["clicks", "--data", "gs://x", "--window", "3-1"], "--window is one span or a range of them"),
        (["clicks", "--data", "gs://x", "--window", "a-b"], "such as 7 or 0-15; got 'a-b'"),
        ([TASK], "give a folder of spans with --data DIR"),
    ],
)
def test_bad_input_is_refused_at_once(line: list[str], expected: str) -> None:
    assert expected in refused(*line)


@pytest.mark.parametrize(("text", "window"), [("7", (7,)), ("0-3", (0, 1, 2, 3)), ("5-5", (5,)), ("9-11", (9, 10, 11))])
def test_a_window_is_a_span_or_a_range_with_both_ends(text: str, window: tuple[int, ...]) -> None:
    from kubeflow.compile import _window

    assert _window(text) == window
