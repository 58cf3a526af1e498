"""`python kubeflow/compile.py TASK`: writes the task's graph as a Kubeflow Pipelines v2 spec.

The graph is the one that a laptop runs. A window of spans is part of it, a node a span, so that Kubeflow's own cache
ingests each span once: compile again when a new span has arrived.
"""

import argparse
import sys
from pathlib import Path

DEFAULT_IMAGE = "pressline:latest"


def main() -> int:
    """Parses the command line; returns 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(description="Writes a task's graph as a Kubeflow Pipelines v2 spec.")
    parser.add_argument("task")
    parser.add_argument("--root", default="gs://pressline/artifacts", help="where nodes write: any tf.io.gfile path")
    parser.add_argument("--data", help="where the cluster reads span-<N>/ (default: the task's local spans)")
    parser.add_argument("--models", default="/models", help="TF Serving's base path of this model: a mounted volume")
    parser.add_argument("--window", help="spans to learn from, such as 0-15 (default: those that are here)")
    parser.add_argument("--image", default=DEFAULT_IMAGE, help="an image with the project and its `pipeline` group")
    parser.add_argument("--environment", default="local")
    parser.add_argument("--output", help="default: var/kubeflow/<task>.json")
    options = parser.parse_args()
    from data.errors import InputError as DataInputError
    from serving.errors import InputError

    try:
        print(compile_task(options))
    except (InputError, DataInputError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def compile_task(options: argparse.Namespace) -> Path:
    """Writes the spec and returns its path.

    Raises:
        InputError: an unknown task or environment, or a window that is not `A-B`.
    """
    from pipeline import fingerprint, records
    from pipeline.environment import load_environment
    from pipeline.tasks import find
    from serving.home import home

    task = find(options.task)
    environment = load_environment(options.environment)
    if options.window and options.data:
        window, root, digest = _window(options.window), options.data, options.window
    else:
        here = options.data if options.data and Path(options.data).is_dir() else None
        chosen = records.choose(task, here, None, None)
        window = _window(options.window) if options.window else chosen.window
        root, digest = options.data or str(chosen.root), chosen.digest
    made_from = fingerprint.of(task, environment, digest, window)
    output = Path(options.output) if options.output else home() / "kubeflow" / f"{task.name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)

    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline.graph import create_pipeline
    from pipeline.whereabouts import Places, Records

    pipeline = create_pipeline(
        task,
        environment,
        Records(root, window, task.schema_file.read_text(encoding="utf-8"), made_from),
        Places(options.root, options.models),
    )
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        display_name=f"pressline-{task.name}", default_image=options.image, use_pipeline_spec_2_1=True
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=config, output_dir=str(output.parent), output_filename=output.name
    )
    runner.run(pipeline, write_out=True)
    return output


def _window(text: str) -> tuple[int, ...]:
    from serving.errors import InputError

    first, separator, last = text.partition("-")
    if not (first.isdigit() and (not separator or last.isdigit()) and int(last or first) >= int(first)):
        raise InputError(f"--window is one span or a range of them, such as 7 or 0-15; got {text!r}")
    return tuple(range(int(first), int(last or first) + 1))


if __name__ == "__main__":
    sys.exit(main())
