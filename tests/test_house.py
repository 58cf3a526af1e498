"""What holds for every file of the house; who imports whom is import-linter's to check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.home import PROJECT

HOUSE = ("bootstrap", "components", "data", "kubeflow", "pipeline", "serving", "tests")
MODULES = sorted(path for folder in HOUSE for path in (PROJECT / folder).rglob("*.py") if "spans" not in path.parts)
LOCKS = sorted((PROJECT / "bootstrap" / "requirements").glob("*.lock"))
NOT_FOR_SERVING = (
    "apache_beam", "kfp", "ml_metadata", "tensorflow_data_validation", "tensorflow_metadata",
    "tensorflow_model_analysis", "tensorflow_transform", "tfx", "tfx_bsl", "yaml",
    "bootstrap", "components", "data", "kubeflow", "pipeline",
)  # fmt: skip
IMPORT_SERVING = """
import importlib, importlib.abc, pkgutil, sys
refused = set(sys.argv[1:])
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"a serving host has no {name}")
sys.meta_path.insert(0, Refuse())
import serving
for module in pkgutil.walk_packages(serving.__path__, "serving."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
import tensorflow
"""


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_the_graph_is_read_on_one_page() -> None:
    lines = (PROJECT / "pipeline" / "graph.py").read_text().splitlines()
    assert len(lines) <= 150


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_file_is_short_and_its_name_says_what_is_in_it(path: Path) -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager"}
    assert vague.isdisjoint(re.split(r"[_.]", path.relative_to(PROJECT).as_posix().replace("/", "_")))
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", LOCKS, ids=named)
def test_a_lock_pins_and_hashes_and_names_no_place_to_fetch_from(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?:|://|index-url|find-links|trusted-host", text)
    requirements = re.sub(r"\\\n", " ", text).splitlines()
    pinned = [line for line in requirements if line.strip() and not line.startswith("#")]
    assert pinned
    assert [line for line in pinned if "==" not in line or "--hash=sha256:" not in line] == []


def test_every_group_has_its_lock() -> None:
    assert {"serving", "pipeline", "dev"} <= {path.stem for path in LOCKS}


def test_serving_is_imported_whole_where_there_is_no_tfx() -> None:
    command = [sys.executable, "-c", IMPORT_SERVING, *NOT_FOR_SERVING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr
    assert {"serving.ledger", "serving.model_directory"} <= set(done.stdout.split())
