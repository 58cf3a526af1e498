import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline import fingerprint
from pipeline.environment import Environment, IngestOptions, TrainingOptions
from pipeline.fingerprint import TRAINING_FILES, Fingerprint
from pipeline.task import Gate, Hyperparameters, Task

PARTS = {"spans", "schema", "task code", "training code", "line code", "libraries", "options"}
WHERE = Environment("local")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one file a kind, and a task of two modules on the path."""
    files = (
        *(f"pipeline/{name}" for name in TRAINING_FILES),
        "pipeline/graph.py",
        "pipeline/tasks/clicks/model.py",
        "components/verdict/judge.py",
        "pipeline.lock",
        "their_learning/__init__.py",
        "their_learning/features.py",
        "their_learning/deep/model.py",
        "their_learning/deep/__init__.py",
        "schema.pbtxt",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    monkeypatch.setattr(fingerprint, "PROJECT", tmp_path)
    monkeypatch.setattr(fingerprint, "LOCK", tmp_path / "pipeline.lock")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("their_learning")]:
        monkeypatch.delitem(sys.modules, name)  # of another test's folder
    return tmp_path


def task_in(project: Path) -> Task:
    return Task(
        name="mine",
        question="?",
        label="a",
        split_by="b",
        gates=(Gate("auc", at_least=0.5),),
        preprocessing_fn="their_learning.features.preprocessing_fn",
        build_model="their_learning.deep.model.build_model",
        schema_path=project / "schema.pbtxt",
    )


def of(project: Path, **changed: object) -> Fingerprint:
    arguments = {"task": task_in(project), "environment": WHERE, "spans_digest": "d", "window": (1, 2), **changed}
    return fingerprint.of(**arguments)  # type: ignore[arg-type]


def changed_by(project: Path, change: Callable[[], object]) -> set[str]:
    before = asdict(of(project))
    change()
    return set(of(project).changed_from(before))


def test_the_same_things_have_the_same_fingerprint_wherever_they_are_asked(project: Path) -> None:
    assert of(project) == of(project)
    assert of(project).changed_from(asdict(of(project))) == ()


def test_against_nothing_everything_has_changed(project: Path) -> None:
    assert set(of(project).changed_from({})) == PARTS


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("schema.pbtxt", "schema"),
        ("their_learning/features.py", "task code"),
        ("their_learning/deep/model.py", "task code"),
        ("pipeline/graph.py", "line code"),
        ("components/verdict/judge.py", "line code"),
        ("pipeline.lock", "libraries"),
        *((f"pipeline/{name}", "training code") for name in TRAINING_FILES),
    ],
)
def test_one_byte_of_a_file_changes_its_part_and_no_other(project: Path, file: str, part: str) -> None:
    assert changed_by(project, lambda: (project / file).write_text(f"# {file}\n ")) == {part}


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("their_learning/more.py", "task code"),
        ("pipeline/more.py", "line code"),
        ("components/more/code.py", "line code"),
    ],
)
def test_a_new_file_changes_its_part(project: Path, file: str, part: str) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    assert changed_by(project, (project / file).touch) == {part}


@pytest.mark.parametrize(
    "file", ["pipeline/tasks/clicks/model.py", "their_learning/notes.txt", "serving/ledger.py", "docs/tasks.md"]
)
def test_another_tasks_code_and_what_no_run_reads_change_nothing(project: Path, file: str) -> None:
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    assert changed_by(project, lambda: (project / file).write_text("changed")) == set()


def test_touching_a_file_changes_nothing(project: Path) -> None:
    assert changed_by(project, (project / "schema.pbtxt").touch) == set()


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"spans_digest": "e"}, "spans"),
        ({"window": (2,)}, "spans"),
        ({"window": (1, 2, 3)}, "spans"),
        ({"environment": Environment("flink")}, "options"),
        ({"environment": replace(WHERE, beam_args=("--x",))}, "options"),
        ({"environment": replace(WHERE, ingest=IngestOptions(1))}, "options"),
        ({"environment": replace(WHERE, training=TrainingOptions(epochs=2))}, "options"),
    ],
)
def test_other_records_or_options_change_their_part_and_no_other(
    project: Path, changed: dict[str, object], part: str
) -> None:
    assert set(of(project, **changed).changed_from(asdict(of(project)))) == {part}


@pytest.mark.parametrize(
    "changed",
    [
        {"gates": (Gate("auc", at_least=0.6),)},
        {"hyperparameters": Hyperparameters(epochs=9)},
        {"hyperparameters": Hyperparameters(model={"units": 3})},
        {"split_by": "c"},
    ],
)
def test_a_changed_declaration_is_changed_task_code(project: Path, changed: dict[str, object]) -> None:
    declared = replace(task_in(project), **changed)  # type: ignore[arg-type]
    assert set(of(project, task=declared).changed_from(asdict(of(project)))) == {"task code"}


def test_training_depends_on_its_own_files_and_features_do_not(project: Path) -> None:
    before = of(project)
    (project / "pipeline/training.py").write_text("")
    after = of(project)
    assert after.training != before.training
    assert after.features == before.features
    (project / "pipeline/graph.py").write_text("")
    assert (of(project).training, of(project).features) == (after.training, after.features)
    (project / "their_learning/features.py").write_text("")
    assert of(project).features != after.features


@pytest.mark.parametrize("dotted", ["no_such_package.module.function", "their_learning.none.function", "function"])
def test_a_task_whose_code_is_not_there_is_not_found(project: Path, dotted: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"named by {dotted}"):
        of(project, task=replace(task_in(project), build_model=dotted))


def test_a_task_without_its_schema_is_not_found(project: Path) -> None:
    (project / "schema.pbtxt").unlink()
    with pytest.raises(FileNotFoundError, match=r"schema\.pbtxt"):
        of(project)
