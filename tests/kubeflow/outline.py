"""A compiled spec in short, for the golden file: each task with what it takes from whom, and its short settings.

After a change of the graph that is meant: `python -m tests.kubeflow.outline` writes the golden file anew.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving.home import PROJECT

GOLDEN = Path(__file__).parent / "golden" / "small.txt"
TASK = "tests.e2e.small.task"
LONGEST = 60  # characters of a setting that is shown


def write_spans(folder: Path) -> Path:
    """Two spans: nothing reads them while compiling, but their numbers and their digest are part of the graph."""
    for number in (0, 1):
        (folder / f"span-{number}").mkdir(parents=True)
        (folder / f"span-{number}" / "records.csv").write_text("user,age,price,tags,liked\nu1,3,1.5,t1,1\n")
    return folder


def compiled(folder: Path, *more: str) -> dict[str, Any]:
    """What `python kubeflow/compile.py` writes of the small task; its spans and artifacts are in no real place."""
    output = folder / "small.json"
    script = str(PROJECT / "kubeflow" / "compile.py")
    command = [sys.executable, script, TASK, "--output", str(output), "--root", "gs://bucket/artifacts", *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(output)
    content: dict[str, Any] = json.loads(output.read_text())
    return content


def outline(job: dict[str, Any], data: str) -> str:
    """The outline of a compiled job; `data` is where its spans are, which is another place each time."""
    spec = job["pipelineSpec"]
    lines = [f"{job['displayName']}, schema {spec['schemaVersion']}, to {job['runtimeConfig']['gcsOutputDirectory']}"]
    for name, task in sorted(spec["root"]["dag"]["tasks"].items()):
        inputs = task.get("inputs", {})
        lines += ["", f"{name}: {_what_runs(spec, name)}"]
        for key, source in sorted(inputs.get("artifacts", {}).items()):
            made = source["taskOutputArtifact"]
            lines.append(f"  {key} <- {made['producerTask']}.{made['outputArtifactKey']}")
        for key, value in sorted(inputs.get("parameters", {}).items()):
            shown = json.dumps(value["runtimeValue"]["constant"]).replace(data, "DATA")
            shown = re.sub(r"\b[0-9a-f]{16}\b", "FINGERPRINT", shown)
            lines.append(f"  {key} = {shown if len(shown) <= LONGEST else '...'}")
        if task.get("dependentTasks"):
            lines.append(f"  after {', '.join(task['dependentTasks'])}")
    return "\n".join([*lines, ""])


def _what_runs(spec: dict[str, Any], name: str) -> str:
    executor = spec["deploymentSpec"]["executors"][spec["components"][name]["executorLabel"]]
    if "container" not in executor:
        return str(next(iter(executor)))
    arguments = executor["container"]["args"]
    flag = next(flag for flag in ("--executor_class_path", "--function_path") if flag in arguments)
    return f"{arguments[arguments.index(flag) + 1]} in {executor['container']['image']}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        spans = write_spans(Path(temporary, "spans"))
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(outline(compiled(Path(temporary), "--data", str(spans)), str(spans)))
