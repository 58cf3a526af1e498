"""The models that the serving benchmarks serve, and what is asked of them."""

import json
import os
import pickle
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from data.places import data_home
from serving import model_directory
from serving.home import models_dir
from tests.benchmarks.child import measure
from tests.benchmarks.places import PROJECT, SERVER_CORE, on_core
from tests.benchmarks.serving_measure import Work, read_work

OWN_HOME = PROJECT / "bench" / "home"


@dataclass(frozen=True)
class Prepared:
    """What is served.

    Attributes:
        work: name -> requests and answers.
        limits: name -> calls a second of the bare model on the server's core.
        models: name -> version folder `<model>/1`.
    """

    work: dict[str, Work]
    limits: dict[str, float]
    models: dict[str, Path]

    def limits_told(self) -> str:
        """One line."""
        return "bare model calls on one core: " + ", ".join(f"{work} {at:.0f}/s" for work, at in self.limits.items())


def prepare(folder: Path, seconds: float) -> Prepared:
    """Makes the models and the requests below `folder`, and calls each bare model for `seconds`.

    Raises:
        child.ProgramFailedError: something failed.
    """
    version = clicks_version(folder / "models" / "clicks" / "1")
    command = [*on_core(SERVER_CORE), sys.executable, "-m", "tests.benchmarks.bare_model", str(version), str(folder)]
    measure([*command, str(seconds)], {"TF_CPP_MIN_LOG_LEVEL": "2"}, PROJECT, folder / "bare.log")
    work = read_work(pickle.loads((folder / "work.pickle").read_bytes()))
    limits = json.loads((folder / "limits.json").read_text())["calls_per_s"]
    return Prepared(work, limits, {one.model: folder / "models" / one.model / "1" for one in work.values()})


def clicks_version(copy: Path) -> Path:
    """Copies the newest pushed version to the folder `copy`, which must not exist; returns it.

    Without one the line makes one below bench/home: under a minute the first time.

    Raises:
        child.ProgramFailedError: the line failed.
    """
    base = models_dir("clicks")
    if not model_directory.versions(base):
        base = OWN_HOME / "models" / "clicks"
    if not model_directory.versions(base):
        print("  no pushed clicks model: the line makes one", flush=True)
        places = {"PRESSLINE_HOME": str(OWN_HOME), "PRESSLINE_DATA": str(data_home()), "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-m", "pipeline", "run", "clicks"]
        measure(command, {**os.environ, **places}, PROJECT, OWN_HOME / "line.log")
    newest = model_directory.version_path(base, model_directory.versions(base)[-1])
    shutil.copytree(newest, copy)
    return copy
