"""`python -m serving.serve [TASK ...]`: serves the pushed models until Ctrl-C, and says how to ask them.

With `tensorflow_model_server` itself where it is on the PATH, else with the embedded server; the flags and the config
file are the same. What follows `--` goes to the server as it is. Each model's newest version is served, unless the
rollout controller has written the config file: then what it says.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from serving import model_directory
from serving.errors import InputError
from serving.home import PROJECT, home, models_dir

REAL = "tensorflow_model_server"
GRPC_PORT, REST_PORT = 8500, 8501  # TF Serving's by convention
POLL_S = 0.2
CONTROLLERS = "# Written by the rollout controller"  # how a config file begins that is not ours to write
# Labels are checked before anything is loaded, and the controller tells a running server by itself.
WITH_LABELS = ("--allow_version_labels_for_unavailable_models=true", "--model_config_file_poll_wait_seconds=0")


def main(arguments: list[str]) -> int:
    """The exit code: the server's own, or 2 where there is nothing to serve."""
    parser = argparse.ArgumentParser(prog="python -m serving.serve", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="default: every task that has a pushed model")
    parser.add_argument("--port", type=int, default=GRPC_PORT, help="gRPC (default %(default)s)")
    parser.add_argument("--rest-port", type=int, default=REST_PORT, help="REST (default %(default)s)")
    own, for_server = _split(arguments)
    options = parser.parse_args(own)
    try:
        config = config_path()
        owned = controllers_models(config)
        if owned is None:
            tasks = servable_tasks(options.tasks)
            write_config(tasks)
        else:
            tasks = controlled_tasks(options.tasks, owned, config)
            print(f"the rollout controller says what is served: {config}", flush=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    files = [f"--port={options.port}", f"--rest_api_port={options.rest_port}", f"--model_config_file={config}"]
    labels = () if owned is None else WITH_LABELS
    return _serve([*server_command(), *files, *labels, *for_server], tasks, options.rest_port)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    middle = arguments.index("--")
    return arguments[:middle], arguments[middle + 1 :]


def servable_tasks(wanted: Sequence[str]) -> tuple[str, ...]:
    """The tasks to serve, sorted.

    Args:
        wanted: task names; none means all that have a version.

    Raises:
        InputError: one of them, or none at all, has a pushed model.
    """
    folder = home() / "models"
    there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    pushed = tuple(task for task in there if model_directory.versions(models_dir(task)))
    missing = sorted(set(wanted) - set(pushed))
    if missing or not pushed:
        raise InputError(
            f"no pushed model {'of ' + ', '.join(missing) if missing else 'at all'} in {folder}; "
            f"there is: {', '.join(pushed) or 'none'}. `make run TASK={missing[0] if missing else 'clicks'}` makes one"
        )
    return tuple(sorted(set(wanted))) or pushed


def config_path() -> Path:
    """Where the config file of the model server is."""
    return home() / "serving" / "models.config"


def controllers_models(config: Path) -> tuple[str, ...] | None:
    """The models in a config file that the rollout controller wrote, sorted; None: it did not, or there is no file."""
    try:
        said = config.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{config} cannot be read ({error}); remove it, and it is written anew") from error
    if not said.startswith(CONTROLLERS):
        return None
    return tuple(sorted(_unquoted(name) for name in re.findall(r'^ *name: "((?:[^"\\]|\\.)*)"', said, re.MULTILINE)))


def controlled_tasks(wanted: Sequence[str], owned: Sequence[str], config: Path) -> tuple[str, ...]:
    """The tasks of a controller's file: all of them are served, and those are waited for that are wanted.

    Args:
        wanted: task names; none means all.

    Raises:
        InputError: one of them, or none at all, is in the file.
    """
    missing = sorted(set(wanted) - set(owned))
    if missing or not owned:
        raise InputError(
            f"the rollout controller's {config} serves {', '.join(owned) or 'nothing yet'}"
            f"{', not ' + ', '.join(missing) if missing else ''}. `python -m serving.rollout status` tells what waits, "
            "`python -m serving.rollout run` lets it go on; remove the file to serve newest versions without rollouts"
        )
    return tuple(sorted(set(wanted))) or tuple(owned)


def _unquoted(name: str) -> str:
    """A string of protobuf's text format, in which the controller writes odd bytes as octal numbers."""
    plain = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), name.encode())
    return plain.decode("utf-8", "replace")


def write_config(tasks: Sequence[str]) -> Path:
    """Writes TF Serving's model config file for `tasks`, whole or not at all; returns its path."""
    lines = ["model_config_list {"]
    for task in tasks:
        path = json.dumps(str(models_dir(task)), ensure_ascii=False)
        lines.append(f'  config {{ name: "{task}" base_path: {path} model_platform: "tensorflow" }}')
    target = config_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text("\n".join([*lines, "}", ""]))
    fresh.rename(target)
    return target


def server_command() -> list[str]:
    """TF Serving's own binary where the PATH has it, else the embedded server."""
    real = shutil.which(REAL)
    return [real] if real else [sys.executable, "-m", "serving.model_server"]


def _serve(command: list[str], tasks: Sequence[str], rest_port: int) -> int:
    print(f"starting {shlex.join(command)}", flush=True)
    server = subprocess.Popen(command, cwd=PROJECT)
    ended = [False]

    def stop(*_: object) -> None:
        ended[0] = True
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    url = f"http://localhost:{rest_port}/v1/models"
    requests = {task: _example(task) for task in tasks}
    for task in tasks:
        while server.poll() is None and not _answers(f"{url}/{task}"):
            time.sleep(POLL_S)
    if server.poll() is None:
        for task, body in requests.items():
            print(f"\n{task}: {_curl(f'{url}/{task}', body)}", flush=True)
        print("\nserving; Ctrl-C ends it", flush=True)
    code = server.wait()
    return 0 if ended[0] and code in (0, -signal.SIGTERM) else code


def _example(task: str) -> str | None:
    """The JSON of a request that the task's newest version can answer; None where the version holds none."""
    versions = model_directory.versions(models_dir(task))
    if not versions:
        return None
    newest = model_directory.version_path(models_dir(task), versions[-1])
    command = [sys.executable, "-m", "serving.example_request", str(newest)]
    said = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return said.stdout.decode().strip() or None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return b'"AVAILABLE"' in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def _curl(url: str, body: str | None) -> str:
    if body is None:
        return f"curl {url}"
    return f"curl -d {shlex.quote(body)} {url}:predict"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
