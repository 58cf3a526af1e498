"""Fingerprints of what a run is made from; standard library only, for they are asked before anything heavy loads."""

import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.environment import Environment
from pipeline.task import Task
from serving.home import PROJECT

LOCK = PROJECT / "bootstrap" / "requirements" / "pipeline.lock"
TRAINING_FILES = ("training.py", "training_loop.py", "training_input.py", "signatures.py", "strategy.py", "task.py")


@dataclass(frozen=True)
class Fingerprint:
    """Digests by what they are of; two runs with equal ones would do the same.

    Attributes:
        spans: the raw records of the window.
        schema: the curated schema.
        task_code: the task's own files and its declaration.
        training_code: the files of the training.
        line_code: every other file of the line and its components.
        libraries: the locked packages.
        options: the environment and what the command line asked.
    """

    spans: str
    schema: str
    task_code: str
    training_code: str
    line_code: str
    libraries: str
    options: str

    @property
    def features(self) -> str:
        """Of what the transform graph depends on, besides its inputs."""
        return _join(self.task_code, self.libraries)

    @property
    def training(self) -> str:
        """Of what a training depends on, besides its inputs and options."""
        return _join(self.task_code, self.training_code, self.libraries)

    def changed_from(self, other: dict[str, str]) -> tuple[str, ...]:
        """Names of the parts that differ, in words."""
        mine = dataclasses.asdict(self)
        return tuple(name.replace("_", " ") for name, digest in mine.items() if other.get(name) != digest)


def of(task: Task, environment: Environment, spans_digest: str, window: tuple[int, ...]) -> Fingerprint:
    """The fingerprint of a run of `task` in `environment` over the spans `window`, whose records digest to the given.

    Raises:
        FileNotFoundError: the schema or the task's code does not exist.
    """
    declaration = json.dumps(dataclasses.asdict(task), default=str, sort_keys=True)
    folders = {_folder_of(path) for path in (task.preprocessing_fn, task.build_model)}
    own = [path for folder in sorted(folders) for path in folder.rglob("*.py")]
    pipeline, components = PROJECT / "pipeline", PROJECT / "components"
    training = [pipeline / name for name in TRAINING_FILES]
    line = [
        path
        for folder in (pipeline, components)
        for path in folder.rglob("*.py")
        if path not in training and (pipeline / "tasks") not in path.parents
    ]
    return Fingerprint(
        spans=_join(spans_digest, json.dumps(window)),
        schema=_files([task.schema_file]),
        task_code=_join(declaration, _files(own)),
        training_code=_files(training),
        line_code=_files(line),
        libraries=_files([LOCK]),
        options=_join(json.dumps(dataclasses.asdict(environment), sort_keys=True)),
    )


def _folder_of(dotted: str) -> Path:
    """The folder of the module that holds a function."""
    module = dotted.rpartition(".")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # no such package around it; no module named at all
        found = None
    if found is None or found.origin is None:
        raise FileNotFoundError(f"there is no module {module} (named by {dotted})")
    return Path(found.origin).parent


def _files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _join(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
