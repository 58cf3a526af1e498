"""What holds for every file of the set-up: it loads on whatever Python there is, its locks are whole."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from bootstrap.lock import ORDER
from bootstrap.place import PROJECT, Place

LOCKS = sorted(Place().requirements.glob("*.lock"))


@pytest.mark.parametrize("path", sorted((PROJECT / "bootstrap").glob("*.py")), ids=lambda path: path.name)
def test_the_set_up_is_written_in_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def pins(name: str) -> dict[str, str]:
    text = (Place().requirements / f"{name}.lock").read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_pin_has_a_hash_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_group_has_its_lock_and_every_lock_its_source() -> None:
    assert {path.stem for path in LOCKS} == {name for name, _ in ORDER}
    assert all((Place().requirements / f"{name}.in").exists() for name, _ in ORDER)


@pytest.mark.parametrize("name", ["serving", "pipeline", "gpu"])
def test_going_to_a_larger_group_changes_no_version(name: str) -> None:
    largest = pins("dev")
    assert {key: value for key, value in pins(name).items() if largest.get(key, value) != value} == {}


def test_serving_brings_nothing_of_tfx() -> None:
    assert not pins("serving").keys() & {"tfx", "apache-beam", "ml-metadata", "tensorflow-transform", "tfx-bsl", "kfp"}


def test_make_alone_lists_each_target_on_a_line() -> None:
    said = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    listed = [line.split()[1] for line in said.splitlines()]
    assert {"setup", "doctor", "run", "test", "lint", "bench", "lock", "clean"} <= set(listed)
    assert all(len(line) <= 120 and len(line.split()) > 3 for line in said.splitlines())
